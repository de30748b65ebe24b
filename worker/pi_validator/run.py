"""Puts a validator together: rules and corpus, replay process, seat, duties; and takes it apart again."""

import fcntl
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pi_sdk.errors import PiError, UsageError
from pi_sdk.eventlog import EventLog
from pi_sdk.store import HttpStore
from pi_train.data import load_corpus
from pi_train.determinism import default_class
from pi_train.layout import parameter_count
from pi_train.outer import checkpoint_bytes

from .agent import Agent
from .audit import Bench, ReplayQueue
from .checkpoints import Checkpoints
from .duties import Duties
from .evaluations import Evaluations
from .journal import Journal
from .replay_process import ReplayConfig
from .rules import audit_class, load_rules
from .seat import Seat

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """How a validator's time in a pool ended. Money in token wei."""

    pool: int
    node: str
    seat: int
    verdicts: int
    votes: int
    claimed: int


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Keeps a second validator with the same home out: two processes must not send from one node key."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"a validator is running with {home} already", "give another --home") from None
        yield


def serve(seat: Seat, *, home: Path, faucet: bool, evaluate: bool, replay_memory: int) -> Summary:
    """Serves one seat until nothing needs it any more. `replay_memory` in bytes beyond torch and the corpus.

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
        run_spec = folder / "run_spec.json"
        spec, params = load_rules(chain, pool_id, store, run_spec)
        cls = audit_class(spec, default_class())
        log.info("run %r: %d rounds; auditing as class %s", spec.name, spec.rounds, cls.id)
        load_corpus(spec.data, store.get, home / "corpus")

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

        n = parameter_count(spec.model)
        bench = Bench(
            spec=spec,
            cls=cls,
            node=node,
            store=store,
            checkpoints=Checkpoints(
                folder / "checkpoints", store.get, checkpoint_bytes(n, spec.outer.rule == "nesterov"), stop
            ),
            replay=replay,
            events=events,
            folder=folder / "evidence",
            time_limit=max(params.verdict_window, params.vote_window) / 2,
            stop=stop,
        )
        duties = Duties(
            chain=chain,
            bench=bench,
            journal=Journal(folder / "journal"),
            params=params,
            pool_id=pool_id,
            seeds_after=1 + info.index % 4,
        )
        agent = Agent(
            seat=seat,
            info=info,
            spec=spec,
            duties=duties,
            evaluations=Evaluations(bench) if evaluate else None,
            stop=stop,
        )
        agent.run()
        return Summary(pool_id, node, info.index, agent.verdicts, agent.votes, agent.claimed)
