"""A run whose artifacts are in a bucket too: an orchestrator with a damaged file, a mirror that lies, an
audit from the bucket alone."""

import shutil
from pathlib import Path

import pytest
from bucket import bucket
from network import network
from peers import Peer, serving, until
from pi_sdk.store import HttpStore, LocalStore
from pi_validator.run_audit import RunAudit

ROUNDS = 2
WORKERS = 2


@pytest.mark.slow
def test_a_run_over_a_bucket_and_a_lying_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    with bucket() as s3, serving(Peer(flip=20)) as liar, network(tmp_path, "--s3", s3) as net:
        pool_id, spec = net.pool(ROUNDS, min_slots=WORKERS, min_seats=1, probation=ROUNDS)
        for path in (tmp_path / "artifacts").rglob("*"):
            if path.is_file():
                liar.blobs[path.name] = path.read_bytes()
        shard = spec.data.train[0].sha256
        with HttpStore(s3) as store:
            until("the copy of the shard", lambda: store.has(shard))
        path = LocalStore(tmp_path / "orchestrator" / "blobs").path_of(shard)
        path.write_bytes(b"damaged" + path.read_bytes()[7:])
        workers = [net.worker(pool_id, i, "--mirror", liar.url) for i in range(WORKERS)]
        validator = net.validator(pool_id, 0, "--mirror", liar.url)
        for program in (*workers, validator):
            program.end(0)
        assert shard in {name for name, *_ in liar.asked}
        assert all(e["agrees"] for worker in workers for e in worker.events("closed"))
        events = net.creator.events(pool_id=pool_id)
        assert not {"Missed", "Excluded", "CaseOpened"} & {e.name for e in events}
        reveals = [e.args for e in events if e.name == "Revealed"]
        worked = [reveal for reveal in reveals if reveal["round"] < ROUNDS]
        assert len(worked) == ROUNDS * WORKERS
        assert all(reveal["locations"] == f"{net.store_url},{s3}" for reveal in worked)

        with HttpStore(s3) as store:
            closes = [e.args["checkpoint_file"].hex() for e in events if e.name == "RoundClosed"]
            until("the copies", lambda: all(store.has(name) for name in closes))
            net.orchestrator.kill()
            assert [*RunAudit(net.creator, pool_id, store).run()] == []


@pytest.mark.slow
def test_an_orchestrator_that_lost_its_disk_goes_on_from_the_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    with bucket() as s3, network(tmp_path, "--s3", s3) as net:
        pool_id, _ = net.pool(3, min_slots=WORKERS)
        workers = [net.worker(pool_id, i) for i in range(WORKERS)]
        for worker in workers:
            worker.wait_for("closed", round=0)
        net.orchestrator.kill()
        shutil.rmtree(tmp_path / "orchestrator")
        net.start_orchestrator("--s3", s3)
        for worker in workers:
            worker.end(0)
        assert "is back from the bucket" in net.orchestrator.tail()
        events = net.creator.events(pool_id=pool_id)
        names = [e.name for e in events]
        assert names.count("RoundClosed") == 3 and not {"Missed", "Excluded"} & set(names)
        assert all(e["agrees"] for worker in workers for e in worker.events("closed"))
