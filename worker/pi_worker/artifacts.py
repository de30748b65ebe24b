"""What a worker fetches: the updates of a round, and the checkpoints that it recomputes."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pi_sdk.client import Client
from pi_sdk.errors import BlobNotFound, MalformedArtifact, StoreError, UsageError
from pi_sdk.store import HttpStore, MultiStore, Store
from pi_sdk.types import Reveal, RunSpec
from pi_train.checkpoint_file import CheckpointParts, map_checkpoint, out_of_memory
from pi_train.codecs import UpdateFile, max_update_bytes
from pi_train.outer import Checkpoint, outer_step

MAX_LOCATIONS = 4
"""Stores that one reveal may name; more are ignored."""
PEER_DEADLINE = 30.0
"""Seconds that a store named by a peer may take for one update."""
OVERLAP = 64
"""Blocks that are read again."""
_EVENTS = (
    "RoundOpened",
    "Revealed",
    "Excluded",
    "RoundClosed",
    "CloseDisproved",
    "CloseOverruled",
    "RolledBack",
)


@dataclass(frozen=True)
class Announced:
    """One on-time reveal, as it stands on chain."""

    round: int
    node: str
    reveal: Reveal
    update_file: str
    locations: tuple[str, ...]


@dataclass(frozen=True)
class Closed:
    """What the close of round r says about C_{r+1}: its root, the sha256 of its file; and in which block."""

    root: bytes
    file: str
    block: int


@dataclass
class PoolLog:
    """What a pool's rounds led to, by round, as the chain's events tell it.

    `refresh` reads them anew from a little before what is still needed: a node that restarts may have lost
    its latest blocks, and what stood in them did not happen.
    """

    client: Client
    pool_id: int
    from_block: int = 0
    opened: dict[int, bytes] = field(default_factory=dict)
    """The root that was posted when the round opened."""
    revealed: dict[int, list[Announced]] = field(default_factory=dict)
    excluded: dict[int, dict[str, int]] = field(default_factory=dict)
    """Round -> node -> reason code of the close."""
    closed: dict[int, Closed] = field(default_factory=dict)
    """The latest close of each round; none while a disproved one waits for another."""
    overruled: dict[int, bytes] = field(default_factory=dict)
    """Round -> the root that the next round's votes put in the place of the posted one."""
    rolled_back: dict[int, int] = field(default_factory=dict)
    """Round -> the older one whose checkpoint it starts from again, as the pool's creator has decided."""

    def refresh(self) -> None:
        events = self.client.events(from_block=self.from_block, pool_id=self.pool_id, names=_EVENTS)
        self.opened, self.revealed, self.excluded, self.closed, self.overruled = {}, {}, {}, {}, {}
        self.rolled_back = {}
        for event in events:
            args, round_ = event.args, event.args["round"]
            match event.name:
                case "RoundOpened":
                    self.opened[round_] = args["start_root"]
                case "Revealed":
                    self.revealed.setdefault(round_, []).append(_announced(args))
                case "Excluded":
                    self.excluded.setdefault(round_, {})[args["node"]] = args["reason"]
                case "RoundClosed":
                    self.closed[round_] = Closed(args["root"], args["checkpoint_file"].hex(), event.block)
                case "CloseDisproved" if round_ + 1 not in self.opened:  # later, only its bond is gone
                    self.closed.pop(round_, None)
                    self.excluded.pop(round_, None)
                case "CloseOverruled":
                    self.overruled[round_] = args["root"]
                case "RolledBack":
                    self.rolled_back[round_] = args["to_round"]

    def done(self, round_: int) -> None:
        """Nothing before the opening of the round before this one is needed any more."""
        if round_ - 2 in self.closed:
            self.from_block = max(0, self.closed[round_ - 2].block - OVERLAP)

    def start_of(self, round_: int) -> bytes:
        """The root that a sealed round starts from, after the vote about it."""
        return self.overruled.get(round_ - 1, self.opened[round_])

    def included(self, round_: int) -> list[Announced]:
        """The on-time reveals of a closed round that started from its root, without those that its close
        excluded, in order.
        """
        start, out = self.start_of(round_), self.excluded.get(round_, {})
        return [
            a for a in self.revealed.get(round_, []) if a.reveal.start_root == start and a.node not in out
        ]

    def revealed_by(self, round_: int, node: str) -> Announced | None:
        """What a node revealed on time in a round."""
        return next((a for a in self.revealed.get(round_, []) if a.node == node), None)


def _announced(args: dict) -> Announced:
    urls = [url.strip() for url in args["locations"].split(",")]
    web = [url for url in urls if urlsplit(url).scheme in ("http", "https")]
    opened = args["reveal"]
    return Announced(
        round=args["round"],
        node=args["node"],
        reveal=opened if isinstance(opened, Reveal) else Reveal(**opened),
        update_file=args["update_file"].hex(),
        locations=tuple(web[:MAX_LOCATIONS]),
    )


class Checkpoints:
    """The checkpoints C_r, as this worker computes them itself."""

    def __init__(
        self,
        spec: RunSpec,
        log: PoolLog,
        store: Store,
        folder: Path,
        own_update: Callable[[Announced], bytes | None],
    ):
        """`folder` is for downloads that are under way."""
        self.spec = spec
        self.log = log
        self.store = store
        self.folder = folder
        self.own_update = own_update
        """A reveal -> the update when it is this worker's own, which needs no download."""

    def genesis(self) -> Checkpoint:
        return self._download(self.spec.genesis_file, bytes.fromhex(self.spec.genesis_root))

    def posted(self, round_: int) -> Checkpoint:
        """C_round as the chain has it: from the file that the close before it named, verified against the
        root. Where the votes replaced that root no file is named, and it is recomputed from the round
        before.
        """
        if round_ == 0:
            return self.genesis()
        if round_ in self.log.rolled_back and round_ - 1 not in self.log.overruled:
            return self.posted(self.log.rolled_back[round_])
        if round_ - 1 not in self.log.closed:
            raise BlobNotFound(f"round {round_ - 1} has not been closed")
        closed = self.log.closed[round_ - 1]
        if round_ - 1 not in self.log.overruled:
            return self._download(closed.file, closed.root, round_)
        checkpoint = self.recompute(round_ - 1, self.posted(round_ - 1))
        if checkpoint.root() != self.log.overruled[round_ - 1]:
            raise BlobNotFound(f"the checkpoint that replaced the result of round {round_ - 1} is nowhere")
        return checkpoint

    def recompute(self, round_: int, checkpoint: Checkpoint) -> Checkpoint:
        """C_{round+1} from C_round, as the chain has it, and the updates that the close of `round` included.

        Raises `StoreError` when an update is not to be had, `MalformedArtifact` when one is included that
        should not be.
        """
        contributions = [(self.update(a), a.reveal.width) for a in self.log.included(round_)]
        return outer_step(self.spec, checkpoint, contributions, round_)

    def update(self, announced: Announced) -> UpdateFile:
        """One revealed update, parsed and held against its reveal."""
        values = self.spec.update_values(announced.round)
        data = self.own_update(announced) or self._fetch(announced, max_update_bytes(self.spec.codec, values))
        update = UpdateFile(self.spec.codec, out_of_memory(data, self.folder), values)
        if (update.root, update.norm) != (announced.reveal.update_root, announced.reveal.norm):
            raise MalformedArtifact(f"{announced.node}'s update is not the one that it committed")
        return update

    def _fetch(self, announced: Announced, limit: int) -> bytes:
        """From the pool's store, else from a store that the node announced: a stranger's URL, so tried only
        then.
        """
        try:
            return self.store.get(announced.update_file, limit)
        except StoreError as error:
            for other in _stores([announced]):
                with other:
                    try:
                        return other.get(announced.update_file, limit)
                    except StoreError:
                        continue
            raise error

    def _download(self, file: str, root: bytes, round_: int = 0) -> Checkpoint:
        """C_round from the file of it, which is checked against the root as it arrives and may be gone on
        with by the next process. The strangers' stores that were announced in the round before are asked
        last.
        """
        path, parts = self.folder / file, CheckpointParts(root, *self.spec.checkpoint_shape)
        try:
            self.store.fetch(file, path, parts.size, parts)
        except StoreError as error:
            others = list(_stores(self.log.revealed.get(round_ - 1, [])))
            if not others:
                raise
            try:
                MultiStore(others).fetch(file, path, parts.size, parts)
            except StoreError:
                raise error from None
            finally:
                for other in others:
                    other.close()
        checkpoint = map_checkpoint(path, *self.spec.checkpoint_shape)
        shutil.rmtree(self.folder)  # what is mapped stays readable
        if checkpoint.root() != root:
            raise MalformedArtifact(f"checkpoint file {file[:12]}… does not have the root that is on chain")
        return checkpoint


def _stores(reveals: list[Announced]) -> Iterator[HttpStore]:
    """The different stores that reveals name, `MAX_LOCATIONS` of them."""
    urls = dict.fromkeys(url for announced in reveals for url in announced.locations)
    for url in list(urls)[:MAX_LOCATIONS]:
        try:
            yield HttpStore(url, tries=1, deadline=PEER_DEADLINE)
        except UsageError:
            continue
