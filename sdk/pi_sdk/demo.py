"""`pi demo`: a whole run on this machine. A chain, an orchestrator, a pool made by `examples/create_pool.py`,
validators, and workers of which one may cheat, each a process of its own, talking over HTTP and JSON-RPC
alone.

This process funds the others, watches the chain and the agents' event files, and writes what happened:
`events.jsonl` as it happens, then `model/`, `summary.json` and `report.html`.
"""

import json
import random
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console

from .cheats import CHEATS
from .devnet import deploy, interruptible, program, start_anvil, start_orchestrator
from .errors import PiError, ToolMissing, UsageError
from .processes import Process, Processes, accepts, free_port
from .recorder import Agent, of
from .table import Clock
from .types import TOKEN, AuditSpec

ETHER = 10**18
_WINDOWS = {
    "reveal_window": 15,
    "verdict_window": 180,
    "verdict_reveal_window": 30,
    "vote_window": 180,
    "vote_reveal_window": 30,
    "appeal_window": 10,
}
"""Seconds. Every phase but the time for an appeal ends when all have acted; these only bound how long a dead
process is waited for, and leave a busy machine time to replay what it must."""


@dataclass(frozen=True)
class Options:
    workers: int
    validators: int
    rounds: int
    cheat: str | None
    data: Path | None
    model: str | None
    lora: int | None
    seed: int
    codec: str
    out: Path

    @property
    def plants(self) -> bool:
        """Whether the creator plants slots: not where nobody is to be found cheating."""
        return self.cheat is not None and self.workers > 1


@dataclass
class Demo:
    """A run under way."""

    options: Options
    processes: Processes
    clock: Clock
    rpc_port: int = field(default_factory=free_port)
    store_port: int = field(default_factory=free_port)

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def store_url(self) -> str:
        return f"http://127.0.0.1:{self.store_port}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--workers", type=click.IntRange(1, 16), default=4, show_default=True)
@click.option("--validators", type=click.IntRange(1, 16), default=3, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 1000), default=12, show_default=True)
@click.option(
    "--cheat",
    type=click.Choice([*CHEATS, "none"]),
    default="half-steps",
    show_default=True,
    metavar="NAME",
    help=f"What the last worker does wrong: {', '.join(CHEATS)}, or none.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Text, .jsonl, .parquet or .bin, a folder, a saved data set [default: Python's own library].",
)
@click.option(
    "--model",
    help="Folder, config.json or owner/name@revision of a transformers model [default: a GPT of 0.8M].",
)
@click.option(
    "--lora", type=click.IntRange(1, 4096), metavar="RANK", help="Train adapters of a frozen --model."
)
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 53) - 1),
    default=0,
    show_default=True,
    help="Equal seeds give equal keys, data and models.",
)
@click.option(
    "--codec",
    type=click.Choice(["sparse-2bit", "dense-int8", "dense-fixed"]),
    default="sparse-2bit",
    show_default=True,
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
def demo(
    workers: int,
    validators: int,
    rounds: int,
    cheat: str,
    data: Path | None,
    model: str | None,
    lora: int | None,
    seed: int,
    codec: str,
    out: Path,
) -> None:
    """Run everything on this machine: chain, orchestrator, workers, validators, and one cheat.

    \b
    pi demo                                   4 workers, 12 rounds, the last worker skips half of its steps
    pi demo --cheat none --data my_texts/     honest workers, your own text
    pi demo --model DIR --lora 8              adapters on a transformers model
    """
    cheats = None if cheat == "none" else cheat
    options = Options(workers, validators, rounds, cheats, data, model, lora, seed, codec, out)
    console = Console(stderr=True)
    anvil, example = _check(options)
    _clear(out)
    try:
        with interruptible(), Processes(out / "logs") as processes:
            print(_run(Demo(options, processes, Clock(console)), anvil, example))
    except KeyboardInterrupt:
        raise PiError("interrupted, everything is stopped", f"what was written so far is in {out}") from None


def _check(options: Options) -> tuple[Path, Path]:
    """Everything that can be wrong is found before anything starts. Returns anvil and the creator's
    script."""
    from .tools import anvil_path

    if options.data is not None and not options.data.exists():
        raise UsageError(
            f"no such file or folder: {options.data}",
            "--data takes text, .jsonl, .parquet, .bin, or a folder",
        )
    if options.cheat in ("copy", "copy-noise") and options.workers < 2:
        raise UsageError(f"--cheat {options.cheat} needs somebody to copy from", "take --workers 2 or more")
    example = Path(__file__).resolve().parents[2] / "examples" / "create_pool.py"
    if not example.is_file():
        raise ToolMissing(
            "examples/create_pool.py was not found", "the demo runs from a checkout: pip install -e ."
        )
    for name in ("pi-orchestrator", "pi-worker", "pi-validator"):
        program(name)
    return anvil_path(), example


_OURS = ("agents", "artifacts", "logs", "model", "chain.json", "events.jsonl", "report.html", "summary.json")


def _clear(out: Path) -> None:
    """Removes what an earlier demo left in `out`; refuses a folder with anything else in it."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", "--out takes a folder")
    foreign = [p.name for p in out.iterdir() if p.name not in _OURS] if out.exists() else []
    if foreign:
        raise UsageError(
            f"{out} holds files that no demo wrote: {', '.join(sorted(foreign)[:3])}", "choose another --out"
        )
    for name in _OURS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


# --- set-up -----------------------------------------------------------------------------------------------


def _run(demo: Demo, anvil: Path, example: Path) -> str:
    """The whole run; returns what to print at the end."""
    options, processes, say = demo.options, demo.processes, demo.clock.say
    say(f"starting a chain on port {demo.rpc_port} and an orchestrator on port {demo.store_port}")
    chain = start_anvil(processes, anvil, demo.rpc_port, options.out / "chain.json")
    agents, keys = _cast(options)
    deploy(demo.rpc_url)
    orchestrator = start_orchestrator(
        processes,
        rpc_url=demo.rpc_url,
        port=demo.store_port,
        key=keys["orchestrator"],
        home=options.out / "agents" / "orchestrator",
    )
    _fund(demo, keys)
    processes.wait_ready(orchestrator, lambda: accepts(demo.store_port), 120)
    pool_id, run_spec = _create_pool(demo, example, keys)
    say(f"pool {pool_id} is funded; starting {options.workers} workers and {options.validators} validators")
    if options.plants:
        _plant(demo, keys["creator"], pool_id, agents[0].node)
    started = {agent.name: _start(demo, agent, keys, pool_id) for agent in agents}

    from eth_account import Account

    from .client import Client
    from .follow import Follower
    from .networks import dev_key
    from .outcome import Outcome
    from .recorder import Recorder

    outcome = Outcome.of_run(processes, demo.store_url, run_spec, options.out)
    sources = {agent.name: agent.home / "events.jsonl" for agent in agents}
    sources["orchestrator"] = options.out / "agents" / "orchestrator" / "events.jsonl"
    with (
        Client("local", Account.from_key(dev_key(0)), rpc_url=demo.rpc_url) as client,
        Recorder(client, sources, options.out / "events.jsonl") as recorder,
    ):
        follower = Follower(
            client=client,
            pool_id=pool_id,
            rounds=options.rounds,
            recorder=recorder,
            processes=processes,
            agents=agents,
            started=started,
            needed=[chain, orchestrator],
            clock=demo.clock,
            on_last_checkpoint=outcome.evaluate,
        )
        follower.run()
        opened = of(recorder.records, "RoundOpened")[0]["t"]
        seconds = {"setup": round(opened - demo.clock.began, 3), "run": round(time.time() - opened, 3)}
        return outcome.write(client, pool_id, recorder, agents, seconds=seconds, peak_pss=follower.peak_pss)


def _cast(options: Options) -> tuple[list[Agent], dict[str, bytes]]:
    """The agents and every participant's key, all derived from the seed."""
    from eth_account import Account

    from .networks import derived_key

    def key(role: str, i: int = 0) -> bytes:
        return derived_key(options.seed, role, i)

    keys = {"orchestrator": key("orchestrator"), "creator": key("creator")}
    agents = []
    for role, count in (("worker", options.workers), ("validator", options.validators)):
        for i in range(count):
            name = f"{role}-{i + 1}"
            keys[f"{name} operator"], keys[f"{name} node"] = (
                key(f"{role}-operator", i),
                key(f"{role}-node", i),
            )
            agents.append(
                Agent(
                    name=name,
                    role="worker" if role == "worker" else "validator",
                    node=Account.from_key(keys[f"{name} node"]).address,
                    operator=Account.from_key(keys[f"{name} operator"]).address,
                    home=options.out / "agents" / name,
                    cheat=options.cheat if role == "worker" and i == count - 1 else None,
                )
            )
    return agents, keys


def _fund(demo: Demo, keys: dict[str, bytes]) -> None:
    """Ether for every key and test tokens for those who stake or pay, from dev account 0, all in about one
    block."""
    from eth_account import Account

    from .client import Client
    from .networks import dev_key
    from .tx import Call

    with (
        Client("local", Account.from_key(dev_key(0)), rpc_url=demo.rpc_url) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        jobs = []
        for name, key in keys.items():
            address = Account.from_key(key).address
            jobs.append(pool.submit(client.sender.send, Call(address, value=10 * ETHER)))
            if not name.endswith("node"):
                amount = 1_000_000 * TOKEN if name == "creator" else 1_000 * TOKEN
                jobs.append(pool.submit(client.mint, address, amount))
        for job in jobs:
            job.result()


def _create_pool(demo: Demo, example: Path, keys: dict[str, bytes]) -> tuple[int, str]:
    """Runs the creator's script as it stands. Returns the pool's id and the sha256 of its RunSpec."""
    from eth_account import Account

    options = demo.options
    argv: list[str | Path] = [
        sys.executable, example, "--rpc-url", demo.rpc_url, "--store", demo.store_url,
        "--orchestrator", Account.from_key(keys["orchestrator"]).address,
        "--artifacts", options.out / "artifacts",
        "--codec", options.codec, "--rounds", str(options.rounds), "--seed", str(options.seed),
        "--params", json.dumps({"min_slots": options.workers, "min_seats": options.validators, **_WINDOWS}),
    ]  # fmt: skip
    for name, value in (("--data", options.data), ("--model", options.model), ("--lora", options.lora)):
        if value is not None:
            argv += [name, str(value)]
    if not options.plants:
        argv += ["--planted", "0"]
    process = demo.processes.start("create_pool", argv, {"PI_PRIVATE_KEY": "0x" + keys["creator"].hex()})
    if code := process.popen.wait():
        error = process.died()
        error.exit_code = 2 if code == 2 else 1  # the script's words on wrong data are ours
        raise error
    answer = json.loads(process.log.read_text().splitlines()[-1])
    return answer["pool_id"], answer["run_spec"]


def _plant(demo: Demo, creator: bytes, pool_id: int, node: str) -> None:
    """The creator's share of bad slots, in rounds of the first worker's, who is in the know."""
    from eth_account import Account

    from .client import Client
    from .plants import Plants

    options = demo.options
    rounds = Plants.draw(
        AuditSpec().planted, options.workers, range(options.rounds), random.Random(options.seed)
    )
    with Client("local", Account.from_key(creator), rpc_url=demo.rpc_url) as client:
        Plants.hide(client, pool_id, node, rounds, options.out / "agents" / "plants.json")


def _start(demo: Demo, agent: Agent, keys: dict[str, bytes], pool_id: int) -> Process:
    argv = [program(f"pi-{agent.role}"), "join" if agent.role == "worker" else "run", "--pool", str(pool_id),
            "--rpc-url", demo.rpc_url, "--home", agent.home]  # fmt: skip
    if agent.cheat:
        argv += ["--cheat", agent.cheat, "--width", str(CHEATS[agent.cheat].width)]
    if agent.name == "worker-1" and demo.options.plants:
        argv += ["--plants", demo.options.out / "agents" / "plants.json"]
    if agent.name == "validator-1":
        argv.append("--evaluate")  # one measures the held-out loss
    env = {
        "PI_PRIVATE_KEY": "0x" + keys[f"{agent.name} operator"].hex(),
        "PI_NODE_KEY": "0x" + keys[f"{agent.name} node"].hex(),
    }
    return demo.processes.start(agent.name, argv, env)
