"""`Client`: rounds. The orchestrator opens and closes them, node keys commit and reveal."""

from collections.abc import Sequence

from .base import ZERO_ADDRESS, Calls, checksum
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

    def close_round(
        self, pool_id: int, root: bytes, checkpoint_file: str, exclusions: Sequence[tuple[str, int]] = ()
    ) -> Receipt:
        """Names the next checkpoint; needs the close bond (`post_bond`). `exclusions`: (node, reason);
        1 unavailable, 2 malformed, 3 wrong norm, 4 another start root than the voted one."""
        excluded = [(checksum(node), reason) for node, reason in exclusions]
        return self._write("RoundLedger", "closeRound", pool_id, root, _hash_bytes(checkpoint_file), excluded)

    def report_miss(self, pool_id: int, round: int, node: str) -> Receipt:
        """Records that an expected node did not reveal in a closed round."""
        return self._write("RoundLedger", "reportMiss", pool_id, round, checksum(node))

    def round(self, pool_id: int, number: int) -> RoundInfo:
        """A round that is still in the ring; not `exists` otherwise."""
        values = self._read("RoundLedger", "round", pool_id, number)
        poster = values.pop("poster")
        return RoundInfo(poster=None if poster == ZERO_ADDRESS else poster, **values)

    def record(self, pool_id: int, number: int, node: str) -> RecordInfo:
        """A node's record of a round; status NONE when there is none, or none any more."""
        status, width, commitment = self._read("RoundLedger", "record", pool_id, number, checksum(node))
        return RecordInfo(status=status, width=width, commitment=commitment)

    def commitment(self, pool_id: int, round: int, node: str, opened: Reveal) -> bytes:
        """What `commit` takes, for this chain and deployment."""
        return commitment_hash(self.chain_id, self.deployment.ledger, pool_id, round, checksum(node), opened)

    # --- results and their bonds ----------------------------------------------------------------------------

    def post_bond(self, pool_id: int) -> Receipt:
        """Locks what is missing of the pool's `close_bond` in this account's stake."""
        return self._write("RoundLedger", "postBond", pool_id)

    def release_bond(self, pool_id: int) -> Receipt:
        """Unlocks this account's bond once its last close can no longer be wrong."""
        return self._write("RoundLedger", "releaseBond", pool_id)

    def punish_close(self, pool_id: int, round: int) -> Receipt:
        """Takes the bond behind a close that the next round overruled. Anybody may."""
        return self._write("RoundLedger", "punishClose", pool_id, round)

    def bond_of(self, pool_id: int, poster: str | None = None) -> int:
        """Token wei that a poster (default: own) has locked behind its closes of a pool."""
        poster = self._own(poster)
        return self._read("StakeManager", "lockOf", poster, self.bond_lock_id(pool_id, poster))

    def bond_lock_id(self, pool_id: int, poster: str) -> bytes:
        return self._read("RoundLedger", "bondId", pool_id, checksum(poster))

    def result_root(self, pool_id: int, round: int) -> bytes:
        """C_{round+1} as posted, where nobody replaced it so far; zero bytes before the close or outside the
        ring."""
        return self._read("RoundLedger", "resultRoot", pool_id, round)

    def disprovable_until(self, pool_id: int, round: int) -> int:
        """Last moment (unix seconds) at which a round's close can be disproved; 0 before the close."""
        return self._read("RoundLedger", "disprovableUntil", pool_id, round)
