"""`Client`: rounds. The orchestrator opens and closes them, node keys commit and reveal."""

from collections.abc import Sequence

from .base import Calls, checksum
from .codec import commitment_hash
from .results import Receipt, RecordInfo, RoundInfo
from .types import Reveal


def _hash_bytes(sha256: str) -> bytes:
    return bytes.fromhex(sha256.removeprefix("0x"))


class RoundCalls(Calls):
    def open_round(self, pool_id: int, train_window: int) -> Receipt:
        """Opens the next round; commitments are due `train_window` seconds later."""
        return self._write("RoundLedger", "openRound", pool_id, train_window)

    def commit(self, pool_id: int, commitment: bytes) -> Receipt:
        """Stores this node's commitment of the running round."""
        return self._write("RoundLedger", "commit", pool_id, commitment)

    def reveal(self, pool_id: int, opened: Reveal, update_file: str, locations: str) -> Receipt:
        """Opens this node's commitment. `update_file`: sha256 of the file, hex; `locations`:
        comma-separated store URLs."""
        return self._write(
            "RoundLedger", "reveal", pool_id, opened.to_abi(), _hash_bytes(update_file), locations
        )

    def seal_reveals(self, pool_id: int) -> Receipt:
        """Ends the reveals after their deadline and pins the seed block."""
        return self._write("RoundLedger", "sealReveals", pool_id)

    def capture_seed(self, pool_id: int, round: int) -> Receipt:
        """Stores the pinned block's hash as the round's audit seed; `SeedNotReady` before that block is
        past."""
        return self._write("RoundLedger", "captureSeed", pool_id, round)

    def close_round(
        self, pool_id: int, root: bytes, checkpoint_file: str, exclusions: Sequence[tuple[str, int]] = ()
    ) -> Receipt:
        """Names the next checkpoint. `exclusions`: (node, reason); 1 unavailable, 2 malformed, 3 wrong
        norm."""
        excluded = [(checksum(node), reason) for node, reason in exclusions]
        return self._write("RoundLedger", "closeRound", pool_id, root, _hash_bytes(checkpoint_file), excluded)

    def report_miss(self, pool_id: int, round: int, node: str) -> Receipt:
        """Records that an expected node did not reveal in a closed round."""
        return self._write("RoundLedger", "reportMiss", pool_id, round, checksum(node))

    def round(self, pool_id: int, number: int) -> RoundInfo:
        """A round that is still in the ring; all zeros (`opened_at == 0`) otherwise."""
        return RoundInfo(**self._read("RoundLedger", "round", pool_id, number))

    def record(self, pool_id: int, number: int, node: str) -> RecordInfo:
        """A node's record of a round; status NONE when there is none."""
        status, width, commitment = self._read("RoundLedger", "record", pool_id, number, checksum(node))
        return RecordInfo(status=status, width=width, commitment=commitment)

    def commitment(self, pool_id: int, round: int, node: str, opened: Reveal) -> bytes:
        """What `commit` takes, for this chain and deployment."""
        return commitment_hash(self.chain_id, self.deployment.ledger, pool_id, round, checksum(node), opened)
