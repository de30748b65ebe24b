"""Copies artifacts to an S3 bucket, so that checkpoints, data and updates can be had without this machine;
takes back from there what this machine has lost.

A thread beside the scheduler: a bucket that is slow or away delays nothing. What is in the bucket stays there
until the bucket's own rules end it.
"""

import logging
import threading
from collections.abc import Sequence

from pi_sdk.errors import StoreError
from pi_sdk.store import S3Store

from .aggregate import Missing
from .blobs import BlobStore, Reason
from .model import Pool

log = logging.getLogger(__name__)

_POLL = 2.0
_NO_QUOTA = 1 << 62


class Mirror(threading.Thread):
    """Keeps `bucket` up with the artifacts of `blobs` until `stop` is called."""

    def __init__(self, blobs: BlobStore, bucket: S3Store):
        super().__init__(name="mirror", daemon=True)
        self._blobs, self._bucket = blobs, bucket
        self._done: set[str] = set()
        self._wanted: dict[str, tuple[Pool, Missing]] = {}
        self._said = ""
        self._halt = threading.Event()

    def want(self, pool: Pool, files: Sequence[Missing]) -> None:
        """Has what is missing here taken back, where the bucket has it. Any thread may ask, and again."""
        # a new one: the thread may be going through the old one
        self._wanted = self._wanted | {file.name: (pool, file) for file in files}

    def run(self) -> None:
        while not self._halt.wait(_POLL):
            said = ""
            for work in (self._take_back, self._copy_new):
                try:
                    work()
                except (StoreError, OSError) as error:
                    said = str(error)
            if said and said != self._said:
                log.warning("bucket: %s", said)
            self._said = said

    def stop(self) -> None:
        self._halt.set()
        self.join(5)  # an upload that is cut off leaves nothing under its name

    def _take_back(self) -> None:
        wanted, self._wanted = self._wanted, {}
        for pool, file in wanted.values():
            if self._halt.is_set():
                return
            if self._blobs.has(file.name) or not self._bucket.has(file.name):
                continue
            reason = Reason(pool.id, "artifact", 0, pool.params["orchestrator"])
            with self._bucket.read(file.name) as reading:
                if reading.size is None or reading.size > file.most:
                    raise StoreError(f"{file} has {reading.size} bytes, expected {file.most} at most")
                with self._blobs.receive(file.name, reading.size, reason, _NO_QUOTA) as incoming:
                    for chunk in reading.chunks:
                        incoming.write(chunk)
                    incoming.commit()
            log.info("pool %d: %s is back from the bucket", pool.id, file)

    def _copy_new(self) -> None:
        for name in self._blobs.artifacts() - self._done:
            if self._halt.is_set():
                return
            if self._blobs.has(name):
                self._bucket.copy(name, self._blobs.path(name), self._blobs.tree(name))
                self._done.add(name)
