"""A whole run: the real process, a real chain, and people who are wrong, absent, or kill the orchestrator."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from chain import Anvil
from pi_sdk import Client, HttpStore, LocalStore, Outcome, Verdict, dev_key, read_events
from pi_sdk.codec import sha256
from pi_sdk.types import CaseStatus
from pi_train.outer import Checkpoint, outer_step
from process import Process
from scripted import WINDOW, N, Worker, connect, dev_account, pool_params, tiny_spec, until

ROUNDS = 3


def wait_for(client: Client, name: str, pool: int, number: int) -> dict:
    """The arguments of a round's event, once it is there."""
    found: list[dict] = []

    def look() -> bool:
        events = client.events(pool_id=pool, names=[name])
        found.extend(event.args for event in events if event.args["round"] == number)
        return bool(found)

    until(look, f"{name} of round {number}", 45)
    return found[0]


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """A store of somebody else."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.timeout(180)
def test_three_rounds_with_absent_and_lying_workers_and_a_crash(
    chain: Anvil, orchestrate: Callable[..., Process], tmp_path: Path
):
    key, creator = dev_key(1), connect(chain, dev_account(0))
    process = orchestrate(key)
    local = LocalStore(tmp_path / "artifacts")
    spec = tiny_spec(local, tmp_path, ROUNDS)
    params = pool_params(dev_account(1).address, ROUNDS, min_slots=4, min_seats=2)
    pool = creator.create_pool(spec, params, process.url, unsound=True)
    creator.mint(dev_account(0).address, 1000 * 10**18)
    creator.fund_pool(pool, 500 * 10**18)

    alice, bob, carol, judge, juror = people = [Worker.make(chain, creator) for _ in range(5)]
    alice.join(pool, process.url)
    bob.join(pool, process.url)
    carol.join(pool, process.url, width=2)
    for seat in (judge, juror):
        seat.operator.take_seat(pool, seat.node.address)

    # 1. Everybody is there, but nothing opens before the creator's files are in the store.
    until(
        lambda: "not in the store yet" in process.log.read_text(), "the orchestrator to say what is missing"
    )
    with closing(HttpStore(process.url, dev_account(0), 31337, pool)) as store:
        for blob in (tmp_path / "artifacts").glob("*/*"):
            store.put(blob.read_bytes())
    # Nor before it has its close bond; the log says how much is missing.
    until(lambda: "100 tokens are missing" in process.log.read_text(), "the orchestrator to ask for its bond")
    creator.mint(dev_account(1).address, 150 * 10**18)
    root = bytes.fromhex(spec.genesis_root)
    assert wait_for(creator, "RoundOpened", pool, 0)["start_root"] == root
    waited = [line[9:] for line in process.log.read_text().splitlines() if "not in the store yet" in line]
    assert len(set(waited)) == len(waited), "what does not change is said once"
    assert creator.bond_of(pool, dev_account(1).address) == params.close_bond

    # 2. Round 0: alice is right, bob's file is malformed, carol commits and stays away.
    alice.commit(pool, 0, spec, root)
    bob.commit(pool, 0, spec, root, lie="malformed")
    carol.commit(pool, 0, spec, root, width=2)
    alice.reveal(pool, 0)
    bob.reveal(pool, 0)
    chain.mine(seconds=WINDOW + 1)
    closed = wait_for(creator, "RoundClosed", pool, 0)
    checkpoint = Checkpoint.from_bytes(
        local.get(spec.genesis_file, 1 << 20), N, spec.outer.rule == "nesterov"
    )
    checkpoint = outer_step(spec, checkpoint, [(alice.update(spec, 0), 1)])
    assert closed["root"] == checkpoint.root() and closed["root"] != root
    excluded = wait_for(creator, "Excluded", pool, 0)
    assert (excluded["node"], excluded["reason"]) == (bob.node.address, 2)
    missed = wait_for(creator, "Missed", pool, 0)
    assert (missed["node"], missed["in_a_row"]) == (carol.node.address, 1)
    assert wait_for(creator, "SeedCaptured", pool, 0)["seed"] != bytes(32)

    # 3. A verdict against alice opens a case; the juror sleeps, and the orchestrator ends it in time.
    salt, digest = bytes(32), sha256(b"digest")
    verdicts = [Verdict(node=alice.node.address, outcome=Outcome.MISMATCH, digest=digest)]
    judge.client.commit_verdicts(
        pool, 0, judge.client.verdicts_commitment(pool, 0, judge.node.address, verdicts, salt)
    )

    # 4. Round 1: killed in the middle, with a commitment on chain; bob claims a false norm, carol is gone.
    wait_for(creator, "RoundOpened", pool, 1)
    alice.commit(pool, 1, spec, checkpoint.root())
    process.kill()
    bob.commit(pool, 1, spec, checkpoint.root(), lie="norm")
    process = orchestrate(key, port=int(process.url.rsplit(":", 1)[1]))
    dave = Worker.make(chain, creator)
    dave.join(pool, process.url, width=2)
    people.append(dave)
    chain.mine(seconds=WINDOW + 1)
    judge.client.reveal_verdicts(pool, 0, verdicts, salt)
    case = creator.case_about(pool, 0, alice.node.address)
    assert case
    alice.reveal(pool, 1)
    bob.reveal(pool, 1)
    closed = wait_for(creator, "RoundClosed", pool, 1)
    checkpoint = outer_step(spec, checkpoint, [(alice.update(spec, 1), 1)])
    assert closed["root"] == checkpoint.root()
    excluded = wait_for(creator, "Excluded", pool, 1)
    assert (excluded["node"], excluded["reason"]) == (bob.node.address, 3)
    missed = wait_for(creator, "Missed", pool, 1)
    assert (missed["node"], missed["in_a_row"]) == (carol.node.address, 2)

    # 5. Round 2, with dave in carol's place. Killed again between the reveals and the close; alice's file is
    #    elsewhere, the others' are nowhere. The pool ends, and the process goes on serving.
    until(lambda: creator.pool(pool).member_slots == 4, "carol to be out")
    wait_for(creator, "RoundOpened", pool, 2)
    with file_server(tmp_path / "mirror") as mirror:
        (tmp_path / "mirror" / "blobs").mkdir(parents=True)
        alice.commit(pool, 2, spec, checkpoint.root())
        bob.commit(pool, 2, spec, checkpoint.root())
        dave.commit(pool, 2, spec, checkpoint.root(), width=2)
        data = alice.opened[2][1]
        (tmp_path / "mirror" / "blobs" / sha256(data).hex()).write_bytes(data)
        process.kill()
        alice.reveal(pool, 2, upload=False, locations=f"ftp://x,http://127.0.0.1:1,{mirror}")
        bob.reveal(pool, 2, upload=False, locations="http://127.0.0.1:1,file:///etc")
        dave.reveal(pool, 2, upload=False)
        process = orchestrate(key, port=int(process.url.rsplit(":", 1)[1]))
        closed = wait_for(creator, "RoundClosed", pool, 2)
    checkpoint = outer_step(spec, checkpoint, [(alice.update(spec, 2), 1)])
    assert closed["root"] == checkpoint.root() == creator.pool(pool).checkpoint_root

    # 6. The confirm-only round: no training, no close; its seal ends the pool.
    assert wait_for(creator, "RoundOpened", pool, 3)["start_root"] == checkpoint.root()
    assert creator.pool(pool).last and not creator.pool(pool).ended
    for person, width in ((alice, 1), (bob, 1), (dave, 2)):
        person.confirm(pool, 3, checkpoint.root(), width)
    for person in (alice, bob, dave):
        person.reveal(pool, 3)
    assert creator.pool(pool).ended
    assert not creator.events(pool_id=pool, names=["CloseOverruled"])

    # 7. What is left comes to its end too: every jury of the case sleeps, and the bond comes back.
    wait_for(creator, "SeedCaptured", pool, 2)

    def resolved() -> bool:
        chain.mine(seconds=2 * WINDOW + 2)
        return not creator.case(case).is_open

    until(resolved, "the case to be resolved")
    assert creator.case(case).status == CaseStatus.HUNG
    until(lambda: all(creator.is_final(pool, r) for r in range(ROUNDS + 1)), "the verdicts to end")

    def released() -> bool:
        chain.mine(seconds=WINDOW)
        return not creator.bond_of(pool, dev_account(1).address)

    until(released, "the bond to come back", 60)
    with closing(HttpStore(process.url)) as store:
        assert store.get(closed["checkpoint_file"].hex(), 1 << 20) == checkpoint.to_bytes()
    until(lambda: all(r["final"] for r in history(process, pool)), "the orchestrator to see that")
    shown = history(process, pool)
    assert [r["included"] for r in shown] == [[alice.node.address]] * 3 + [None]
    assert [set(r["excluded"].values()) for r in shown[:3]] == [
        {"malformed"},
        {"wrong norm"},
        {"unavailable"},
    ]
    assert shown[0]["missed"] == shown[1]["missed"] == [carol.node.address]

    assert process.stop() == 0
    said = [(e["event"], e.get("round")) for e in read_events(process.home)]
    for number in range(ROUNDS):
        for event in ("opened", "sealed", "seed", "closed"):
            assert said.count((event, number)) == 1, (event, number)
    assert said.count(("opened", ROUNDS)) == 1 and ("closed", ROUNDS) not in said
    assert said.count(("miss", 0)) == said.count(("miss", 1)) == 1
    assert ("resolved", None) in said and ("ended", None) in said
    assert "Traceback" not in process.log.read_text()
    for person in people:
        person.close()
    creator.close()


def history(process: Process, pool: int) -> list[dict]:
    return json.loads(httpx.get(f"{process.url}/pools/{pool}").text)["history"]
