"""The end of a demo: exports the model, builds summary.json and report.html, and says in words what
happened."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import report, summary
from .client import Client
from .processes import Process, Processes
from .recorder import Agent, Recorder, of
from .store import HttpStore, LocalStore
from .table import FAULTS, STATUS, brief, tokens
from .types import RunSpec

_MAX_BLOB = 1 << 32


@dataclass
class Outcome:
    """What is made of a run's files. `fetched` is where blobs of the run lie; the store at `store_url` must
    still be up."""

    processes: Processes
    store_url: str
    fetched: LocalStore
    out: Path
    run_spec: str
    spec: RunSpec
    _started: list[Process]

    @classmethod
    def of_run(cls, processes: Processes, store_url: str, run_spec: str, out: Path) -> "Outcome":
        """Reads the RunSpec by its hash."""
        fetched = LocalStore(out / "artifacts")
        fetched.put(HttpStore(store_url).get(run_spec, _MAX_BLOB))
        return cls(processes, store_url, fetched, out, run_spec, _spec(fetched, run_spec), [])

    def evaluate(self, checkpoint_file: str) -> None:
        """Starts the export and the evaluation of a checkpoint; they run while the last verdicts come in."""
        store = HttpStore(self.store_url)
        self.fetched.put(store.get(checkpoint_file, _MAX_BLOB))
        for shard in (*self.spec.data.validation, *self.spec.files):
            if not self.fetched.has(shard.sha256):
                self.fetched.put(store.get(shard.sha256, shard.bytes))
        path = self.fetched.path_of
        files: list[str | Path] = ["--spec", path(self.run_spec), "--checkpoint", path(checkpoint_file)]
        files += ["--artifacts", self.fetched.path]
        held_out = [x for s in self.spec.data.validation for x in ("--validation", path(s.sha256))]
        python = [sys.executable, "-m"]
        self._started = [
            self.processes.start("export", [*python, "pi_train.export", *files, "--out", self.out / "model"]),
            # one thread: the workers may still hold the other cores
            self.processes.start(
                "evaluate", [*python, "pi_train.evaluate", *files, *held_out], {"OMP_NUM_THREADS": "1"}
            ),
        ]

    def write(
        self,
        client: Client,
        pool_id: int,
        recorder: Recorder,
        agents: Sequence[Agent],
        *,
        seconds: dict[str, float],
        peak_pss: int,
    ) -> str:
        """Writes summary.json and report.html; returns what happened, in words."""
        for process in self._started:
            process.popen.wait()
        self.processes.check(self._started)
        measured = json.loads(self._started[1].log.read_text().splitlines()[-1])
        store = HttpStore(self.store_url)
        revealed = of(recorder.records, "Revealed")
        # in the confirm-only round there are no updates
        files = {r["update_file"].removeprefix("0x") for r in revealed if int(r["reveal"]["update_root"], 16)}
        sizes = {name: len(store.get(name, _MAX_BLOB)) for name in files}
        result = summary.build(
            client,
            pool_id,
            recorder.records,
            agents,
            update_bytes=sizes,
            dense_bytes=4 * measured["parameters"],
            unigram_entropy=measured["unigram_entropy"],
            seconds=seconds,
            peak_pss=peak_pss,
        )
        series = summary.timeline(
            self.spec,
            recorder.records,
            agents,
            pool_id=pool_id,
            sample=measured["sample"],
            params=client.pool_params(pool_id).model_dump(mode="json"),
        )
        _write(self.out / "summary.json", json.dumps(result, indent=1) + "\n")
        _write(self.out / "report.html", report.render(result, series))
        return words(result, series, self.out)


def _spec(store: LocalStore, name: str) -> RunSpec:
    return RunSpec.model_validate_json(store.get(name, _MAX_BLOB))


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def words(result: dict[str, Any], series: dict[str, Any], out: Path) -> str:
    """What happened, for the terminal."""
    names = {a["address"]: a["name"] for a in series["agents"]}
    loss, money, rounds = result["loss"], result["money"], result["rounds"]
    lines = [""]
    if loss["first"] is not None:
        beaten = "below" if loss["last"] < loss["unigram_entropy"] else "still above"
        lines.append(
            f"loss      {loss['first']:.3f} after round 1, {loss['last']:.3f} after round {len(rounds)}: "
            f"{beaten} the unigram "
            f"entropy of the held-out text, {loss['unigram_entropy']:.3f} nats"
        )
    sizes = [n for r in rounds for n in r["update_bytes"].values()]
    if sizes:
        mean = sum(sizes) / len(sizes)
        lines.append(
            f"updates   {mean:,.0f} bytes, {rounds[0]['dense_bytes'] / mean:.0f} times smaller than dense "
            "fp32"
        )
    paid = [(names[w["address"]], w["earned"]) for w in [*result["workers"], *result["validators"]]]
    lines.append("paid      " + ", ".join(f"{name} {tokens(amount)}" for name, amount in paid if amount))
    for w in result["workers"]:
        if w["slashed"]:
            told = f", told to cheat ({w['cheat']})" if w["cheat"] else ""
            lines.append(
                f"slashed   {names[w['address']]}{told}: {tokens(w['slashed'])} of {tokens(w['staked'])} "
                "staked"
            )
    for fault in series["faults"]:
        votes = sum(v["outcome"] != 1 for v in fault["votes"])
        lines.append(
            f"case {fault['case']}    {fault['accused']} in round {fault['round'] + 1}: "
            f"{FAULTS[fault['fault']]} found by "
            f"{fault['accuser']}, {STATUS[fault['status']]} with {votes} of {len(fault['votes'])} votes"
            f"{'; planted, to test the validators' if fault['planted'] else ''}"
        )
        if fault["detail"]:
            lines.append(f"          {brief(fault['detail'])}")
    if all(fault["planted"] for fault in series["faults"]):
        lines.append("slashed   nobody; every other audit agreed with the work")
    agree = sum(w["checkpoint_hashes_agree"] for w in result["workers"])
    lines.append(
        f"hashes    {agree} of {len(result['workers'])} workers recomputed every checkpoint that they saw"
    )
    lines.append(f"money     {'conserved to the last wei' if money['conserved'] else 'DOES NOT ADD UP'}")
    lines += [
        "",
        "the model writes:",
        *(f"  | {line}" for line in _printable(series["sample"]).splitlines()[:12]),
        "",
    ]
    gib = result["memory"]["peak_pss_bytes"] / 2**30
    lines.append(
        f"{result['seconds']['setup']:.0f} s of set-up, {result['seconds']['run']:.0f} s of rounds, "
        f"{gib:.2f} GiB at the peak"
    )
    lines.append(f"report    {out / 'report.html'}")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Without control characters: a model's text must not talk to the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
