"""Large artifacts of the real process: ranges, part hashes, and the bucket it copies to and signs for."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from bucket import bucket
from chain import Anvil, free_port
from eth_account import Account
from peers import Peer, serving, until
from pi_sdk import HttpStore, MultiStore, UploadRefused, dev_key
from pi_sdk.codec import sha256
from pi_train.checkpoint_file import CheckpointParts
from pi_train.outer import Checkpoint
from process import Process
from scripted import connect, dev_account, pool_params, tiny_spec

MAX_BLOB, QUOTA = 4 << 20, 5 << 20
N = 2 * (1 << 18) + 5


class Nowhere:
    def put(self, data: bytes, kind: str = "artifact", round: int = 0) -> str:
        return sha256(data).hex()


@dataclass
class World:
    url: str
    bucket: str
    home: Path
    store: HttpStore
    """The creator's."""


@pytest.fixture(scope="module")
def world(chain: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("bucket")
    with bucket() as s3, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
        arguments = ("--max-blob", str(MAX_BLOB), "--quota", str(QUOTA), "--s3", s3)
        process = Process(folder / "home", chain, dev_key(2), free_port(), arguments)
        with connect(chain, dev_account(3)) as client:
            try:
                process.wait_ready()
                spec = tiny_spec(Nowhere(), folder, 2)
                pool = client.create_pool(spec, pool_params(dev_account(2).address, 2), process.url)
                with HttpStore(process.url, dev_account(3), 31337, pool) as store:
                    yield World(process.url, s3, process.home, store)
            finally:
                assert process.stop() == 0
    log = process.log.read_text()
    assert "Traceback" not in log and "not a secret" not in log


def test_a_range_is_answered_with_that_range(world: World):
    data = random.Random(1).randbytes(5000)
    url = f"{world.url}/blobs/{world.store.put(data)}"
    for asked, start, stop in (
        ("0-99", 0, 100),
        ("100-", 100, 5000),
        ("-7", 4993, 5000),
        ("4990-9999", 4990, 5000),
    ):
        answer = httpx.get(url, headers={"Range": f"bytes={asked}"})
        assert answer.status_code == 206 and answer.content == data[start:stop]
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/5000"
    for asked in ("bytes=5000-", "bytes=9999-10000", "bytes=-0"):
        answer = httpx.get(url, headers={"Range": asked})
        assert answer.status_code == 416 and answer.headers["content-range"] == "bytes */5000"
        assert "5000 bytes" in answer.json()["error"]
    for ignored in (
        "bytes=-",
        "bytes=9-3",
        "bytes=0-1,4-5",
        "lines=1-2",
        "bytes=x",
        "bytes=" + "9" * 40 + "-",
        "",
    ):
        answer = httpx.get(url, headers={"Range": ignored})
        assert (
            answer.status_code == 200
            and answer.content == data
            and answer.headers["accept-ranges"] == "bytes"
        )
    head = httpx.head(url, headers={"Range": "bytes=0-9"})
    assert head.status_code == 200 and head.headers["content-length"] == "5000"
    assert httpx.get(url + ".tree").status_code == 404  # no checkpoint


def test_a_checkpoint_comes_in_parts_from_orchestrator_bucket_and_a_liar(world: World, tmp_path: Path):
    found = Checkpoint(np.arange(N, dtype=np.int32))
    data, parts = found.to_bytes(), CheckpointParts(found.root(), N, False)
    name = world.store.put(data)
    world.store.fetch(name, tmp_path / "a", len(data), parts)
    assert (tmp_path / "a").read_bytes() == data
    assert len(httpx.get(f"{world.url}/blobs/{name}.tree").content) == 3 * 32
    (listed,) = world.store.mirrors()
    assert listed == world.bucket
    with (
        HttpStore(listed) as mirror,
        serving(Peer({name: data}, flip=20)) as liar,
        HttpStore(liar.url) as bad,
    ):
        until("the copy", lambda: mirror.has(name))
        MultiStore([bad], [mirror]).fetch(name, tmp_path / "b", len(data), parts)
        assert (tmp_path / "b").read_bytes() == data


def test_an_upload_to_the_bucket_needs_no_credentials_but_counts(world: World, tmp_path: Path):
    update = random.Random(2).randbytes(1000)
    assert world.store.put_in_bucket(update, 0, 20) == world.bucket
    with HttpStore(world.bucket) as anybody:
        assert anybody.get(sha256(update).hex(), 1000) == update
    assert not world.store.has(sha256(update).hex())  # announced, not kept here
    big = bytes(MAX_BLOB)
    with pytest.raises(UploadRefused, match="are used by this address"):
        for last in b"abc":
            world.store.put_in_bucket(big[:-1] + bytes([last]), 0, 20)
    with pytest.raises(UploadRefused, match="at most"):
        world.store.put_in_bucket(bytes(MAX_BLOB + 1), 0, 20)
    with HttpStore(world.url, Account.create(), 31337, world.store._pool_id) as stranger:
        with pytest.raises(UploadRefused, match="no part in pool"):
            stranger.put_in_bucket(update, 0, 20)
    path = f"{world.url}/blobs/{sha256(update).hex()}/presigned"
    for params in ("", "?pool=1&kind=artifact&round=0&size=x", "?pool=1&kind=evidence&round=0&size=5"):
        assert httpx.post(path + params).status_code == 400
    assert httpx.post(path + "?pool=1&kind=artifact&round=0&size=5").status_code == 401
