"""The two custodians: stakes with their locks, and the pools' budgets."""

from collections import defaultdict
from dataclasses import dataclass

from .basics import NOBODY, Clock, require

TREASURY = 4
"""The treasury among the actors."""


@dataclass
class Account:
    """`bonded` includes `locked`; `unbonding` is outside it."""

    bonded: int = 0
    locked: int = 0
    unbonding: int = 0
    ready_at: int = 0
    open_cases: int = 0

    @property
    def free(self) -> int:
        return self.bonded - self.locked


class Stakes:
    """`StakeManager`. A lock is named by a tuple that begins with its kind."""

    def __init__(self, clock: Clock, tokens: dict[int, int], unbonding_time: int):
        self.clock = clock
        self.tokens = tokens
        self.unbonding_time = unbonding_time
        self.accounts: dict[int, Account] = defaultdict(Account)
        self.locks: dict[tuple[int, tuple], int] = defaultdict(int)
        self.seized = 0

    def stake(self, who: int, amount: int) -> None:
        require(amount, "nothing")
        require(amount <= self.tokens[who], "balance")
        self.tokens[who] -= amount
        self.accounts[who].bonded += amount

    def request_unbond(self, who: int, amount: int) -> None:
        account = self.accounts[who]
        require(amount, "nothing")
        require(amount <= account.free, "free stake")
        account.bonded -= amount
        account.unbonding += amount
        account.ready_at = self.clock.now + self.unbonding_time

    def rebond(self, who: int) -> None:
        account = self.accounts[who]
        require(account.unbonding, "nothing unbonding")
        account.bonded += account.unbonding
        account.unbonding = account.ready_at = 0

    def withdraw(self, who: int) -> None:
        account = self.accounts[who]
        require(account.unbonding, "nothing unbonding")
        require(self.clock.now >= account.ready_at, "still unbonding")
        require(account.open_cases == 0, "case open")
        self.tokens[who] += account.unbonding
        account.unbonding = account.ready_at = 0

    def pay_treasury(self) -> None:
        require(self.seized, "nothing")
        self.tokens[TREASURY] += self.seized
        self.seized = 0

    # What the ledger and the court do.

    def require_free(self, who: int, amount: int) -> None:
        require(amount <= self.accounts[who].free, "free stake")

    def lock(self, who: int, name: tuple, amount: int) -> None:
        self.require_free(who, amount)
        self.accounts[who].locked += amount
        self.locks[who, name] += amount

    def missing(self, who: int, name: tuple, wanted: int) -> int:
        return max(0, wanted - self.locks[who, name])

    def keep(self, who: int, name: tuple, needed: int) -> None:
        """Frees what a lock holds above `needed`."""
        freed = max(0, self.locks[who, name] - needed)
        self.accounts[who].locked -= freed
        self.locks[who, name] -= freed

    def slash(self, who: int, name: tuple, amount: int, finder: int = NOBODY, fee_bps: int = 0) -> int:
        """Takes from this lock and nothing else; the finder's share rounds down."""
        taken = min(amount, self.locks[who, name])
        fee = 0 if finder == NOBODY else taken * fee_bps // 10_000
        self.locks[who, name] -= taken
        self.accounts[who].locked -= taken
        self.accounts[who].bonded -= taken
        if fee:
            self.accounts[finder].bonded += fee
        self.seized += taken - fee
        return taken


@dataclass
class Budget:
    funded: int = 0
    reserved: int = 0
    credited: int = 0
    refunded: int = 0

    @property
    def free(self) -> int:
        return self.funded - self.reserved - self.credited - self.refunded


class Rewards:
    def __init__(self, tokens: dict[int, int]):
        self.tokens = tokens
        self.budgets: dict[int, Budget] = {}
        self.earned: dict[int, int] = defaultdict(int)
        self.claimed: dict[int, int] = defaultdict(int)

    def fund(self, who: int, pool: int, amount: int) -> None:
        require(pool in self.budgets, "unknown pool")
        require(amount, "nothing")
        require(amount <= self.tokens[who], "balance")
        self.tokens[who] -= amount
        self.budgets[pool].funded += amount

    def claim(self, who: int, to: int) -> None:
        require(self.earned[who], "nothing")
        self.tokens[to] += self.earned[who]
        self.claimed[who] += self.earned[who]
        self.earned[who] = 0

    def refund(self, who: int, pool: int) -> None:
        budget = self.budgets[pool]
        require(budget.free, "nothing")
        self.tokens[who] += budget.free
        budget.refunded += budget.free

    # What the ledger and the court do.

    def reserve(self, pool: int, amount: int) -> None:
        require(amount <= self.budgets[pool].free, "budget")
        self.budgets[pool].reserved += amount

    def release(self, pool: int, amount: int) -> None:
        assert amount <= self.budgets[pool].reserved
        self.budgets[pool].reserved -= amount

    def credit(self, pool: int, who: int, amount: int) -> None:
        self.release(pool, amount)
        self.budgets[pool].credited += amount
        self.earned[who] += amount
