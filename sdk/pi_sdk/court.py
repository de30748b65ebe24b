"""`Client`: validator seats, verdicts and juries."""

from collections.abc import Sequence

from .base import Calls, checksum
from .codec import verdicts_hash, vote_hash
from .errors import NotFound
from .results import CaseInfo, Receipt, SeatInfo, Verdict, VerdictRoundInfo
from .types import CaseStatus, Outcome


class CourtCalls(Calls):
    # --- seats --------------------------------------------------------------------------------------------

    def take_seat(self, pool_id: int, node: str) -> int:
        """Takes a seat for a registered node of this operator and locks `seat_stake`; returns the seat's
        index."""
        return self._write("Court", "takeSeat", pool_id, checksum(node)).event("SeatTaken").args["seat"]

    def leave_seat(self, pool_id: int, index: int) -> Receipt:
        return self._write("Court", "leaveSeat", pool_id, index)

    def release_seat(self, pool_id: int, index: int) -> Receipt:
        """Frees the stake of a seat that was left, once nothing can name it any more."""
        return self._write("Court", "releaseSeat", pool_id, index)

    def seats(self, pool_id: int) -> list[SeatInfo]:
        """All seats that were ever taken, in order."""
        count = self._read("Court", "seatCount", pool_id)
        return [SeatInfo(index=i, **self._read("Court", "seat", pool_id, i)) for i in range(count)]

    def live_seats(self, pool_id: int) -> int:
        return self._read("Court", "liveSeats", pool_id)

    # --- verdicts -----------------------------------------------------------------------------------------

    def capture_seed(self, pool_id: int, round: int) -> Receipt:
        """Stores the pinned block's hash as the round's audit seed, or pins a new block where that one is out
        of reach; `SeedNotReady` before the block is past. Nothing once the seed is stored."""
        return self._write("Court", "captureSeed", pool_id, round)

    def commit_verdicts(self, pool_id: int, round: int, commitment: bytes) -> Receipt:
        return self._write("Court", "commitVerdicts", pool_id, round, commitment)

    def reveal_verdicts(self, pool_id: int, round: int, verdicts: Sequence[Verdict], salt: bytes) -> Receipt:
        return self._write("Court", "revealVerdicts", pool_id, round, [v.to_abi() for v in verdicts], salt)

    def verdict_round(self, pool_id: int, round: int) -> VerdictRoundInfo:
        return VerdictRoundInfo(**self._read("Court", "verdictRound", pool_id, round))

    def release_verdict_reserve(self, pool_id: int, round: int) -> Receipt:
        """Gives what a final round's verdicts did not use back to the pool's free budget."""
        return self._write("Court", "releaseVerdictReserve", pool_id, round)

    def is_final(self, pool_id: int, round: int) -> bool:
        """Whether no further verdict or case can arise about a round."""
        return self._read("Court", "isFinal", pool_id, round)

    def watch_node(self, pool_id: int, node: str) -> Receipt:
        """Has a node's slot of the next round to open audited for certain. Once per round and seat;
        `AlreadyDone` also where another seat did."""
        return self._write("Court", "watch", pool_id, checksum(node))

    def is_audited(self, pool_id: int, round: int, node: str) -> bool:
        """Whether the round's seed has drawn this node's slot. Needs the captured seed."""
        return bool(self.auditors_of(pool_id, round, node))

    def auditors_of(self, pool_id: int, round: int, node: str) -> list[str]:
        """Nodes of the validators drawn for a slot; empty when it is not audited."""
        return self._read("Court", "auditorsOf", pool_id, round, checksum(node))

    def verdicts_commitment(
        self, pool_id: int, round: int, validator: str, verdicts: Sequence[Verdict], salt: bytes
    ) -> bytes:
        """What `commit_verdicts` takes, for this chain and deployment."""
        triples = [v.to_abi() for v in verdicts]
        return verdicts_hash(
            self.chain_id, self.deployment.court, pool_id, round, checksum(validator), triples, salt
        )

    # --- cases --------------------------------------------------------------------------------------------

    def commit_vote(self, case_id: int, commitment: bytes) -> Receipt:
        return self._write("Court", "commitVote", case_id, commitment)

    def reveal_vote(self, case_id: int, outcome: Outcome, digest: bytes, salt: bytes) -> Receipt:
        return self._write("Court", "revealVote", case_id, int(outcome), digest, salt)

    def resolve_case(self, case_id: int) -> Receipt:
        """Moves a case on when all votes are in or its time is over: to its outcome, to a larger jury, or to
        its end."""
        return self._write("Court", "resolveCase", case_id)

    def appeal(self, case_id: int) -> Receipt:
        """Takes a DECIDED case to the next jury and locks `appeal_bond`; for the operator of the side that
        lost."""
        return self._write("Court", "appeal", case_id)

    def case(self, case_id: int) -> CaseInfo:
        """`NotFound` for an unknown id."""
        case = CaseInfo(**self._read("Court", "caseOf", case_id))
        if case.status == CaseStatus.NONE:
            raise NotFound(f"no case {case_id}")
        return case

    def case_count(self) -> int:
        """Ids run from 1 to this."""
        return self._read("Court", "caseCount")

    def open_cases(self, pool_id: int) -> int:
        """How many cases of a pool have not ended."""
        return self._read("Court", "openCases", pool_id)

    def jury_of(self, case_id: int) -> list[str]:
        """Nodes of a case's present jurors."""
        return self._read("Court", "juryOf", case_id)

    def case_about(self, pool_id: int, round: int, node: str) -> int:
        """The case about a slot, or 0."""
        return self._read("Court", "caseAbout", pool_id, round, checksum(node))

    def vote_commitment(
        self, case_id: int, juror: str, outcome: Outcome, digest: bytes, salt: bytes
    ) -> bytes:
        """What `commit_vote` takes, for this chain and deployment."""
        return vote_hash(
            self.chain_id, self.deployment.court, case_id, checksum(juror), int(outcome), digest, salt
        )

    # --- reports ------------------------------------------------------------------------------------------

    def report_absence(self, pool_id: int, round: int, index: int) -> Receipt:
        """Punishes the seat at `index` that did not commit and reveal its verdicts about a final round."""
        return self._write("Court", "reportAbsence", pool_id, round, index)

    def report_absent_juror(self, case_id: int, level: int, index: int) -> Receipt:
        """Punishes a juror who did not commit and open a vote, by its place on one of an ended case's
        juries."""
        return self._write("Court", "reportAbsentJuror", case_id, level, index)

    def report_overturned_vote(self, case_id: int, level: int, index: int) -> Receipt:
        """Punishes a juror whose opened vote the case's final outcome contradicts."""
        return self._write("Court", "reportOverturnedVote", case_id, level, index)

    def report_overturned_verdict(
        self, pool_id: int, round: int, index: int, verdicts: Sequence[Verdict], salt: bytes, which: int
    ) -> Receipt:
        """Punishes the seat at `index` that accepted a slot which was convicted: its verdicts as it revealed
        them, and the place of the wrong one."""
        return self._write(
            "Court",
            "reportOverturnedVerdict",
            pool_id,
            round,
            index,
            [v.to_abi() for v in verdicts],
            salt,
            which,
        )
