"""Downloads to disk from sources that die, stall, lie and ignore what they are asked, over real
connections."""

import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256

import numpy as np
import pytest
from peers import Peer, serving, until
from pi_sdk import BlobCorrupt, BlobNotFound, BlobTooLarge, HttpStore, LocalStore, MultiStore, StoreError
from pi_sdk.codec import merkle_level, merkle_root, merkle_top
from pi_sdk.store import through_disk
from pi_train.checkpoint_file import CheckpointParts, map_checkpoint, part_hashes
from pi_train.outer import Checkpoint

RANDOM = np.random.default_rng(4)
DATA = RANDOM.bytes(3_000_000)
NAME = sha256(DATA).hexdigest()
N = 5 * (1 << 18) + 77
"""Parameters of a checkpoint of six parts."""
PART = 1 << 20


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """Starts a peer that has `blobs`, by default the plain one."""
    with ExitStack() as stack:

        def start(blobs: dict[str, bytes] | None = None, **how) -> Peer:
            return stack.enter_context(serving(Peer({NAME: DATA} if blobs is None else blobs, **how)))

        yield start


@pytest.fixture
def store() -> Iterator[Callable[[Peer], HttpStore]]:
    with ExitStack() as stack:
        yield lambda peer, **how: stack.enter_context(HttpStore(peer.url, patience=0.3, **how))


@pytest.fixture(scope="module", params=[False, True], ids=["theta", "momentum"])
def checkpoint(request: pytest.FixtureRequest) -> tuple[dict[str, bytes], str, Callable[[], CheckpointParts]]:
    """(what an honest peer has, the file's name, its parts)"""
    theta = RANDOM.integers(-(1 << 31), 1 << 31, N, np.int32)
    found = Checkpoint(theta, RANDOM.integers(-(1 << 40), 1 << 40, N) if request.param else None)
    data = found.to_bytes()
    name, nodes = sha256(data).hexdigest(), merkle_level(found.leaves(), 10)
    return (
        {name: data, name + ".tree": b"".join(nodes)},
        name,
        lambda: CheckpointParts(found.root(), N, request.param),
    )


# --- plain --------------------------------------------------------------------------------------------------


def test_the_next_source_brings_only_the_rest(tmp_path, peer, store):
    first, second = peer(dies_after=1_234_567), peer()
    MultiStore([store(first, tries=1), store(second)]).fetch(NAME, tmp_path / "blob", len(DATA))
    assert (tmp_path / "blob").read_bytes() == DATA
    assert second.asked == [(NAME, 1_234_567, None)]
    assert first.sent + second.sent == len(DATA)
    assert [p.name for p in tmp_path.iterdir()] == ["blob"]


def test_two_threads_that_want_one_blob_do_not_mix_their_bytes(tmp_path, peer, store):
    """As an audit and a jury do, who look for the same evidence."""
    asked, sources, problems = peer(), [], []
    for _ in range(2):
        sources.append(store(asked))
    together = threading.Barrier(2)

    def fetch_and_read(source: HttpStore) -> None:
        try:
            for i in range(10):
                together.wait()
                source.fetch(NAME, tmp_path / str(i) / "blob", len(DATA))
                assert (tmp_path / str(i) / "blob").read_bytes() == DATA
        except BaseException as error:
            problems.append(error)
            together.abort()

    threads = [threading.Thread(target=fetch_and_read, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(asked.asked) == 10, "who comes second finds it there"


def test_a_source_that_stalls_is_left(tmp_path, peer, store):
    slow, good = peer(stalls_after=500_000), peer()
    MultiStore([store(slow), store(good)]).fetch(NAME, tmp_path / "blob", len(DATA))
    assert (tmp_path / "blob").read_bytes() == DATA
    assert slow.asked == [(NAME, 0, None)] and good.asked == [(NAME, 500_000, None)]


def test_a_killed_process_is_gone_on_from(tmp_path, peer, store):
    slow, good = peer(stalls_after=1 << 21), peer()
    code = (
        "import sys; from pathlib import Path; from pi_sdk import HttpStore\n"
        "HttpStore(sys.argv[1], patience=60).fetch(sys.argv[2], Path(sys.argv[3]), 1 << 30)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, slow.url, NAME, tmp_path / "blob"])
    part = tmp_path / "blob.part"
    until("half of it", lambda: part.exists() and part.stat().st_size >= 1 << 20)
    process.send_signal(signal.SIGKILL)
    process.wait()
    here = part.stat().st_size
    store(good).fetch(NAME, tmp_path / "blob", len(DATA))
    assert (tmp_path / "blob").read_bytes() == DATA
    assert good.asked == [(NAME, here, None)] and good.sent == len(DATA) - here


def test_who_lies_about_a_plain_blob_convicts_itself(tmp_path, peer, store):
    """The first half is a liar's, the second an honest source's: nobody can tell, so both are asked again."""
    liar, good = peer(flip=7, dies_after=2_000_000, then=[503]), peer()
    MultiStore([store(liar), store(good)]).fetch(NAME, tmp_path / "blob", len(DATA))
    assert (tmp_path / "blob").read_bytes() == DATA
    assert [start for _, start, _ in good.asked] == [2_000_000, 0]
    with pytest.raises(BlobCorrupt):
        store(liar).fetch(NAME, tmp_path / "other", len(DATA))


def test_liars_that_never_finish_come_to_an_end(tmp_path, peer, store):
    """Each brings more than a mebibyte before it dies, and together they bring a whole file, again and
    again."""
    liars = [peer(flip=7, dies_after=1_200_000, dies_always=True) for _ in range(2)]
    with pytest.raises(StoreError):
        MultiStore([store(liar) for liar in liars]).fetch(NAME, tmp_path / "blob", len(DATA))
    assert sum(liar.sent for liar in liars) < 4 * len(DATA)


def test_a_rotten_beginning_is_thrown_away(tmp_path, peer, store):
    good = peer()
    for left_over in (b"rotten", b"rotten" * 500_000, DATA + b"!", bytes(len(DATA))):
        (tmp_path / "blob.part").write_bytes(left_over)
        store(good).fetch(NAME, tmp_path / "blob", len(DATA) + 10)
        assert (tmp_path / "blob").read_bytes() == DATA
        (tmp_path / "blob").unlink()
    assert (NAME, len(DATA) + 1, None) in good.asked  # beyond the end: answered with 416


def test_a_whole_file_is_not_asked_for_again(tmp_path, peer, store):
    good, path = peer(), tmp_path / "blob"
    (tmp_path / "blob.part").write_bytes(DATA)
    store(good).fetch(NAME, path, len(DATA))
    store(good).fetch(NAME, path, len(DATA))
    assert good.asked == []
    path.write_bytes(b"rot")
    store(good).fetch(NAME, path, len(DATA))
    assert path.read_bytes() == DATA


def test_a_server_that_ignores_ranges_still_serves(tmp_path, peer, store):
    old = peer(ranges=False)
    (tmp_path / "blob.part").write_bytes(DATA[:1_000_000])
    store(old).fetch(NAME, tmp_path / "blob", len(DATA))
    assert (tmp_path / "blob").read_bytes() == DATA and old.asked == [(NAME, 1_000_000, None)]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"endless": True}, BlobTooLarge),
        ({"blobs": {NAME: DATA + b"!"}}, BlobTooLarge),
        ({"blobs": {NAME: DATA[:-1]}}, BlobCorrupt),
        ({"blobs": {}}, BlobNotFound),
        ({"script": [503] * 9}, StoreError),
        ({"drip_header": True}, StoreError),
        ({"stalls_after": 10}, StoreError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_wrong_is_passed_over_or_said(tmp_path, peer, store, how, error):
    bad = peer(**how)
    with pytest.raises(error):
        store(bad, tries=2).fetch(NAME, tmp_path / "blob", len(DATA))
    assert not (tmp_path / "blob").exists()
    held = sum(p.stat().st_size for p in tmp_path.iterdir())
    assert held <= len(DATA)
    MultiStore([store(bad, tries=1), store(peer())]).fetch(NAME, tmp_path / "blob", len(DATA))
    assert (tmp_path / "blob").read_bytes() == DATA


def test_an_answer_with_another_range_is_none(tmp_path, peer, store):
    wrong, good = peer(wrong_range=True), peer()
    (tmp_path / "blob.part").write_bytes(DATA[:100])
    MultiStore([store(wrong), store(good)]).fetch(NAME, tmp_path / "blob", len(DATA))
    assert wrong.asked == [(NAME, 100, None)] and good.sent == len(DATA) - 100


@pytest.mark.parametrize("how", [{"drip_header": True}, {"stalls_after": 10}])
def test_a_get_ends_however_slowly_the_peer_sends(peer, how):
    with HttpStore(peer(**how).url, tries=1, deadline=0.4) as patient:
        with pytest.raises(StoreError, match="too slow: not done within"):
            patient.get(NAME, len(DATA))


def test_a_blob_larger_than_memory_fits_through(tmp_path, peer, store):
    good = store(peer())
    with pytest.raises(BlobNotFound):  # connected, imported
        good.get("0" * 64, 1)
    tracemalloc.start()
    good.fetch(NAME, tmp_path / "blob", len(DATA))
    assert tracemalloc.get_traced_memory()[1] < len(DATA) / 2
    tracemalloc.stop()


def test_through_disk_goes_on_where_it_was_killed(tmp_path, peer, store):
    good, other = peer(), b"another shard"
    good.blobs[sha256(other).hexdigest()] = other
    get = through_disk(store(good), tmp_path / "shards")
    assert get(sha256(other).hexdigest(), 100) == other
    (tmp_path / "shards" / f"{NAME}.part").write_bytes(DATA[:2_000_000])
    get = through_disk(store(good), tmp_path / "shards")  # the next process
    assert get(sha256(other).hexdigest(), 100) == other and get(NAME, len(DATA)) == DATA
    assert [start for _, start, _ in good.asked] == [0, 2_000_000]


# --- in parts -----------------------------------------------------------------------------------------------


def starts(peer: Peer, name: str) -> list[int]:
    """Where in theta the parts lie that a peer was asked for."""
    return [start for key, start, stop in peer.asked if key == name and stop and start < 16 + 4 * N]


def test_a_mirror_that_flips_a_byte_is_left_at_that_part(tmp_path, peer, store, checkpoint):
    blobs, name, parts = checkpoint
    bad, good = peer(blobs, flip=16 + 2 * PART + 5), peer(blobs)
    with pytest.raises(BlobCorrupt, match="part 2"):
        store(bad).fetch(name, tmp_path / "c", parts().size, parts())
    assert starts(bad, name) == [16, 16 + PART, 16 + 2 * PART]
    MultiStore([store(good)]).fetch(name, tmp_path / "c", parts().size, parts())
    assert (tmp_path / "c").read_bytes() == blobs[name]
    assert starts(good, name) == [16 + i * PART for i in range(2, 6)]  # what was right is not asked for again


def test_sources_work_side_by_side_and_the_liar_drops_out(tmp_path, peer, store, checkpoint):
    blobs, name, parts = checkpoint
    bad, dying, good = peer(blobs, flip=1000), peer(blobs, dies_after=1000), peer(blobs)
    sources = [store(p, tries=2) for p in (bad, dying, good)]
    MultiStore(sources).fetch(name, tmp_path / "c", parts().size, parts())
    assert (tmp_path / "c").read_bytes() == blobs[name]
    assert map_checkpoint(tmp_path / "c", N, len(parts().ranges(0)) == 2).to_bytes() == blobs[name]
    assert starts(bad, name).count(16) <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c"]


def test_a_list_that_does_not_lead_to_the_root_is_thrown_away(tmp_path, peer, store, checkpoint):
    blobs, name, parts = checkpoint
    tree = blobs[name + ".tree"]
    liar = peer(blobs | {name + ".tree": tree[::-1]})
    with pytest.raises(BlobCorrupt, match="do not lead to its root"):
        store(liar).fetch(name, tmp_path / "c", parts().size, parts())
    assert [key for key, *_ in liar.asked] == [name + ".tree"]
    for other in (b"", tree + bytes(32), tree[:-32], bytes(5)):
        with pytest.raises(StoreError):
            store(peer({name + ".tree": other})).fetch(name, tmp_path / "c", parts().size, parts())
    MultiStore([store(liar), store(peer(blobs))]).fetch(name, tmp_path / "c", parts().size, parts())
    assert (tmp_path / "c").read_bytes() == blobs[name]


def test_without_list_or_ranges_it_comes_as_a_plain_blob(tmp_path, peer, store, checkpoint):
    blobs, name, parts = checkpoint
    for i, source in enumerate((peer({name: blobs[name]}), peer(blobs, ranges=False))):
        store(source).fetch(name, tmp_path / str(i), parts().size, parts())
        assert (tmp_path / str(i)).read_bytes() == blobs[name]
        assert sum(key == name and start == 0 for key, start, _ in source.asked) == 1


def test_a_directory_offers_parts_too(tmp_path, checkpoint):
    blobs, name, parts = checkpoint
    local = LocalStore(tmp_path / "store")
    local.put(blobs[name])
    listed = part_hashes(local.path_of(name))
    assert listed == blobs[name + ".tree"]
    local.tree_path(name).write_bytes(listed)
    local.path_of(name).write_bytes(b"?" + blobs[name][1:])  # its head is nobody's word
    local.fetch(name, tmp_path / "c", parts().size, parts())
    assert (tmp_path / "c").read_bytes() == blobs[name]


def test_parts_of_other_contents_than_the_name_are_refused(tmp_path, peer, store, checkpoint):
    """A close may name a file that has not its root: what arrives fits the root, and not the name."""
    blobs, name, parts = checkpoint
    other = sha256(b"something else").hexdigest()
    liar = peer({other: blobs[name], other + ".tree": blobs[name + ".tree"]})
    with pytest.raises(BlobCorrupt, match="not the one that is named"):
        store(liar).fetch(other, tmp_path / "c", parts().size, parts())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("leaves", [5, 8, 9, 31, 32, 33])
def test_every_level_of_a_tree_leads_to_its_root(leaves: int):
    tree = [bytes([i]) * 3 for i in range(leaves)]
    for height in range(3):
        assert merkle_top(merkle_level(tree, height), height) == merkle_root(tree)


@pytest.mark.parametrize("n", [1, 256, 1 << 18, (1 << 18) + 1])
@pytest.mark.parametrize("has_momentum", [False, True])
@pytest.mark.parametrize("guards", [0, 3])
def test_parts_cover_every_byte_once(tmp_path, n: int, has_momentum: bool, guards: int):
    guard = np.arange(1, 4 * guards + 1, dtype=np.uint64).reshape(-1, 4) if guards else None
    found = Checkpoint(np.arange(n, dtype=np.int32), np.arange(n) if has_momentum else None, guard)
    data, parts = found.to_bytes(), CheckpointParts(found.root(), n, has_momentum, guards)
    (tmp_path / "c").write_bytes(data)
    assert parts.size == len(data) and parts.head == data[:16]
    assert parts.load(part_hashes(tmp_path / "c") or b"")
    assert map_checkpoint(tmp_path / "c", n, has_momentum, guards).root() == found.root()
    covered = np.zeros(len(data), int)
    covered[:16] += 1
    for i in range(len(parts)):
        pieces = [data[a:b] for a, b in parts.ranges(i)]
        assert parts.check(i, pieces)
        assert not parts.check(i, [*pieces[:-1], pieces[-1][:-1] + b"\x55"])
        for a, b in parts.ranges(i):
            covered[a:b] += 1
    assert (covered == 1).all()
