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
    phase: Phase
    store_uri: str


class MemberInfo(Model):
    operator: str
    width: int
    active_from: int
    left_at: int
    """First round that no longer expects the node; 0 = still in."""
    last_revealed: int
    """Round + 1 of the last on-time reveal; 0 = never."""
    missed: int
    """Rounds missed in a row."""
    convicted: bool
    state_out: bytes


class RoundInfo(Model):
    opened_at: int
    """0: the round was never opened, or its place in the ring was taken."""
    commit_deadline: int
    reveal_deadline: int
    sealed_at: int
    closed_at: int
    seed_block: int
    expected: int
    committed: int
    revealed: int
    revealed_slots: int
    seats: int
    start_root: bytes
    accumulator: bytes
    seed: bytes
    """Zero bytes: not captured yet."""


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
    commit_deadline: int
    reveal_deadline: int
    """The round is final from here on."""
    seats: int
    committed: int
    revealed: int
    paid: int


class CaseInfo(Model):
    pool_id: int
    round: int
    node: str
    operator: str
    accuser: str
    fault: Outcome
    status: CaseStatus
    width: int
    commit_deadline: int
    reveal_deadline: int
    jurors: int
    committed: int
    guilty: int
    innocent: int
