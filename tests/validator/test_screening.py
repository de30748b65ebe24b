"""A round through the screening of a validator: fetched, compared and loss-tested in the replay process,
told, remembered, and whoever looks wrong watched."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from network import wait_for
from pi_sdk.eventlog import EventLog, read_events
from pi_sdk.store import LocalStore
from pi_train.codecs import UpdateFile, encode_update
from pi_train.determinism import admitted
from pi_validator.audit import Bench, ReplayQueue
from pi_validator.checkpoints import Checkpoints
from pi_validator.evidence import Slot
from pi_validator.replay_process import ReplayConfig
from pi_validator.screening import Screening

SEED = b"\x22" * 32
NODES = [f"0x{i:040x}" for i in range(1, 8)]


@pytest.fixture(scope="module")
def replay(trained, tmp_path_factory):
    folder, cls = trained.folder, admitted(trained.spec)[0]
    log = tmp_path_factory.mktemp("replay") / "replay.log"
    replay = ReplayQueue(ReplayConfig(folder / "run_spec.json", folder / "corpus", cls, 1 << 30, log))
    replay.start()
    replay.ready.result()
    yield replay
    replay.close()


@pytest.fixture
def bench(trained, replay, tmp_path):
    spec, stop = trained.spec, threading.Event()
    store = LocalStore(trained.folder / "store")
    checkpoints = Checkpoints(tmp_path / "checkpoints", store, spec, stop)
    checkpoints.note(trained.reveal.start_root, spec.genesis_file)
    folder, cls = tmp_path / "pool-1" / "evidence", admitted(spec)[0]
    with EventLog(tmp_path) as events:
        yield Bench(spec, cls, trained.validator, store, checkpoints, replay, events, folder, 60.0, stop)
    stop.set()


def slots(trained, store: LocalStore) -> list[Slot]:
    """The real update, four with some noise, the last of them 30 times as long; one that is malformed; one
    that nobody has."""
    data = LocalStore(trained.folder / "evidence").get(trained.update, 1 << 20)
    n, draw = trained.spec.model.parameters, np.random.default_rng(0)
    values = UpdateFile(trained.spec.codec, data, n).decode()
    files = [data]
    for scale in (1, 1, 1, 30):
        noisy = scale * (values + draw.normal(0, 2 * values.std(), n))
        files.append(encode_update(trained.spec.codec, noisy.astype(np.int32)))
    names = [store.put(file) for file in [*files, data[:16] + b"\x00\x01" + data[18:]]] + ["ab" * 32]
    start = trained.reveal.start_root
    return [Slot(0, node, trained.reveal, name, "", start) for node, name in zip(NODES, names, strict=True)]


def screened(screening: Screening, home: Path, rounds: int) -> list[dict]:
    def done() -> bool:
        screening.serve()
        return not screening.pending

    wait_for("the screens", done)
    events = [e for e in read_events(home) if e["event"] == "screened"]
    assert len(events) == 5 * rounds
    return events


def test_a_round_is_screened_and_remembered(trained, bench, tmp_path):
    watched: list[str] = []
    screening = Screening(bench, 1, lambda node: watched.append(node) is None)
    found, ages = slots(trained, bench.store), dict.fromkeys(NODES, 0)
    screening.note(0, SEED, found, ages)
    events = screened(screening, tmp_path, 1)
    assert {e["node"]: e["flags"] for e in events} == {
        node: ["norm"] * (node == NODES[4]) for node in NODES[:5]
    }
    assert watched == [NODES[4]]
    assert all(e["gain"] is not None and e["rating"] != 0 and e["overlap"] > 0 for e in events)
    assert all(e["twin"] in set(NODES[:5]) - {e["node"]} for e in events)
    screening.stop()

    again = Screening(bench, 1, lambda node: True)
    assert again.records == screening.records and len(again.records) == 5
    again.note(0, SEED, found, ages)
    assert not again.pending, "it was screened before the restart"
    ages = {node: 7 * (node != NODES[4]) for node in NODES}
    again.note(1, SEED, [replace(slot, round=1) for slot in found], ages)
    events = screened(again, tmp_path, 2)
    assert not any(e["flags"] for e in events[5:]), "a newcomer's norm is its own"
    assert again.records[NODES[0]].squares > screening.records[NODES[0]].squares
    again.stop()
    kept = json.loads((tmp_path / "pool-1" / "screens.json").read_text())
    assert set(kept["records"]) == set(NODES[:5])


def test_rounds_that_fall_behind_are_dropped(trained, bench):
    screening = Screening(bench, 1, lambda node: True)
    found, ages = slots(trained, bench.store), dict.fromkeys(NODES, 0)
    for round_ in range(4):
        screening.note(round_, SEED, found, ages)
        assert set(screening.pending) == {max(0, round_ - 1), round_}
    for work in screening.pending.values():
        work.until = 0
    screening.serve()
    assert not screening.pending
    screening.stop()
