"""`pi sim`: a run without a chain. R workers of a RunSpec take their turns in one process, through the code
that real workers run, so a run on a chain with the same rules and nodes goes through the same checkpoints.

    simulation = Simulation.open(spec, corpus, nodes, folder)
    while simulation.round < spec.rounds:
        print(simulation.play())

What a round left is on disk before the next one begins, but where saving would take more than a twentieth of
the time: a simulation that was killed goes on from what was saved last.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np
from pi_sdk.codec import canonical_json
from pi_sdk.errors import MalformedArtifact, UsageError
from pi_sdk.options import HELP, json_option
from pi_sdk.store import LocalStore
from pi_sdk.types import AuditSpec, CodecSpec, InnerSpec, OuterSpec, RunSpec, TraceSpec
from pi_train import determinism
from pi_train.codecs import UpdateFile
from pi_train.data import Corpus, load_corpus
from pi_train.outer import Checkpoint, checkpoint_bytes, outer_step, was_skipped
from pi_train.prepare import prepare, source_options
from pydantic import ValidationError

from .methods import DEFAULT, DEFAULT_DENSE, METHODS, Method

_Q16 = 1 << 16
_PARAMETER_ONE = 1 << RunSpec.model_fields["frac_bits"].default


@dataclass(frozen=True)
class Faults:
    """What goes wrong, drawn from the run's seed, the round and the worker: probabilities per round."""

    absent: float = 0.0
    """A worker takes no part in a round."""
    lost: float = 0.0
    """A worker has lost its moments and its error feedback, and starts again from zeros."""
    late: int = 0
    """Workers, the last ones, that join when half of the rounds are over."""

    def strike(self, spec: RunSpec, round_: int, worker: int, workers: int) -> tuple[bool, bool]:
        """(takes part, still has its state)."""
        random = Random(f"{spec.seed}/{round_}/{worker}")
        absent, lost = random.random() < self.absent, random.random() < self.lost
        joined = worker < workers - self.late or 2 * round_ >= spec.rounds
        return joined and not absent, not lost


@dataclass
class Simulation:
    """A run as far as it was played. This process is pinned to one of the run's classes.

    `states` has the private state of each node that has taken part, `records` what `play` said of each round.
    """

    spec: RunSpec
    corpus: Corpus
    nodes: Sequence[str]
    folder: Path
    faults: Faults
    checkpoint: Checkpoint
    states: dict[str, bytes] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    _save_after: float = 0.0

    @property
    def round(self) -> int:
        """The next one to play."""
        return len(self.records)

    @classmethod
    def open(
        cls,
        spec: RunSpec,
        corpus: Corpus,
        nodes: Sequence[str],
        folder: Path,
        genesis: Checkpoint,
        faults: Faults | None = None,
    ) -> "Simulation":
        """A new simulation in `folder`, or the one that is there. `UsageError` where that is another one."""
        faults = faults or Faults()
        simulation = cls(spec, corpus, nodes, folder, faults, genesis)
        rules = f"{canonical_json(spec).decode()}\n{json.dumps([list(nodes), vars(faults)])}\n"
        known = folder / "rules.json"
        if known.exists() and known.read_text() != rules:
            raise UsageError(
                f"{folder} holds a simulation with other rules", "choose another --out, or remove it"
            )
        if known.exists():
            simulation._load()
            return simulation
        folder.mkdir(parents=True, exist_ok=True)
        simulation._save()
        known.write_text(rules)
        return simulation

    def play(self, windows: int = 0) -> dict[str, Any]:
        """Plays one round and records it: the root of the checkpoint that it led to, mean training loss in
        nats per token and held-out loss over so many windows (None for 0), update sizes in bytes, nodes,
        seconds."""
        from pi_train.evaluate import validation_loss
        from pi_train.slot import train_slot

        began, spec, n = time.monotonic(), self.spec, self.spec.update_values(self.round)
        data_root = self._root(max(0, self.round - spec.outer.delay))
        contributions, losses, sizes, took_part = [], [], [], []
        for i, node in enumerate(self.nodes):
            takes_part, has_state = self.faults.strike(spec, self.round, i, len(self.nodes))
            if not takes_part:
                continue
            borders = self.folder / "borders"
            result = train_slot(
                spec,
                self.corpus,
                self.checkpoint,
                node=node,
                round_=self.round,
                width=1,
                state=self.states.get(node) if has_state else None,
                class_id=determinism.pinned().id,
                borders=borders,
                data_root=data_root,
            )
            shutil.rmtree(borders)  # nobody audits a simulation
            contributions.append((UpdateFile(spec.codec, result.update, n), 1))
            self.states[node] = result.state
            losses += result.losses
            sizes.append(len(result.update))
            took_part.append(node)
        before, self.checkpoint = (
            self.checkpoint,
            outer_step(spec, self.checkpoint, contributions, self.round),
        )
        record = {
            "round": self.round,
            "root": self.checkpoint.root().hex(),
            "train_loss": sum(losses) / len(losses) if losses else None,
            "val_loss": validation_loss(spec, self.checkpoint, self.corpus, windows) if windows else None,
            "update_bytes": sizes,
            "nodes": took_part,
            "skipped": was_skipped(before, self.checkpoint),
            "seconds": round(time.monotonic() - began, 3),
        }
        self.records.append(record)
        if time.monotonic() > self._save_after or self.round == spec.rounds:
            self._save()
        return record

    def _root(self, round_: int) -> bytes:
        """Root of C_round."""
        return bytes.fromhex(self.records[round_ - 1]["root"] if round_ else self.spec.genesis_root)

    def _save(self) -> None:
        """Swaps whole folders: `state` is what the run goes on from, in the middle of a swap `state.new`."""
        began = time.monotonic()
        new, now, old = (self.folder / name for name in ("state.new", "state", "state.old"))
        for place in (new, old):
            shutil.rmtree(place, ignore_errors=True)
        new.mkdir()
        (new / "checkpoint.bin").write_bytes(self.checkpoint.to_bytes())
        for node, state in self.states.items():
            (new / node).write_bytes(state)
        (new / "rounds.jsonl").write_text("".join(json.dumps(record) + "\n" for record in self.records))
        if now.exists():
            os.replace(now, old)
        os.replace(new, now)
        shutil.rmtree(old, ignore_errors=True)
        self._save_after = time.monotonic() + min(60, 20 * (time.monotonic() - began))

    def _load(self) -> None:
        place = self.folder / "state"
        if not place.exists():  # killed in the middle of a swap
            os.replace(self.folder / "state.new", place)
        data = (place / "checkpoint.bin").read_bytes()
        self.checkpoint = Checkpoint.from_bytes(data, *self.spec.checkpoint_shape)
        self.records = [json.loads(line) for line in (place / "rounds.jsonl").read_text().splitlines()]
        self.states = {node: (place / node).read_bytes() for node in self.nodes if (place / node).exists()}


def nodes_of(seed: int, workers: int) -> list[str]:
    """The node keys' addresses of `pi demo` with this seed."""
    from eth_account import Account
    from pi_sdk.networks import derived_key

    return [Account.from_key(derived_key(seed, "worker-node", i)).address for i in range(workers)]


@click.command(context_settings=HELP)
@click.option("--workers", type=click.IntRange(1, 256), default=4, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 100_000), default=12, show_default=True)
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    help="Codec, outer rule, H and inner optimiser as published; the options below override them."
    " [default: the rules of pi demo]",
)
@click.option("--steps", type=click.IntRange(1, 100_000), help="H. [default: 20, or the method's]")
@click.option("--batch", type=click.IntRange(1, 65536), default=16, show_default=True, help="Sequences.")
@click.option(
    "--micro-batch",
    type=click.IntRange(0, 65536),
    default=0,
    help="Sequences per forward pass. [default: all at once]",
)
@click.option(
    "--ranks", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that share a model."
)
@click.option("--compile", is_flag=True, help="Through torch.compile.")
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "muon"]),
    help="The inner one; muon is AdamW for embeddings, head and vectors. [default: adamw, or the method's]",
)
@click.option("--lr", type=float, help="Of the inner optimiser. [default: 2e-3, or the method's]")
@click.option(
    "--beta2",
    type=click.FloatRange(0, 1, max_open=True),
    help="Decay of AdamW's second moment: small batches want more. [default: 0.95, or the method's]",
)
@click.option(
    "--warmup",
    type=click.IntRange(0),
    help="Inner steps of the whole run in which the learning rate rises. [default: 20, or the method's]",
)
@click.option("--weight-decay", type=click.FloatRange(0), help="[default: 0.1, or the method's]")
@click.option(
    "--decay",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Share of the run, at its end, in which the learning rate falls to zero.",
)
@click.option(
    "--codec",
    type=click.Choice(["sparse-2bit", "dense-int8", "dense-fixed", "dct-topk"]),
    help="[default: sparse-2bit, or the method's]",
)
@click.option(
    "--k",
    type=click.IntRange(1, 4096),
    help="Values of 4096 kept (sparse-2bit), or of 64 (dct-topk). [default: 64, or the method's]",
)
@click.option("--beta", type=float, help="Decay of the error feedback. [default: 0.95, or the method's]")
@click.option("--outer-lr", type=float, help="[default: the method's, or 1.5 for sparse-2bit, else 0.7]")
@click.option(
    "--momentum",
    type=float,
    help="Nesterov's; 0 is without. [default: the method's, or 0 for sparse-2bit, else 0.9]",
)
@click.option(
    "--fragments", type=click.IntRange(1, 256), help="Parts of the model, one exchanged per round in turn."
)
@click.option(
    "--mix", type=click.FloatRange(0, 1), help="Of a worker's own values in a part that comes back."
)
@click.option("--delay", type=click.IntRange(0, 1), help="Rounds that it comes back later: overlap.")
@click.option(
    "--guard",
    type=click.IntRange(0, 64),
    default=0,
    help="Skip rounds whose updates are so many deviations too large.",
)
@click.option(
    "--trim",
    type=click.FloatRange(0, 0.5, max_open=True),
    default=0.0,
    help="Share of the slots that the mean leaves out at each end, parameter by parameter.",
)
@click.option("--reset-moments", is_flag=True, help="Start AdamW anew in every round.")
@click.option("--absent", type=click.FloatRange(0, 1), default=0.0, help="Probability of missing a round.")
@click.option("--lost", type=click.FloatRange(0, 1), default=0.0, help="Probability of losing one's state.")
@click.option("--late", type=click.IntRange(0), default=0, help="Workers that join half-way.")
@click.option("--evaluate", type=click.IntRange(0), default=1, show_default=True, help="Every n rounds.")
@click.option(
    "--windows",
    type=click.IntRange(1, 1 << 20),
    default=64,
    show_default=True,
    help="Windows of held-out text in an evaluation: a loss over few of them is not exact.",
)
@source_options
@click.option(
    "--sequence", type=click.IntRange(32, 1 << 20), default=64, show_default=True, help="Tokens of each."
)
@click.option("--start", type=click.Path(path_type=Path), help="The --out of a simulation to go on from.")
@click.option("--only-rules", is_flag=True, help="Write spec.json and the artifacts, and train nothing.")
@click.option("--seed", type=click.IntRange(0, (1 << 53) - 1), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/sim"), show_default=True)
@json_option
def sim(
    out: Path,
    as_json: bool,
    evaluate: int,
    windows: int,
    absent: float,
    lost: float,
    late: int,
    only_rules: bool,
    **rules: Any,
) -> None:
    """Train with R simulated workers in this process, without a chain.

    \b
    pi sim                                        the training of `pi demo --cheat none`, the same checkpoints
    pi sim --method diloco --steps 30             DiLoCo with shorter rounds
    pi sim --method demo --rounds 600             DeMo: rounds of one step
    pi sim --method streaming --rounds 100        Streaming DiLoCo: a fifth of the model per round
    pi sim --absent 0.2 --lost 0.05 --late 2      with workers that come, go and forget
    pi sim --start runs/sim --out runs/more       from the model that another simulation has come to
    pi sim --model DIR --lora 8 --data my.jsonl   adapters on a transformers model, tokens of its tokenizer
    pi sim --method muloco --only-rules           what pi pool create takes: spec.json, artifacts

    Run again with the same options, it goes on where it was stopped. --json prints {"rounds", "root",
    "val_loss", "curve", "bytes_per_worker_round", "dense_bytes", "tokens", "folder"}: losses in nats per
    token, "curve" [round, held-out loss].
    """
    if rules["method"] == "sync":
        rules["batch"] *= rules["workers"]
        rules["workers"] = 1
    if late >= rules["workers"]:
        raise UsageError("--late leaves nobody for the start", "take fewer than --workers")
    store = LocalStore(out / "artifacts")
    spec = _rules(store, **rules)
    (out / "spec.json").write_bytes(canonical_json(spec))
    if only_rules:
        answer = {"spec": str(out / "spec.json"), "artifacts": str(out / "artifacts")}
        click.echo(json.dumps(answer) if as_json else "  ".join(answer.values()))
        return
    determinism.pin(determinism.admitted(spec)[0])
    from pi_train.evaluate import validation_loss

    corpus = load_corpus(spec, store.get, out / "corpus")
    data = store.get(spec.genesis_file, checkpoint_bytes(*spec.checkpoint_shape))
    genesis = Checkpoint.from_bytes(data, *spec.checkpoint_shape)
    nodes = nodes_of(spec.seed, rules["workers"])
    run = Simulation.open(spec, corpus, nodes, out / "run", genesis, Faults(absent, lost, late))
    if run.round:
        click.echo(f"going on after round {run.round}", err=True)
    while run.round < spec.rounds:
        number = run.round + 1
        wanted = evaluate and (number % evaluate == 0 or number == spec.rounds)
        record = run.play(windows if wanted else 0)
        held_out = f"held-out {record['val_loss']:.4f}  " if record["val_loss"] is not None else ""
        trained = "nobody trained" if record["train_loss"] is None else f"train {record['train_loss']:.4f}"
        click.echo(
            f"round {run.round:>4}  {trained}  {held_out}{'SKIPPED  ' * record['skipped']}"
            f"{len(record['nodes'])} workers,"
            f" {sum(record['update_bytes']) / 1e3:.1f} kB, {record['seconds']:.1f} s",
            err=True,
        )
    sizes = [size for record in run.records for size in record["update_bytes"]]
    answer = {
        "rounds": run.round,
        "root": run.checkpoint.root().hex(),
        "val_loss": validation_loss(spec, run.checkpoint, corpus, windows),
        "bytes_per_worker_round": sum(sizes) / len(sizes) if sizes else None,
        "dense_bytes": 4 * spec.model.parameters,
        "curve": [[r["round"] + 1, r["val_loss"]] for r in run.records if r["val_loss"] is not None],
        "tokens": len(sizes) * spec.inner.steps * spec.inner.batch * spec.inner.sequence,
        "folder": str(out),
    }
    if as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(
            f"held-out loss {answer['val_loss']:.4f} after {answer['tokens']:,} tokens; C = {answer['root']}"
        )


def _theta(folder: Path) -> np.ndarray:
    """The parameters that the simulation in `folder` has come to. `UsageError`."""
    try:
        rules, _ = (folder / "run" / "rules.json").read_text().splitlines()
        spec = RunSpec.model_validate_json(rules)
        data = (folder / "run" / "state" / "checkpoint.bin").read_bytes()
        return Checkpoint.from_bytes(data, *spec.checkpoint_shape).theta
    except (OSError, ValueError, MalformedArtifact):
        raise UsageError(f"{folder} holds no simulation", "--start takes another one's --out") from None


def _rules(
    store: LocalStore,
    *,
    workers: int,
    rounds: int,
    batch: int,
    micro_batch: int,
    ranks: int,
    compile: bool,
    sequence: int,
    decay: float,
    guard: int,
    trim: float,
    reset_moments: bool,
    start: Path | None,
    seed: int,
    method: str | None,
    **options: Any,
) -> RunSpec:
    """The RunSpec of a method and of the options that override it, where they are not None; the other options
    are `prepare`'s. `UsageError`, or pydantic's words where a number is out of its range.
    """
    names = {field.name for field in fields(Method)} & options.keys()
    chosen = {name: value for name in names if (value := options[name]) is not None}
    sources = {name: value for name, value in options.items() if name not in names}
    plain = DEFAULT if chosen.get("codec", "sparse-2bit") == "sparse-2bit" else DEFAULT_DENSE
    rules = replace(METHODS[method] if method else plain, **chosen)
    without = "sign" if rules.rule == "sign" else "sgd"
    rule = "nesterov" if rules.momentum else without
    trace = TraceSpec(segment=math.gcd(rules.steps, TraceSpec().segment))
    try:
        return prepare(
            store=store,
            seed=seed,
            rounds=rounds,
            theta=None if start is None else _theta(start),
            **sources,
            inner=InnerSpec(
                optimizer=rules.optimizer,
                steps=rules.steps,
                batch=batch,
                micro_batch=micro_batch,
                sequence=sequence,
                lr=rules.lr,
                beta2=rules.beta2,
                warmup=rules.warmup,
                weight_decay=rules.weight_decay,
                decay=round(decay * rounds * rules.steps),
                carry_moments=not reset_moments,
            ),
            codec=CodecSpec(name=rules.codec, k=rules.k, beta=round(rules.beta * _Q16)),
            outer=OuterSpec(
                rule=rule,
                lr=round(rules.outer_lr * (_PARAMETER_ONE if rule == "sign" else _Q16)),
                momentum=round(rules.momentum * _Q16),
                fragments=rules.fragments,
                mix=round(rules.mix * _Q16),
                delay=rules.delay,
                guard=guard,
                trim=min(round(trim * 10_000), 4999),
            ),
            trace=trace,
            classes=determinism.default_classes(ranks, compile),
            audit=AuditSpec(segments=min(AuditSpec().segments, rules.steps // trace.segment)),
        )
    except ValidationError as error:
        words = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(f"these options make no run: {words}") from None
