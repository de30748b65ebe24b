"""The checkpoints that audits start from: which file holds which on-chain root, and their download in the
background.

A file is fetched by its sha256, which is in the same event as the root. That its contents have that root is
checked by the replay process before anything is judged from it (`replay_child.Replayer.checkpoint`).
"""

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from pi_sdk.errors import StoreError
from pi_sdk.store import LocalStore

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0


class Checkpoints:
    """Files by root, in one folder each under `folder`, so that a folder can be dropped whole."""

    def __init__(self, folder: Path, get: Callable[[str, int], bytes], size: int, stop: threading.Event):
        """`get(sha256, max_bytes)` reads the pool's store; `size` is a checkpoint file's size in bytes."""
        self.folder, self._get, self._size, self._stop = folder, get, size, stop
        self._files: dict[bytes, str] = {}
        self._wanted: set[bytes] = set()

    def note(self, root: bytes, file: str) -> None:
        """Records that the chain names `file` (sha256) as the file of `root`."""
        self._files[root] = file

    def ready(self, root: bytes) -> tuple[Path, str] | None:
        """Folder and file name of a checkpoint once it is here; starts its download at the first call."""
        file = self._files.get(root)
        if file is None:
            return None
        folder = self.folder / root.hex()
        if LocalStore(folder).has(file):
            return folder, file
        if root not in self._wanted:
            self._wanted.add(root)
            threading.Thread(target=self._fetch, args=(root, file), daemon=True).start()
        return None

    def drop_all_but(self, roots: set[bytes]) -> None:
        """Deletes the files that no open round starts from."""
        for folder in self.folder.glob("*"):
            root = bytes.fromhex(folder.name)
            if root not in roots:
                shutil.rmtree(folder)
                self._wanted.discard(root)

    def _fetch(self, root: bytes, file: str) -> None:
        warned = False
        while not self._stop.is_set():
            try:
                LocalStore(self.folder / root.hex()).put(self._get(file, self._size))
                return
            except StoreError as error:
                if not warned:
                    log.warning("checkpoint %s cannot be fetched yet: %s", root.hex()[:12], error)
                warned = True
            self._stop.wait(RETRY_SECONDS)
