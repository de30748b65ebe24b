"""Copies artifacts to an S3 bucket, so that checkpoints, data and updates can be had without this machine.

A thread beside the scheduler: a bucket that is slow or away delays nothing. What is in the bucket stays there
until the bucket's own rules end it.
"""

import logging
import threading

from pi_sdk.errors import StoreError
from pi_sdk.store import S3Store

from .blobs import BlobStore

log = logging.getLogger(__name__)

_POLL = 2.0


class Mirror(threading.Thread):
    """Keeps `bucket` up with the artifacts of `blobs` until `stop` is called."""

    def __init__(self, blobs: BlobStore, bucket: S3Store):
        super().__init__(name="mirror", daemon=True)
        self._blobs, self._bucket = blobs, bucket
        self._done: set[str] = set()
        self._said = ""
        self._halt = threading.Event()

    def run(self) -> None:
        while not self._halt.wait(_POLL):
            try:
                self._copy_new()
                self._said = ""
            except (StoreError, OSError) as error:
                if str(error) != self._said:
                    self._said = str(error)
                    log.warning("the bucket is behind: %s", error)

    def stop(self) -> None:
        self._halt.set()
        self.join(5)  # an upload that is cut off leaves nothing under its name

    def _copy_new(self) -> None:
        for name in self._blobs.artifacts() - self._done:
            if self._halt.is_set():
                return
            if self._blobs.has(name):
                self._bucket.copy(name, self._blobs.path(name), self._blobs.tree(name))
                self._done.add(name)
