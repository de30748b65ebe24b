"""What `Client` returns: frozen models that mirror the contracts' structs in snake case.

Money is integer token wei, times are unix seconds of the chain, 32-byte values are bytes, addresses are
checksum strings. `contracts/src/interfaces/*.sol` explains each field.
"""

from typing import Any

from .types import CaseStatus, Model, Outcome, Phase, RecordStatus


class Event(Model):
    """One log of our contracts. `args` has snake-case names; structs are dicts, bytes32 bytes, enums
    `IntEnum`s."""

    name: str
    contract: str
    """RoundLedger, Court, ..."""
    block: int
    tx: str
    log_index: int
    args: dict[str, Any]


class Receipt(Model):
    """A transaction that was mined and did not revert."""

    tx: str
    block: int
    gas_used: int
    logs: tuple[Event, ...]

    def event(self, name: str) -> Event:
        """The first log of that name; KeyError when the transaction emitted none."""
        for log in self.logs:
            if log.name == name:
                return log
        raise KeyError(name)


class StakeAccount(Model):
    """An operator's stake. `bonded` includes `locked`; `unbonding` is outside it."""

    bonded: int
    locked: int
    unbonding: int
    ready_at: int
    open_cases: int

    @property
    def free(self) -> int:
        """Stake that a further node or seat may lock."""
        return self.bonded - self.locked


class BudgetInfo(Model):
    """A pool's money."""

    funded: int
    reserved: int
    """Set aside for open rounds."""
    credited: int
    """Earned by somebody, claimed or not."""
    refunded: int

    @property
    def free(self) -> int:
        return self.funded - self.reserved - self.credited - self.refunded


class PoolInfo(Model):
    id: int
    creator: str
    run_spec_hash: bytes
    checkpoint_root: bytes
    """C_r: what the next round starts from."""
    next_round: int
    """Rounds opened so far; the running or last one is `next_round - 1`."""
    members: int
    member_slots: int
    ended: bool
    last: bool
    """The next round, or the running one, is the confirm-only round."""
    phase: Phase
    store_uri: str
    requirements_uri: str
    """What the pool asks for beyond its RunSpec; may be empty."""
    invite_signer: str | None
    """None: the pool is open."""


class MemberInfo(Model):
    operator: str
    width: int
    """Slots that the running round expects."""
    next_width: int
    """From round `change_at` on; 0 = left."""
    change_at: int
    active_from: int
    left_at: int
    """First round that no longer expects the node; 0 = still in."""
    last_revealed: int
    """Round + 1 of the last on-time reveal; 0 = never."""
    accrued: int
    """Slots that are settled but not credited yet."""
    missed: int
    """Rounds missed in a row."""
    convicted: bool
    state_out: bytes


class RoundInfo(Model):
    exists: bool
    """False: the round was never opened, or its place in the ring was taken."""
    commit_deadline: int
    """0 once the next round has opened."""
    reveal_deadline: int
    """0 once the next round has opened."""
    sealed_at: int
    closed_at: int
    seed_block: int
    expected: int
    committed: int
    revealed: int
    revealed_slots: int
    excluded: int
    """Nodes that the close left out."""
    seats: int
    live_seats: int
    poster: str | None
    """Who closed it."""
    start_root: bytes
    """C_r: the posted one, or the one that replaced it at the seal."""
    accumulator: bytes


class RecordInfo(Model):
    status: RecordStatus
    width: int
    commitment: bytes


class SeatInfo(Model):
    index: int
    operator: str
    node: str
    active_from: int
    left_at: int
    """First round that no longer draws the seat; 0 = still in."""


class Verdict(Model):
    """One validator's judgement of one slot."""

    node: str
    outcome: Outcome
    digest: bytes

    def to_abi(self) -> tuple[str, int, bytes]:
        return self.node, int(self.outcome), self.digest


class VerdictRoundInfo(Model):
    seed: bytes
    """Zero bytes: not captured yet."""
    seed_block: int
    """The block whose hash it is, or will be."""
    commit_deadline: int
    reveal_deadline: int
    """The round is final from here on."""
    seats: int
    """Live seats, which may commit."""
    committed: int
    revealed: int
    paid: int
    open_cases: int


class CaseInfo(Model):
    pool_id: int
    round: int
    node: str
    operator: str
    accuser: str
    fault: Outcome
    status: CaseStatus
    guilty_outcome: bool
    """What the last jury found, while DECIDED."""
    width: int
    level: int
    """0: first jury; 1: larger one; 2: all seats."""
    commit_deadline: int
    """Of the present jury."""
    reveal_deadline: int
    appeal_deadline: int
    """0: not DECIDED."""
    jurors: int
    committed: int
    guilty: int
    innocent: int

    @property
    def is_open(self) -> bool:
        """Whether its end is still to come: judged by a jury, or open to an appeal."""
        return self.status in (CaseStatus.OPEN, CaseStatus.DECIDED)


class ExitState(Model):
    """What a node's operator has in a pool and how it gets out: everything that `leave --withdraw` of a
    worker or a validator acts on. Money in token wei, times in unix seconds."""

    operator: str | None
    """None: the node is not registered."""
    member: MemberInfo | None
    seat: SeatInfo | None
    is_in: bool
    """The next round counts on the node, as a worker or as a validator: it has to leave first."""
    worker_lock: int
    """Stake behind the node's slots."""
    seat_lock: int
    """Stake behind the node's seat."""
    pending_rounds: tuple[int, ...]
    """Rounds that keep these locks: not over yet, or with a case open."""
    open_cases: tuple[int, ...]
    """Cases about those rounds that have not ended."""
    unlocks_by: int | None
    """When the locks can be released at the latest, if somebody makes every call that is due; None while
    the node is in, or where nothing is locked."""
    unsettled_rounds: tuple[int, ...]
    """Rounds whose pay is not decided or not settled yet."""
    settles_by: int | None
    """When `settle` credits the last of them at the latest; None where there are none."""
    accrued_slots: int
    """Slots that the next `settle` credits in any case."""
    earned: int
    """Pay that `claim` gives now."""
    stake: StakeAccount | None
    """The operator's, in all pools together. `free` can be unbonded now; `unbonding` withdrawn at
    `ready_at`."""

    @property
    def locked(self) -> int:
        """Stake that this node still keeps from being unbonded."""
        return self.worker_lock + self.seat_lock
