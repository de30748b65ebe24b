"""Gas of every operation of a run: its first use, and its steady state once the ring of rounds has gone
round.

A real anvil mines each transaction in a block of its own; two workers and three validators drive 20 rounds
through the SDK, with a case in the last. Beside our figures stand those of Prime Intellect's protocol for
the nearest operation (median over its own tests under `forge --gas-report`). Gas does not depend on the
machine.

    python -m benchmarks gas
"""

import hashlib
import itertools
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from pi_sdk import Client, LocalStore, PoolParams, Reveal
from pi_sdk.networks import dev_key
from pi_sdk.processes import accepts, free_port
from pi_sdk.results import Receipt, Verdict
from pi_sdk.tools import anvil_path
from pi_sdk.tx import Call
from pi_sdk.types import Outcome
from pi_train.prepare import prepare

from .common import publish

ROUNDS = 20
TOKEN = 10**18
PEERS = {
    "stake": 107_031,
    "request unbond": 100_978,
    "withdraw": 68_605,
    "join": 311_040,
    "commit": 226_765,  # its submitWork: one item of work
    "claim": 158_677,
    "resolve (slash)": 88_896,
}


class Books:
    """Gas used, by operation, in the order in which it happened."""

    def __init__(self):
        self.gas: dict[str, list[int]] = defaultdict(list)

    def add(self, operation: str, receipt: Receipt) -> Receipt:
        self.gas[operation].append(receipt.gas_used)
        return receipt


def word(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def run(rpc_url: str, folder: Path) -> Books:
    books = Books()
    bank = Client("local", Account.from_key(dev_key(0)), rpc_url=rpc_url, poll=0.01)
    bank.deploy(unbonding_time=3600)

    def someone(name: str) -> tuple[Client, LocalAccount, Client]:
        """An operator's client, its node key and the node's client, with ether and tokens."""
        operator, node = (Account.from_key(word(name, i)) for i in range(2))
        for account in (operator, node):
            bank.sender.send(Call(account.address, value=TOKEN))
        bank.mint(operator.address, 1000 * TOKEN)
        mine, hot = (Client("local", a, rpc_url=rpc_url, poll=0.01) for a in (operator, node))
        books.add("register node", mine.register_node(node))
        mine.stake(100 * TOKEN)  # the allowance is given with the first
        books.add("stake", mine.stake(100 * TOKEN))
        return mine, node, hot

    workers = [someone(f"worker {i}") for i in range(2)]
    validators = [someone(f"validator {i}") for i in range(3)]
    spec = prepare(store=LocalStore(folder), rounds=ROUNDS, data=Path(__file__).parent)
    params = PoolParams(
        orchestrator=bank.sender.address, rounds=ROUNDS, max_width=spec.max_width, audit_rate=10_000
    )
    pool = bank.create_pool(spec, params, "http://127.0.0.1:8700", unsound=True)
    bank.mint(bank.sender.address, 10_000 * TOKEN)
    bank.fund_pool(pool, ROUNDS * params.reserve_per_round())
    for mine, node, _ in workers:
        books.add("join", mine.join(pool, node.address))
    for mine, node, _ in validators:
        mine.take_seat(pool, node.address)

    state = dict.fromkeys((node.address for _, node, _ in workers), bytes(32))
    for number in range(ROUNDS):
        books.add("open round", bank.open_round(pool, params.max_train_window))
        opened = {}
        for _, node, hot in workers:
            out = word("state", node.address, number)
            opened[node.address] = Reveal(
                salt=word("salt", node.address, number),
                start_root=word("start", number),
                update_root=word("update", node.address, number),
                trace_root=word("trace", node.address, number),
                state_in=state[node.address],
                state_out=out,
                norm=1 << 40,
                width=1,
            )
            state[node.address] = out
            hidden = hot.commitment(pool, number, node.address, opened[node.address])
            books.add("commit", hot.commit(pool, hidden))
        for _, node, hot in workers:
            file = word("file", node.address, number).hex()
            books.add("reveal", hot.reveal(pool, opened[node.address], file, "http://127.0.0.1:8700"))
        bank.rpc.call("anvil_mine", "0x2")
        books.add("capture seed", bank.capture_seed(pool, number))
        books.add("close round", bank.close_round(pool, word("root", number), word("file", number).hex(), []))
        judge(books, pool, number, workers, validators, guilty=number == ROUNDS - 1)
    settle(books, pool, workers)
    for mine, _, hot in [*workers, *validators]:
        mine.close()
        hot.close()
    bank.close()
    return books


def judge(books: Books, pool: int, number: int, workers, validators, *, guilty: bool) -> None:
    """All validators commit and reveal their verdicts; a guilty first worker is accused, judged and
    slashed."""
    accused = workers[0][1].address if guilty else None
    lists = {}
    for _, node, hot in validators:
        drawn = [w.address for _, w, _ in workers if node.address in hot.auditors_of(pool, number, w.address)]
        lists[node.address] = [
            Verdict(
                node=address,
                outcome=Outcome.MISMATCH if address == accused else Outcome.ACCEPT,
                digest=word(address, node.address),
            )
            for address in drawn
        ]
        hidden = hot.verdicts_commitment(pool, number, node.address, lists[node.address], word("salt"))
        books.add("commit verdicts", hot.commit_verdicts(pool, number, hidden))
    for _, node, hot in validators:
        receipt = hot.reveal_verdicts(pool, number, lists[node.address], word("salt"))
        accuses = any(log.name == "CaseOpened" for log in receipt.logs)
        books.add("reveal verdicts and accuse" if accuses else "reveal verdicts", receipt)
    if accused is None:
        return
    client = validators[0][2]
    case = client.case_about(pool, number, accused)
    jury = [v for v in validators if v[1].address in client.jury_of(case)]
    for step, (_, node, hot) in itertools.product((0, 1), jury):
        if step == 0:
            hidden = hot.vote_commitment(case, node.address, Outcome.MISMATCH, word("digest"), word("salt"))
            books.add("commit vote", hot.commit_vote(case, hidden))
        else:
            books.add("reveal vote", hot.reveal_vote(case, Outcome.MISMATCH, word("digest"), word("salt")))
    books.add("resolve (slash)", client.resolve_case(case))


def settle(books: Books, pool: int, workers) -> None:
    """What a worker that leaves does: settle, claim, free the lock, unbond."""
    for mine, node, _ in workers:
        books.add("settle 16 rounds", mine.settle(pool, node.address))
        before = mine.block_number()
        mine.claim()
        tx = next(e.tx for e in mine.events(before, names=["Claimed"]))
        books.gas["claim"].append(int(mine.rpc.call("eth_getTransactionReceipt", tx)["gasUsed"], 16))
        books.add("request unbond", mine.request_unbond(50 * TOKEN))
        mine.rpc.call("evm_increaseTime", 3601)
        books.add("withdraw", mine.withdraw())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        chain = subprocess.Popen([anvil_path(), "--port", str(port), "--quiet"])
        try:
            while not accepts(port):
                assert chain.poll() is None, "anvil ended"
                time.sleep(0.05)
            books = run(f"http://127.0.0.1:{port}", Path(name))
        finally:
            chain.kill()
            chain.wait()
    rows = []
    for operation, gas in books.gas.items():
        peer = PEERS.get(operation)
        rows.append(
            {
                "operation": operation,
                "times": len(gas),
                "first": gas[0],
                "steady": gas[-1],
                "Prime Intellect": peer or "",
                "ours/theirs": round(gas[-1] / peer, 2) if peer else "",
            }
        )
    publish(
        "gas", "Gas per operation", rows, "first use, and last use of 20 rounds (a ring of 16 has gone round)"
    )
