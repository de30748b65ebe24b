"""Several stores as one."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import BlobNotFound, StoreError, UsageError
from .base import Kind, Parts, SourceStore, Store, check_name
from .fetching import fetch


class MultiStore:
    """Several stores with the same blobs: reads try them in order, and one that is dead or lies is passed
    over. `mirrors` are only read from."""

    def __init__(self, stores: Sequence[SourceStore], mirrors: Sequence[SourceStore] = ()):
        if not stores:
            raise UsageError("a MultiStore needs at least one store")
        self.stores = list(stores)
        self.mirrors = list(mirrors)

    @property
    def _sources(self) -> list[SourceStore]:
        return [*self.stores, *self.mirrors]

    def get(self, sha256: str, max_bytes: int) -> bytes:
        """Raises the last store's error when none has the blob."""
        check_name(sha256)
        problem: StoreError | None = None
        for store in self._sources:
            try:
                return store.get(sha256, max_bytes)
            except StoreError as error:
                # that one store does not have a blob says less than how another one failed
                if problem is None or not isinstance(error, BlobNotFound):
                    problem = error
        assert problem is not None
        raise problem

    def fetch(self, sha256: str, path: Path, max_bytes: int, parts: Parts | None = None) -> None:
        """From all of them: see `fetching.fetch`."""
        fetch(self._sources, sha256, path, max_bytes, parts)

    def put(self, data: bytes, kind: Kind = "artifact", round: int = 0) -> str:
        """Puts into every store that is no mirror; succeeds when at least one takes it."""
        name, problem = None, None
        for store in self.stores:
            try:
                name = store.put(data, kind, round)
            except StoreError as error:
                problem = error
        if name is None:
            assert problem is not None
            raise problem
        return name

    def has(self, sha256: str) -> bool:
        return any(self._has(store, sha256) for store in self._sources)

    @staticmethod
    def _has(store: Store, sha256: str) -> bool:
        try:
            return store.has(sha256)
        except StoreError:
            return False
