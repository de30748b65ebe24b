"""A random sample of a run's slots, replayed again: what `pi audit --replay N` does beside the hashes.

Only slots that a round's seed drew can be replayed, since only their evidence was ever uploaded, and the
segments are the ones that the seed drew. The sample is the auditor's own choice.
"""

from collections.abc import Callable
from pathlib import Path

from pi_sdk.errors import StoreError
from pi_sdk.store import Store
from pi_sdk.types import RunSpec
from pi_train import determinism
from pi_train.codecs import max_update_bytes
from pi_train.data import load_corpus
from pi_train.outer import Checkpoint

from .checkpoints import fetched
from .evidence import Slot, announced_stores

NOBODY = "0x" + "00" * 20
"""Whom the digests are for: nobody votes here."""


class Replays:
    """Pins this process to the first admitted class that the machine fits, and maps the corpus through
    `cache`. `SpecMismatch` where it fits none, `ToolMissing` without torch."""

    def __init__(self, spec: RunSpec, store: Store, cache: Path):
        self.cls = determinism.admitted(spec)[0]
        determinism.pin(self.cls)
        self.spec, self.store = spec, store
        self.corpus = load_corpus(spec, store.get, cache)

    def replay(self, slot: Slot, checkpoint: Checkpoint, seed: bytes):
        """The `pi_train.replay.AuditReport` of a slot; WITHHELD also where the evidence was deleted since."""
        from pi_train.replay import audit_slot

        try:
            limit = max_update_bytes(self.spec.codec, self.spec.update_values(slot.round))
            update = fetched(slot, self.store, limit)
        except StoreError:
            update = None
        return audit_slot(
            self.spec,
            self.corpus,
            checkpoint,
            node=slot.node,
            round_=slot.round,
            reveal=slot.reveal,
            seed=seed,
            update=update,
            fetch=self._fetch(slot),
            validator=NOBODY,
            class_id=self.cls.id,
            data_root=slot.data_root,
        )

    def _fetch(self, slot: Slot) -> Callable[[str, int], bytes]:
        def fetch(name: str, size: int) -> bytes:
            try:
                return self.store.get(name, size)
            except StoreError as error:
                for other in announced_stores(slot.locations):
                    with other:
                        try:
                            return other.get(name, size)
                        except StoreError:
                            continue
                raise error

        return fetch
