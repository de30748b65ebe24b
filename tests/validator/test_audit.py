"""From the stores to a report: what is missing, what cannot be asked, and what that means for the worker."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import pytest
from chain import free_port
from network import wait_for
from pi_sdk.eventlog import EventLog, read_events
from pi_sdk.store import HttpStore, LocalStore
from pi_sdk.types import Outcome
from pi_train.determinism import admitted
from pi_validator.audit import Bench, ReplayQueue, SlotAudit
from pi_validator.checkpoints import Checkpoints
from pi_validator.evidence import Evidence, Slot, announced_stores
from pi_validator.replay_process import ReplayConfig

SEED = b"\x11" * 32


@pytest.fixture
def stop():
    stop = threading.Event()
    yield stop
    stop.set()


@pytest.fixture
def remote(trained, tmp_path) -> LocalStore:
    """A store with everything about the slot."""
    return LocalStore(shutil.copytree(trained.folder / "evidence", tmp_path / "remote"))


def slot_of(trained, locations: str = "", **reveal) -> Slot:
    return Slot(
        round=0,
        node=trained.worker,
        reveal=trained.reveal.model_copy(update=reveal),
        update_file=trained.update,
        locations=locations,
        start_root=trained.reveal.start_root,
    )


def gather(trained, store, folder: Path, stop, slot: Slot | None = None) -> Evidence:
    evidence = Evidence(trained.spec, slot or slot_of(trained), SEED, store, folder, stop)
    evidence.start()
    return evidence


def test_evidence_that_comes_late_is_waited_for(trained, remote, tmp_path, stop):
    trace = trained.reveal.trace_root.hex()
    data = remote.get(trace, 1 << 20)
    remote.path_of(trace).unlink()
    evidence = gather(trained, remote, tmp_path / "here", stop)
    wait_for("the gap to be seen", lambda: evidence.absent == {trace})
    assert not evidence.complete.is_set() and evidence.class_id is None
    remote.put(data)
    assert evidence.complete.wait(30)
    assert evidence.absent == frozenset() and evidence.class_id == admitted(trained.spec)[0].id


def test_a_blob_that_is_too_large_is_as_good_as_none(trained, remote, tmp_path, stop):
    name = remote.put(bytes(1 << 22))
    slot = slot_of(trained, state_in=bytes.fromhex(name))
    evidence = gather(trained, remote, tmp_path / "here", stop, slot)
    wait_for("the refusal", lambda: evidence.absent == {name})
    assert not LocalStore(tmp_path / "here").has(name)


def test_a_store_that_cannot_be_asked_says_nothing_is_missing(trained, tmp_path, stop):
    with HttpStore(f"http://127.0.0.1:{free_port()}", tries=1) as dead:
        evidence = gather(trained, dead, tmp_path / "here", stop)
        evidence.join(1.5)  # some rounds of polling
        assert evidence.is_alive() and not evidence.absent and not evidence.complete.is_set()
        stop.set()
        evidence.join()


@pytest.mark.parametrize(
    "locations",
    [
        "",
        ",,,",
        "file:///etc/passwd",
        "http://",
        "javascript:1",
        "http://a b",
        "\x00" * 5000,
        "http://[",
        "é",
    ],
)
def test_hostile_locations_are_passed_over(trained, remote, tmp_path, stop, locations):
    remote.path_of(trained.update).unlink()
    evidence = gather(trained, remote, tmp_path / "here", stop, slot_of(trained, locations))
    wait_for("the gap to be seen", lambda: evidence.absent == {trained.update})
    assert evidence.is_alive()


def test_at_most_four_locations_are_asked():
    stores = announced_stores(",".join(f"http://127.0.0.1:{port}" for port in range(1000, 1100)))
    assert len(stores) == 4
    for store in stores:
        store.close()


def test_an_update_is_fetched_from_where_the_worker_announced_it(trained, remote, tmp_path, stop):
    (tmp_path / "web" / "blobs").mkdir(parents=True)
    remote.path_of(trained.update).rename(tmp_path / "web" / "blobs" / trained.update)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        slot = slot_of(trained, f"http://127.0.0.1:{server.server_port}")
        evidence = gather(trained, remote, tmp_path / "here", stop, slot)
        assert evidence.complete.wait(30)
        server.shutdown()
        for store in evidence._elsewhere:
            store.close()


@pytest.fixture(scope="module")
def replay(trained, tmp_path_factory):
    log = tmp_path_factory.mktemp("replay") / "replay.log"
    config = ReplayConfig(
        trained.folder / "run_spec.json", trained.folder / "corpus", admitted(trained.spec)[0], 1 << 30, log
    )
    replay = ReplayQueue(config)
    replay.start()
    replay.ready.result()
    yield replay
    replay.close()


@pytest.fixture
def bench(trained, replay, remote, tmp_path, stop):
    chain_store = LocalStore(trained.folder / "store")
    checkpoints = Checkpoints(tmp_path / "checkpoints", chain_store, trained.spec, stop)
    checkpoints.note(trained.reveal.start_root, trained.spec.genesis_file)
    with EventLog(tmp_path / "home") as events:
        yield Bench(
            spec=trained.spec,
            cls=admitted(trained.spec)[0],
            node=trained.validator,
            store=remote,
            checkpoints=checkpoints,
            replay=replay,
            events=events,
            folder=tmp_path / "slots",
            time_limit=60,
            stop=stop,
        )


def advance(audit: SlotAudit, give_up: bool) -> bool:
    audit.advance(give_up=give_up, deadline=1)
    return audit.done


def test_an_audit_from_store_to_report(bench, trained):
    audit = SlotAudit(bench, slot_of(trained), SEED)
    wait_for("the report", lambda: advance(audit, give_up=False))
    assert audit.report is not None and audit.report.outcome == Outcome.ACCEPT and audit.report.bitwise
    (event,) = read_events(bench.events.path.parent)
    assert (event["event"], event["round"], event["node"], event["outcome"], event["bitwise"]) == (
        "audit",
        0,
        trained.worker,
        "accept",
        True,
    )


def test_missing_evidence_is_withheld_only_once_time_is_up(bench, trained, remote):
    trace = trained.reveal.trace_root.hex()
    remote.path_of(trace).unlink()
    audit = SlotAudit(bench, slot_of(trained), SEED)
    wait_for("the gap to be seen", lambda: advance(audit, give_up=False) or audit.evidence.absent)
    assert not audit.done
    wait_for("the report", lambda: advance(audit, give_up=True))
    assert audit.report is not None and audit.report.outcome == Outcome.WITHHELD and not audit.decided


def test_a_dead_store_is_no_verdict_however_late(bench, trained):
    with HttpStore(f"http://127.0.0.1:{free_port()}", tries=1) as dead:
        audit = SlotAudit(bench.__class__(**(vars(bench) | {"store": dead})), slot_of(trained), SEED)
        audit.evidence.join(1.5)
        assert not advance(audit, give_up=True)
        audit.cancel()
        assert audit.report is None and audit.abstained
        bench.stop.set()
        audit.evidence.join()


def test_a_class_that_may_not_be_judged_is_left_out(bench, trained):
    spec = trained.spec.model_copy(update={"limits": ()})
    audit = SlotAudit(bench.__class__(**(vars(bench) | {"spec": spec})), slot_of(trained), SEED)
    wait_for("the decision", lambda: advance(audit, give_up=False))
    assert audit.report is None and audit.abstained is not None and "may not judge" in audit.abstained


def test_a_cancelled_request_does_not_take_its_turn(replay, trained):
    """Behind a running request: the cancelled one never runs, an audit comes before an evaluation."""
    order = []
    first = replay.submit(trained.request(), priority=0, deadline=0, time_limit=60)
    evaluation = trained.request() | {"op": "evaluate"}
    late = replay.submit(evaluation, priority=1, deadline=0, time_limit=60)
    stale = replay.submit(trained.request(), priority=0, deadline=1, time_limit=60)
    audit = replay.submit(trained.request(), priority=0, deadline=9, time_limit=60)
    late.add_done_callback(lambda _: order.append("evaluation"))
    audit.add_done_callback(lambda _: order.append("audit"))
    if first.running() or not first.done():
        stale.cancel()
    audit.result(60)
    late.result(60)
    assert first.result()["outcome"] == Outcome.ACCEPT
    assert order == ["audit", "evaluation"]
    assert stale.cancelled()
