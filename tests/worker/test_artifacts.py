"""Where agents get a checkpoint from: the pool's store, mirrors, and what reveals announce."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import free_port
from peers import Peer, serving, until
from pi_sdk.errors import StoreError
from pi_sdk.store import HttpStore, LocalStore, MultiStore
from pi_sdk.types import AuditSpec, CodecSpec, GptSpec, InnerSpec, Reveal, RunSpec
from pi_train.checkpoint_file import part_hashes
from pi_train.layout import parameter_count
from pi_train.prepare import prepare
from pi_validator.checkpoints import Checkpoints as Audited
from pi_worker.artifacts import Announced, Checkpoints, Closed, PoolLog

N_PARTS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSpec, dict[str, bytes]]:
    """A RunSpec with momentum whose checkpoint has two parts, and what a store of it has."""
    folder = tmp_path_factory.mktemp("run")
    for i in range(60):
        (folder / f"{i}.txt").write_text(f"{i} the quick brown fox jumps over the lazy dog\n" * 20)
    spec = prepare(
        store=LocalStore(folder / "store"),
        rounds=2,
        data=folder,
        model=GptSpec(layers=2, heads=2, width=128, context=32),
        inner=InnerSpec(steps=4, batch=2, sequence=32, warmup=0),
        codec=CodecSpec(name="dense-int8"),
        audit=AuditSpec(segments=1),
    )
    assert parameter_count(spec.model) > 1 << 18
    name, local = spec.genesis_file, LocalStore(folder / "store")
    tree = part_hashes(local.path_of(name))
    assert tree is not None and len(tree) == 32 * N_PARTS
    return spec, {name: local.get(name, 1 << 30), name + ".tree": tree}


@pytest.fixture
def dead() -> Iterator[HttpStore]:
    with HttpStore(f"http://127.0.0.1:{free_port()}", tries=1) as store:
        yield store


def test_a_worker_asks_store_mirror_and_announced_location_in_turn(run, dead: HttpStore, tmp_path: Path):
    spec, blobs = run
    root, file = bytes.fromhex(spec.genesis_root), spec.genesis_file
    in_part_1 = 16 + 4 * (1 << 18) + 5
    with (
        serving(Peer(blobs, flip=in_part_1)) as liar,
        serving(Peer(blobs)) as honest,
        HttpStore(liar.url) as mirror,
    ):
        reveal = Reveal.from_abi((bytes(32), root, *[bytes(32)] * 4, 0, 1))
        log = PoolLog(None, 1)  # type: ignore[arg-type]  # nothing here asks the chain
        log.closed[0] = Closed(root, file, 1)
        log.revealed[0] = [Announced(0, "0x", reveal, "00" * 32, ("ftp://x", liar.url))]
        checkpoints = Checkpoints(spec, log, MultiStore([dead], [mirror]), tmp_path / "f", lambda _: None)
        with pytest.raises(StoreError, match="cannot reach the store"):
            checkpoints.posted(1)
        assert liar.asked and (tmp_path / "f" / f"{file}.sparse").exists()  # for the next try
        log.revealed[0] = [Announced(0, "0x", reveal, "00" * 32, (honest.url,))]
        found = checkpoints.posted(1)
        assert found.to_bytes() == blobs[file] and found.root() == root
        assert not (tmp_path / "f").exists()
        # part 0 was right the first time; of part 1 there are parameters and momentum
        assert [start for key, start, _ in honest.asked if key == file][0] == 16 + 4 * (1 << 18)
        assert len([key for key, *_ in honest.asked if key == file]) == 2


def test_a_validator_has_the_file_once_any_source_has_it(run, dead: HttpStore, tmp_path: Path):
    spec, blobs = run
    root, stop = bytes.fromhex(spec.genesis_root), threading.Event()
    with serving(Peer({})) as late, HttpStore(late.url) as mirror:
        checkpoints = Audited(tmp_path, MultiStore([dead], [mirror]), spec, stop)
        checkpoints.note(root, spec.genesis_file)
        assert checkpoints.ready(root) is None
        until("the first try", lambda: late.asked)
        late.blobs = blobs
        until("the file", lambda: checkpoints.ready(root))
        folder, file = checkpoints.ready(root) or (tmp_path, "")
        assert LocalStore(folder).get(file, 1 << 30) == blobs[file] == checkpoints.read(root)
        checkpoints.drop_all_but(set())
        late.blobs = {}
        with pytest.raises(StoreError):
            checkpoints.read(root)
        stop.set()
