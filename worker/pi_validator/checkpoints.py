"""The checkpoints that audits start from: which file holds which on-chain root, and their download in the
background.

A file is fetched by its sha256, which is in the same event as the root, and checked part by part against the
root. That its contents have that root is checked by the replay process again before anything is judged from
it (`replay_child.Replayer.checkpoint`). A root that votes put in the place of a posted one has no file: it is
recomputed from the round before (`recompute`).
"""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pi_sdk.errors import BlobNotFound, MalformedArtifact, StoreError, UsageError
from pi_sdk.store import LocalStore, Store
from pi_sdk.types import RunSpec
from pi_train.checkpoint_file import CheckpointParts
from pi_train.codecs import UpdateFile, max_update_bytes
from pi_train.outer import Checkpoint, checkpoint_bytes, outer_step

from .evidence import Slot, announced_stores

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0


class Checkpoints:
    """Files by root, in one folder each under `folder`, so that a folder can be dropped whole."""

    def __init__(self, folder: Path, store: Store, spec: RunSpec, stop: threading.Event):
        self.folder, self._store, self._stop = folder, store, stop
        self._shape = spec.checkpoint_shape
        self._files: dict[bytes, str] = {}
        self._recipes: dict[bytes, Callable[[], bytes]] = {}
        self._wanted: set[bytes] = set()

    def note(self, root: bytes, file: str) -> None:
        """Records that the chain names `file` (sha256) as the file of `root`."""
        self._files[root] = file

    def note_recipe(self, root: bytes, recipe: Callable[[], bytes]) -> None:
        """Records how the file of `root` is made, since the chain names none."""
        self._recipes[root] = recipe

    def read(self, root: bytes) -> bytes:
        """The file of a checkpoint. `StoreError`."""
        if root in self._files:
            return self._bring(root).get(self._files[root], checkpoint_bytes(*self._shape))
        if root in self._recipes:
            return self._recipes[root]()
        raise BlobNotFound(f"no file is known for checkpoint {root.hex()}")

    def ready(self, root: bytes) -> tuple[Path, str] | None:
        """Folder and file name of a checkpoint once it is here; starts its download at the first call."""
        file, folder = self._files.get(root), self.folder / root.hex()
        if file is not None and LocalStore(folder).has(file):
            return folder, file
        if root not in self._wanted and (file is not None or root in self._recipes):
            self._wanted.add(root)
            threading.Thread(target=self._fetch, args=(root,), daemon=True).start()
        return None

    def drop_all_but(self, roots: set[bytes]) -> None:
        """Deletes the files that no open round starts from."""
        for folder in self.folder.glob("*"):
            root = bytes.fromhex(folder.name)
            if root not in roots:
                # a download under way may put a file back, which goes at the next call
                shutil.rmtree(folder, ignore_errors=True)
                self._wanted.discard(root)

    def _bring(self, root: bytes) -> LocalStore:
        """The store that a checkpoint's file is in, once it is. `StoreError`."""
        file, local = self._files[root], LocalStore(self.folder / root.hex())
        if not local.has(file):
            parts = CheckpointParts(root, *self._shape)
            self._store.fetch(file, local.path_of(file), parts.size, parts)
        return local

    def _fetch(self, root: bytes) -> None:
        warned = False
        while not self._stop.is_set():
            try:
                if root in self._files:
                    self._bring(root)
                else:
                    self._files[root] = LocalStore(self.folder / root.hex()).put(self.read(root))
                return
            except (StoreError, MalformedArtifact) as error:
                if not warned:
                    log.warning("checkpoint %s cannot be fetched yet: %s", root.hex()[:12], error)
                warned = True
            self._stop.wait(RETRY_SECONDS)


def recompute(
    spec: RunSpec, store: Store, round_: int, start: bytes, slots: Sequence[Slot], root: bytes
) -> bytes:
    """The file of the checkpoint that a round's `slots` lead to from the checkpoint file `start`; its root
    must be `root`. Raises `StoreError` where an update, or such a result, is not to be had, and
    `MalformedArtifact`.
    """
    values = spec.update_values(round_)
    limit, updates = max_update_bytes(spec.codec, values), []
    for slot in slots:
        update = UpdateFile(spec.codec, fetched(slot, store, limit), values)
        updates.append((update, slot.reveal.width))
    result = outer_step(spec, Checkpoint.from_bytes(start, *spec.checkpoint_shape), updates, round_)
    if result.root() != root:
        raise StoreError("the updates that were revealed do not lead to the checkpoint of the votes")
    return result.to_bytes()


def fetched(slot: Slot, store: Store, limit: int) -> bytes:
    """The update file of a slot, of at most `limit` bytes, from the pool's store or an announced one.
    `StoreError`."""
    try:
        return store.get(slot.update_file, limit)
    except StoreError as error:
        for other in announced_stores(slot.locations):
            with other:
                try:
                    return other.get(slot.update_file, limit)
                except (StoreError, UsageError):
                    continue
        raise error
