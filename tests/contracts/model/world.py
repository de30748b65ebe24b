"""The whole protocol on one chain, and its people.

Everybody is a small number: 0 the pools' creator, 1 the orchestrator, 2 a stranger, 3 the guardian, 4 the
treasury, 5 the fraud proofs; then `OPERATORS`, then `NODES`, the node keys, whose operators take turns.
"""

from collections.abc import Sequence
from functools import cache

from eth_abi.abi import encode
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from .basics import Clock, require
from .court import Bench, Court, Verdict
from .money import Budget, Rewards, Stakes
from .rounds import Opened, Params, Pool

CREATOR, ORCHESTRATOR, STRANGER, GUARDIAN, TREASURY, PROOFS = range(6)
OPERATORS = range(6, 12)
NODES = range(12, 24)
UNREGISTERED = NODES[-1]
WEALTH = 1_000_000
"""Tokens that everybody has at the start, in wei. Amounts are small, so that every rounding shows."""
UNBONDING_TIME = 1000


@cache
def node_address(node: int) -> str:
    key = keccak(encode(["string", "uint256"], ["node", node]))
    return PrivateKey(key).public_key.to_checksum_address()


def block_hash(number: int) -> bytes:
    """As the test's stand-in for the history of block hashes has it."""
    return keccak(number.to_bytes(32))


class World:
    """Every public method but the first few is a move that its first argument, an actor, makes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.tokens = {who: WEALTH for who in [CREATOR, ORCHESTRATOR, STRANGER, *OPERATORS]}
        self.tokens |= {who: 0 for who in [GUARDIAN, TREASURY, PROOFS, *NODES]}
        self.stakes = Stakes(self.clock, self.tokens, UNBONDING_TIME)
        self.rewards = Rewards(self.tokens)
        self.court = Court(self)
        self.pools: dict[int, Pool] = {}
        self.paused = False
        self.revoked: set[int] = set()

    address = staticmethod(node_address)
    block_hash = staticmethod(block_hash)

    @staticmethod
    def operator_of(node: int) -> int | None:
        known = node in NODES and node != UNREGISTERED
        return OPERATORS[NODES.index(node) % len(OPERATORS)] if known else None

    @staticmethod
    def ascending(nodes: Sequence[int]) -> bool:
        numbers = [int(node_address(node), 16) for node in nodes]
        return all(a < b for a, b in zip(numbers, numbers[1:], strict=False))

    def pool(self, pool: int) -> Pool:
        require(pool in self.pools, "unknown pool")
        return self.pools[pool]

    def _require_entry(self, who: int, node: int) -> None:
        require(not self.paused, "paused")
        require(who == self.operator_of(node) and node not in self.revoked, "operator")

    # --- time -----------------------------------------------------------------------------------------------

    def warp(self, seconds: int) -> None:
        self.clock.now += seconds

    def roll(self, blocks: int) -> None:
        self.clock.block += blocks

    # --- money ----------------------------------------------------------------------------------------------

    def stake(self, who: int, amount: int) -> None:
        self.stakes.stake(who, amount)

    def request_unbond(self, who: int, amount: int) -> None:
        self.stakes.request_unbond(who, amount)

    def rebond(self, who: int) -> None:
        self.stakes.rebond(who)

    def withdraw(self, who: int) -> None:
        self.stakes.withdraw(who)

    def pay_treasury(self, who: int) -> None:
        self.stakes.pay_treasury()

    def fund(self, who: int, pool: int, amount: int) -> None:
        self.rewards.fund(who, pool, amount)

    def claim(self, who: int, to: int) -> None:
        self.rewards.claim(who, to)

    def refund(self, who: int, pool: int) -> None:
        p = self.pool(pool)
        require(who == p.creator and p.ended, "creator of an ended pool")
        self.rewards.refund(who, pool)

    # --- pools and nodes ------------------------------------------------------------------------------------

    def create_pool(self, who: int, genesis: int, *params: int) -> None:
        require(not self.paused, "paused")
        number = len(self.pools) + 1
        self.pools[number] = Pool(self, number, who, genesis, Params(*params))
        self.rewards.budgets[number] = Budget()
        self.court.benches[number] = Bench()

    def pause(self, who: int, paused: int) -> None:
        require(who == GUARDIAN, "guardian")
        self.paused = bool(paused)

    def revoke(self, who: int, node: int) -> None:
        require(who == self.operator_of(node) and node not in self.revoked, "operator")
        self.revoked.add(node)

    # --- membership -----------------------------------------------------------------------------------------

    def join(self, who: int, pool: int, node: int, width: int) -> None:
        self._require_entry(who, node)
        self.pool(pool).join(who, node, width)

    def set_width(self, who: int, pool: int, node: int, width: int) -> None:
        self.pool(pool).set_width(who, node, width)

    def leave(self, who: int, pool: int, node: int) -> None:
        self.pool(pool).leave(who, node)

    def eject(self, who: int, pool: int, node: int) -> None:
        self.pool(pool).eject(who, node)

    def release_lock(self, who: int, pool: int, node: int) -> None:
        self.pool(pool).release_lock(node)

    def settle(self, who: int, pool: int, node: int) -> None:
        self.pool(pool).settle(node)

    def report_miss(self, who: int, pool: int, number: int, node: int) -> None:
        self.pool(pool).report_miss(number, node)

    # --- rounds ---------------------------------------------------------------------------------------------

    def end_pool(self, who: int, pool: int) -> None:
        self.pool(pool).end(who)

    def roll_back(self, who: int, pool: int, to: int) -> None:
        self.pool(pool).roll_back(who, to)

    def open_round(self, who: int, pool: int, window: int) -> None:
        self.pool(pool).open_round(who, window)

    def commit(self, who: int, pool: int, of_node: int, of_round: int, *opening: int) -> None:
        self.pool(pool).commit(who, of_node, of_round, Opened(*opening))

    def reveal(self, who: int, pool: int, *opening: int) -> None:
        self.pool(pool).reveal(who, Opened(*opening))

    def seal(self, who: int, pool: int) -> None:
        self.pool(pool).seal()

    def close(self, who: int, pool: int, root: int, *excluded: int) -> None:
        self.pool(pool).close(who, root, list(excluded))

    def post_bond(self, who: int, pool: int) -> None:
        self.pool(pool).post_bond(who)

    def release_bond(self, who: int, pool: int) -> None:
        self.pool(pool).release_bond(who)

    def punish_close(self, who: int, pool: int, number: int) -> None:
        self.pool(pool).punish_close(number)

    def convict_proven(
        self, who: int, pool: int, number: int, node: int, penalty: int, finder: int, fee_bps: int
    ) -> None:
        require(who == PROOFS, "module")
        self.pool(pool).convict_proven(number, node, penalty, finder, fee_bps)

    def disprove(self, who: int, pool: int, number: int, finder: int, fee_bps: int, *excluded: int) -> None:
        require(who == PROOFS, "module")
        self.pool(pool).disprove(number, list(excluded), finder, fee_bps)

    # --- court ----------------------------------------------------------------------------------------------

    def take_seat(self, who: int, pool: int, node: int) -> None:
        self._require_entry(who, node)
        self.court.take_seat(pool, who, node)

    def leave_seat(self, who: int, pool: int, place: int) -> None:
        self.court.leave_seat(who, pool, place)

    def release_seat(self, who: int, pool: int, place: int) -> None:
        self.court.release_seat(pool, place)

    def watch(self, who: int, pool: int, node: int) -> None:
        self.court.watch(who, pool, node)

    def plant(self, who: int, pool: int, number: int, node: int, salt: int) -> None:
        p = self.pool(pool)
        require(who == CREATOR, "creator")
        self.court.bench(pool).hidden.setdefault((number, node, salt), p.next)

    def open_plant(self, who: int, pool: int, number: int, node: int, salt: int) -> None:
        bench = self.court.bench(pool)
        require(bench.hidden.get((number, node, salt), number + 1) <= number, "planted")
        bench.planted.add((number, node))

    def capture_seed(self, who: int, pool: int, number: int) -> None:
        self.court.capture_seed(pool, number)

    def commit_verdicts(self, who: int, pool: int, number: int, salt: int, *verdicts: int) -> None:
        self.court.commit_verdicts(who, pool, number, _verdicts(verdicts), salt)

    def reveal_verdicts(self, who: int, pool: int, number: int, salt: int, *verdicts: int) -> None:
        self.court.reveal_verdicts(who, pool, number, _verdicts(verdicts), salt)

    def release_verdict_reserve(self, who: int, pool: int, number: int) -> None:
        self.court.release_verdict_reserve(pool, number)

    def commit_vote(self, who: int, case: int, outcome: int, digest: int, salt: int) -> None:
        self.court.commit_vote(who, case, (outcome, digest, salt))

    def reveal_vote(self, who: int, case: int, outcome: int, digest: int, salt: int) -> None:
        self.court.reveal_vote(who, case, outcome, digest, salt)

    def resolve_case(self, who: int, case: int) -> None:
        self.court.resolve_case(case)

    def appeal(self, who: int, case: int) -> None:
        self.court.appeal(who, case)

    def report_absence(self, who: int, pool: int, number: int, place: int) -> None:
        self.court.report_absence(pool, number, place)

    def report_absent_juror(self, who: int, case: int, level: int, place: int) -> None:
        self.court.report_absent_juror(case, level, place)

    def report_overturned_vote(self, who: int, case: int, level: int, place: int) -> None:
        self.court.report_overturned_vote(case, level, place)

    def report_overturned_verdict(
        self, who: int, pool: int, number: int, place: int, which: int, salt: int, *verdicts: int
    ) -> None:
        self.court.report_overturned_verdict(pool, number, place, _verdicts(verdicts), salt, which)


def _verdicts(flat: Sequence[int]) -> tuple[Verdict, ...]:
    return tuple(Verdict(*flat[i : i + 3]) for i in range(0, len(flat), 3))
