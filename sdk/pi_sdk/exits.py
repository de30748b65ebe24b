"""`Client`: what a node's operator has in a pool, and how and when it gets out."""

from .base import checksum
from .court import CourtCalls
from .pools import PoolCalls
from .results import CaseInfo, ExitState, MemberInfo, PoolInfo, SeatInfo
from .rounds import RoundCalls
from .types import RING, PoolParams, RecordStatus


class ExitCalls(PoolCalls, RoundCalls, CourtCalls):
    def exit_state(self, pool_id: int, node: str) -> ExitState:
        """Everything that leaving with a node, as a worker or a validator, has to do with. `NotFound` for an
        unknown pool."""
        node = checksum(node)
        pool, params = self.pool(pool_id), self.pool_params(pool_id)
        member, operator = self.member(pool_id, node), self.operator_of(node)
        seat = next((s for s in self.seats(pool_id) if s.node == node), None)
        is_in = (member is not None and member.next_width > 0) or (seat is not None and not seat.left_at)
        worker_lock = seat_lock = 0
        if operator is not None:
            worker_lock = self.lock_of(operator, self.worker_lock_id(pool_id, node))
            seat_lock = self.lock_of(operator, self.seat_lock_id(pool_id, node))
        pending, unsettled = self._pending(pool, member, seat), self._unsettled(pool, node)
        cases = self._cases(pool_id, node)
        ends = [self.now(), *(_case_end(case, params) for case in cases.values())]
        over = max([*ends, *(self._over_by(pool, params, number) for number in pending)])
        return ExitState(
            operator=operator,
            member=member,
            seat=seat,
            is_in=is_in,
            worker_lock=worker_lock,
            seat_lock=seat_lock,
            pending_rounds=tuple(pending),
            open_cases=tuple(cases),
            # for a while after the end of a round or a case, a seat's silence or wrong vote can be reported
            unlocks_by=over + (params.appeal_window if seat_lock else 0)
            if worker_lock + seat_lock and not is_in
            else None,
            unsettled_rounds=tuple(unsettled),
            settles_by=max([*ends, *(self._settled_by(pool, params, n) for n in unsettled)])
            if unsettled
            else None,
            accrued_slots=member.accrued if member else 0,
            earned=self.earned(operator) if operator else 0,
            stake=self.stake_account(operator) if operator else None,
        )

    def _pending(self, pool: PoolInfo, member: MemberInfo | None, seat: SeatInfo | None) -> list[int]:
        """Rounds of the ring that are not over and that the node's stake answers for."""
        end = 0
        if member is not None:
            end = member.change_at if member.next_width == 0 else pool.next_round
        if seat is not None:
            end = max(end, seat.left_at or pool.next_round)
        numbers = range(max(0, pool.next_round - RING), min(end, pool.next_round))
        return [n for n in numbers if not self._is_over(pool, n)]

    def _is_over(self, pool: PoolInfo, number: int) -> bool:
        closed = pool.ended or number + 1 < pool.next_round or self.round(pool.id, number).closed_at > 0
        return closed and self.is_final(pool.id, number)

    def _cases(self, pool_id: int, node: str) -> dict[int, CaseInfo]:
        """Open cases of a pool that a node is accused in, has opened, or judges."""
        left, found = self.open_cases(pool_id), {}
        for case_id in range(self.case_count(), 0, -1) if left else ():
            case = self.case(case_id)
            if case.pool_id != pool_id or not case.is_open:
                continue
            if node in (case.node, case.accuser, *self.jury_of(case_id)):
                found[case_id] = case
            left -= 1
            if not left:
                break
        return found

    def _unsettled(self, pool: PoolInfo, node: str) -> list[int]:
        numbers = range(max(0, pool.next_round - RING), pool.next_round)
        paid = (RecordStatus.REVEALED, RecordStatus.CONTESTED)
        return [n for n in numbers if self.record(pool.id, n, node).status in paid]

    def _over_by(self, pool: PoolInfo, params: PoolParams, number: int) -> int:
        """The latest end of a round and of any case that may still be opened about it."""
        round_ = self.round(pool.id, number)
        sealed = round_.sealed_at or round_.reveal_deadline
        if pool.last and number + 1 == pool.next_round:
            return sealed  # the confirm-only round: nothing to close, nothing to judge
        judged = sealed + params.verdict_window + params.verdict_reveal_window + params.case_seconds()
        return max(sealed + params.grace_window, judged)

    def _settled_by(self, pool: PoolInfo, params: PoolParams, number: int) -> int:
        """The latest moment from which a round's pay can be settled: it is over, and, where no round follows,
        its close can no longer be disproved."""
        over = 0 if self._is_over(pool, number) else self._over_by(pool, params, number)
        if number + 1 < pool.next_round:
            return over
        round_ = self.round(pool.id, number)
        closed = round_.closed_at or (round_.sealed_at or round_.reveal_deadline) + params.grace_window
        return max(over, closed + params.grace_window + params.verdict_window + 1)


def _case_end(case: CaseInfo, params: PoolParams) -> int:
    """When a case has ended at the latest: its present jury or time to appeal, then every further jury."""
    further = (2 - case.level) * (params.vote_window + params.vote_reveal_window + params.appeal_window)
    return (case.appeal_deadline or case.reveal_deadline + params.appeal_window) + further
