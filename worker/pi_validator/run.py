"""Puts a validator together: rules and corpus, replay process, seat, duties; and takes it apart again."""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pi_sdk.accounts import only_one
from pi_sdk.client import Client
from pi_sdk.errors import ContractError, PiError, TransactionFailed
from pi_sdk.eventlog import EventLog
from pi_sdk.rules import load_rules
from pi_sdk.store import HttpStore, MultiStore, through_disk
from pi_sdk.types import DeterminismClass, RunSpec
from pi_train.data import load_corpus
from pi_train.determinism import admitted

from .agent import Agent
from .audit import Bench, ReplayQueue, SlotAudit
from .checkpoints import Checkpoints
from .closes import Closes
from .duties import Duties
from .evaluations import Evaluations
from .housekeeping import Housekeeping
from .journal import Journal
from .replay_process import ReplayConfig
from .screening import Screening
from .seat import Seat

log = logging.getLogger(__name__)

HOUSEKEEPING = 3
"""Seconds by which validators report one after the other what all of them see."""


@dataclass(frozen=True)
class Summary:
    """How a validator's time in a pool ended. Money in token wei."""

    pool: int
    node: str
    seat: int
    verdicts: int
    votes: int
    claimed: int


def _audit_class(spec: RunSpec) -> DeterminismClass:
    """The admitted class that this machine fits and that may judge most others. `SpecMismatch`."""
    return max(admitted(spec), key=lambda cls: sum(bool(spec.limit(w.id, cls.id)) for w in spec.classes))


def watcher(chain: Client, pool_id: int) -> Callable[[str], bool]:
    """Has a node's next slot audited; whether that was done."""

    def watch(node: str) -> bool:
        try:
            chain.watch_node(pool_id, node)
        except (ContractError, TransactionFailed) as error:  # somebody was first, or the seat is given up
            log.debug("%s is not watched: %s", node, error)
            return False
        return True

    return watch


def serve(
    seat: Seat,
    *,
    home: Path,
    mirrors: Sequence[str],
    faucet: bool,
    screen: bool,
    evaluate: bool,
    replay_memory: int,
    kind: type[SlotAudit] = SlotAudit,
) -> Summary:
    """Serves one seat until nothing needs it any more. `replay_memory` in bytes beyond torch and the corpus;
    `mirrors` are URLs to download from beside the pool's store; `kind` is how slots are judged.

    Blocks; handles SIGINT (see `Agent.run`). Raises `PiError`s of the chain, the store, and of keys and
    money.
    """
    chain, node, pool_id = seat.chain, seat.node.address, seat.pool_id
    with ExitStack() as stack:
        stack.enter_context(only_one(home))
        pool = chain.pool(pool_id)
        if pool.ended and seat.info() is None:
            raise PiError(f"pool {pool_id} has ended", "pi pool list shows the pools that are open")

        folder = home / f"pool-{pool_id}"
        store = stack.enter_context(HttpStore(pool.store_uri))
        sources = MultiStore(
            [store], [stack.enter_context(HttpStore(url)) for url in (*mirrors, *store.mirrors())]
        )
        run_spec = folder / "run_spec.json"
        spec, params = load_rules(chain, pool_id, sources, run_spec)
        cls = _audit_class(spec)
        log.info("run %r: %d rounds; auditing as class %s", spec.name, spec.rounds, cls.id)
        shards = home / "corpus" / "shards"
        load_corpus(spec, through_disk(sources, shards), home / "corpus")
        shutil.rmtree(shards, ignore_errors=True)  # they are in the corpus now

        events = stack.enter_context(EventLog(home))
        stop = threading.Event()
        replay = ReplayQueue(
            ReplayConfig(run_spec, home / "corpus", cls, memory=replay_memory, log=home / "replay.log")
        )
        stack.callback(replay.close)
        stack.callback(stop.set)
        replay.start()
        seat.prepare(params, faucet=faucet)
        replay.ready.result()
        info = seat.take()
        events.write(
            "seated",
            pool=pool_id,
            seat=info.index,
            node=info.node,
            operator=info.operator,
            active_from=info.active_from,
        )
        log.info("seat %d of pool %d, from round %d on", info.index, pool_id, info.active_from)

        bench = Bench(
            spec=spec,
            cls=cls,
            node=node,
            store=store,
            checkpoints=Checkpoints(folder / "checkpoints", sources, spec, stop),
            replay=replay,
            events=events,
            folder=folder / "evidence",
            time_limit=max(params.verdict_window, params.vote_window) / 2,
            stop=stop,
        )
        duties = Duties(
            chain=chain,
            operator=seat.operator,
            bench=bench,
            journal=Journal(folder / "journal"),
            params=params,
            pool_id=pool_id,
            seeds_after=1 + info.index % 4,
            kind=kind,
        )
        closes = Closes(seat.operator or chain, bench, pool_id)
        stack.callback(closes.stop)
        screening = Screening(bench, pool_id, watcher(chain, pool_id)) if screen else None
        if screening is not None:
            stack.callback(screening.stop)
        agent = Agent(
            seat=seat,
            info=info,
            spec=spec,
            duties=duties,
            evaluations=Evaluations(bench) if evaluate else None,
            screening=screening,
            housekeeping=Housekeeping(
                chain, node, pool_id, params, delay=HOUSEKEEPING * (1 + info.index % 4)
            ),
            closes=closes,
            stop=stop,
        )
        agent.run()
        return Summary(pool_id, node, info.index, agent.verdicts, agent.votes, agent.claimed)
