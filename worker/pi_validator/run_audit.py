"""`pi audit`: a whole run checked again, from the chain and any mirror of its artifacts. Nobody is asked or
believed: every hash, assignment of auditors, included set, outer step and payment is derived anew.

    audit = RunAudit(client, pool_id, store)
    for finding in audit.run():
        print(finding.round, finding.what, finding.problem)

What the contracts enforce at the time (deadlines, signatures, locks) is not repeated here; what they cannot
see, and what an RPC node could lie about, is.
"""

import json
import random
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from pi_sdk.client import Client
from pi_sdk.codec import accumulate
from pi_sdk.errors import MalformedArtifact, PiError, StoreError
from pi_sdk.options import HELP, json_option, network_options, verbose_option
from pi_sdk.results import Event
from pi_sdk.rules import load_rules
from pi_sdk.store import HttpStore, MultiStore, Store
from pi_sdk.types import TOKEN, CaseStatus, Model, Outcome, Reveal
from pi_train.codecs import UpdateFile, max_update_bytes
from pi_train.outer import Checkpoint, checkpoint_bytes, outer_step

from .checkpoints import fetched
from .evidence import Slot
from .history import History, Round, Trial
from .replays import Replays

_ZERO = bytes(32)
_COMMITMENT_BYTES = 27  # the chain keeps so many of a commitment
_MALFORMED, _NORM, _START = 2, 3, 4  # reasons for an exclusion that can be checked again


class Finding(Model):
    """Something that is not as it should be."""

    round: int | None
    """None: the run as a whole."""
    what: str
    """The object: "RunSpec", "checkpoint", "update of 0x...", ..."""
    problem: str


class RunAudit:
    """One audit. `store` is any mirror; stores that reveals announced are asked for what it lacks. `replay`:
    so many of the slots that the seeds drew, chosen by `choose`, are replayed too; the corpus is kept in
    `cache`."""

    def __init__(
        self,
        client: Client,
        pool_id: int,
        store: Store,
        replay: int = 0,
        choose: random.Random | None = None,
        cache: Path | None = None,
    ):
        self.client, self.pool_id, self.store = client, pool_id, store
        self.replay, self.choose, self.cache = replay, choose or random.SystemRandom(), cache
        self.checked: dict[str, int] = defaultdict(int)
        self.result: Checkpoint | None = None
        """The model that the run came to, once all rounds were gone through."""

    def run(self) -> Iterator[Finding]:
        """Yields what is wrong, in the order of the rounds. Raises `NotFound` for an unknown pool and
        `PiError` where the RunSpec or the first checkpoint is not to be had, or is not the pool's.
        """
        self.spec, self.params = load_rules(self.client, self.pool_id, self.store)
        self.events = self.client.events(pool_id=self.pool_id)
        self.history = History(self.events, self.params)
        self.rounds = self.history.rounds
        self.starts: dict[int, bytes] = {}
        self.gone_back_to: dict[int, Checkpoint] = {}
        roots = [e.args["genesis_root"] for e in self.events if e.name == "PoolCreated"]
        known = self._checkpoint(self.spec.genesis_file)
        if [known.root()] != roots:
            raise PiError("the first checkpoint has another root than the chain says")
        sample, replays = self._sample(), None
        private: dict[str, bytes] = {}
        for number in sorted(self.rounds):
            round_ = self.rounds[number]
            start = yield from self._start(round_, known)
            if start is None:
                return
            if number in self.history.rolled_back.values():
                self.gone_back_to[number] = start
            yield from self._chain_data(round_, private)
            for node in sample.get(number, ()):
                replays = replays or Replays(self.spec, self.store, self.cache or Path("cache/data"))
                yield from self._replay(replays, round_, node, start)
            known = yield from self._result(round_, start)
        self.result = known
        yield from self._cases()
        yield from self._pay()

    # --- one round ----------------------------------------------------------------------------------------

    def _start(self, round_: Round, known: Checkpoint) -> Generator[Finding, None, Checkpoint | None]:
        """The checkpoint that the round starts from, after the vote; None where it is nowhere."""
        before = self.rounds.get(round_.number - 1)
        if round_.number and (before is None or not before.closes):
            yield self._finding(round_, "events", "those of the round before are not all there")
            return None
        slots: dict[bytes, int] = defaultdict(int)
        for event in round_.revealed.values():
            slots[event.args["reveal"]["start_root"]] += event.args["reveal"]["width"]
        posted, total = round_.posted_start, sum(slots.values())
        others = [root for root in slots if root != posted and 3 * slots[root] >= 2 * total]
        voted = others[0] if others and before is not None else None
        said = before.overruled if before is not None else None
        if voted != said:
            problem = f"{_hex(said)} on chain, {_hex(voted)} by the votes"
            yield self._finding(round_, "start-root vote", problem)
        root = said or posted
        back = self.history.rolled_back.get(round_.number)
        if before is not None and not said:
            expected = before.closes[-1].args["root"] if back is None else self.starts[back]
            if expected != posted:
                yield self._finding(round_, "start root", "is not what the close of the round before posted")
        self.starts[round_.number] = root
        if back is not None and not said:
            known = self.gone_back_to[back]
        if known.root() == root:
            self.checked["starts"] += 1
            return known
        yield self._finding(
            before or round_, "result", f"{_hex(root)} on chain, {_hex(known.root())} from the updates"
        )
        try:
            assert before is not None and not said
            return self._checkpoint(before.closes[-1].args["checkpoint_file"].hex())
        except (AssertionError, StoreError, MalformedArtifact):
            yield self._finding(round_, "checkpoint", "the one that the chain goes on from is nowhere")
            return None

    def _chain_data(self, round_: Round, private: dict[str, bytes]) -> Iterator[Finding]:
        """Commitments, the accumulator, the chain of private states, the seed, the draws."""
        accumulator = _ZERO
        for node, event in round_.revealed.items():
            opened = Reveal(**event.args["reveal"])
            hidden = self.client.commitment(self.pool_id, round_.number, node, opened)
            if hidden[:_COMMITMENT_BYTES] != round_.committed.get(node, b"")[:_COMMITMENT_BYTES]:
                yield self._finding(round_, f"commitment of {node}", "is not that of what was revealed")
            if opened.update_root != _ZERO:
                if opened.state_in not in (_ZERO, private.get(node, _ZERO)):
                    yield self._finding(round_, f"state of {node}", "does not follow from its last reveal")
                private[node] = opened.state_out
            accumulator = accumulate(
                accumulator, node, opened.start_root, opened.update_root, opened.norm, opened.width
            )
            self.checked["reveals"] += 1
        info = self.client.round(self.pool_id, round_.number)
        if info.exists and info.accumulator != accumulator:
            yield self._finding(round_, "reveals", "the accumulator on chain is of others")
        if round_.seed is not None:
            block = self.client.rpc.call("eth_getBlockByNumber", hex(round_.seed_block), False)
            if block is not None and bytes.fromhex(block["hash"][2:]) != round_.seed:
                yield self._finding(round_, "audit seed", f"is not the hash of block {round_.seed_block}")
            yield from self._draws(round_)

    def _draws(self, round_: Round) -> Iterator[Finding]:
        assert round_.seed is not None
        for event in round_.verdicts:
            for verdict in event.args["verdicts"]:
                node, judge = verdict["node"], event.args["validator"]
                if judge not in self.history.auditors(round_, node):
                    yield self._finding(round_, f"verdict of {judge}", f"it was not drawn for {node}")
                self.checked["verdicts"] += 1

    def _sample(self) -> dict[int, list[str]]:
        """Nodes by round whose slots are replayed: random ones, of those whose evidence is still there."""
        drawn = [
            (r.number, node)
            for r in self.rounds.values()
            for node in sorted(r.revealed)
            if r.seed is not None and self.history.auditors(r, node)
        ]
        sample: dict[int, list[str]] = defaultdict(list)
        for number, node in self.choose.sample(drawn, len(drawn)) if self.replay else ():
            if sum(map(len, sample.values())) == self.replay:
                break
            trace = self.rounds[number].revealed[node].args["reveal"]["trace_root"]
            if self.store.has(trace.hex()):
                sample[number].append(node)
            else:  # kept until the round is final
                self.checked["slots without evidence"] += 1
        return sample

    def _replay(self, replays: "Replays", round_: Round, node: str, start: Checkpoint) -> Iterator[Finding]:
        """Whether a replay says what became of the slot."""
        assert round_.seed is not None
        slot, delay = self._slot(round_.revealed[node]), self.spec.outer.delay
        if 0 < delay <= round_.number:
            slot = replace(slot, data_root=self.starts[round_.number - delay])
        report = replays.replay(replace(slot, start_root=start.root()), start, round_.seed)
        if report.outcome == Outcome.WITHHELD:
            self.checked["slots without evidence"] += 1
            return
        self.checked["replays"] += 1
        guilty = (round_.number, node) in self.history.guilty()
        if report.outcome == Outcome.MISMATCH and not guilty:
            yield self._finding(
                round_, f"replay of {node}", f"{'; '.join(report.reasons)}; nobody convicted it"
            )
        elif report.outcome == Outcome.ACCEPT and guilty:
            yield self._finding(round_, f"replay of {node}", "it is as it should be, but was convicted")

    def _result(self, round_: Round, start: Checkpoint) -> Generator[Finding, None, Checkpoint]:
        """The checkpoint that the round's updates lead to, and whether what was posted is that one."""
        if not round_.closes or round_.disproved:
            return start
        contributions = []
        for node, event in round_.revealed.items():
            opened = Reveal(**event.args["reveal"])
            reason = round_.excluded.get(node)
            if opened.start_root != start.root():
                continue
            try:
                update, problem = self._update(event, opened), None
            except (StoreError, MalformedArtifact) as error:
                update, problem = None, error
            if reason is None and problem is not None:
                yield self._finding(round_, f"update of {node}", str(problem))
            elif reason is None and update is not None:
                contributions.append((update, opened.width))
            elif reason in (_MALFORMED, _NORM, _START) and problem is None:
                problem = f"for reason {reason}, but its update is as it should be"
                yield self._finding(round_, f"exclusion of {node}", problem)
            self.checked["updates"] += update is not None
        result = outer_step(self.spec, start, contributions, round_.number)
        close = round_.closes[-1].args
        if round_.overruled is None and close["root"] != result.root():
            return result  # said where the next round starts
        try:
            posted = None if round_.overruled else self._checkpoint(close["checkpoint_file"].hex())
            if posted is not None and posted.root() != close["root"]:
                yield self._finding(round_, "checkpoint", "its file has another root than was posted")
        except (StoreError, MalformedArtifact) as error:
            yield self._finding(round_, "checkpoint", str(error))
        self.checked["outer steps"] += 1
        return result

    def _update(self, event: Event, opened: Reveal) -> UpdateFile:
        """A revealed update, held against its reveal. `StoreError`, `MalformedArtifact`."""
        values = self.spec.update_values(event.args["round"])
        data = fetched(self._slot(event), self.store, max_update_bytes(self.spec.codec, values))
        update = UpdateFile(self.spec.codec, data, values)
        if update.root != opened.update_root:
            raise MalformedArtifact("its root is not the committed one")
        if update.norm != opened.norm:
            raise MalformedArtifact("its norm is not the committed one")
        return update

    def _checkpoint(self, file: str) -> Checkpoint:
        data = self.store.get(file, checkpoint_bytes(*self.spec.checkpoint_shape))
        return Checkpoint.from_bytes(data, *self.spec.checkpoint_shape)

    # --- money --------------------------------------------------------------------------------------------

    @staticmethod
    def _slot(event: Event) -> Slot:
        args, opened = event.args, Reveal(**event.args["reveal"])
        file, locations = args["update_file"].hex(), args["locations"]
        return Slot(args["round"], args["node"], opened, file, locations, opened.start_root)

    # --- cases and money ----------------------------------------------------------------------------------

    def _cases(self) -> Iterator[Finding]:
        """Every jury as the seed draws it, and every outcome as its votes have it."""
        trials: dict[int, Trial] = {}
        for event in self.events:
            args, name = event.args, event.name
            if name not in ("CaseOpened", "CaseEscalated", "VoteRevealed", "CaseResolved"):
                continue
            number = args["case_id"]
            if name == "CaseOpened":
                round_ = self.rounds.get(args["round"])
                if round_ is not None and round_.seed is not None and args["node"] in round_.members:
                    trials[number] = Trial(round_, args["node"], args["accuser"])
            trial = trials.get(number)
            if trial is None:
                yield Finding(
                    round=args.get("round"), what=f"case {number}", problem="events before it are missing"
                )
            elif name == "VoteRevealed":
                trial.votes[args["juror"]] = Outcome(args["outcome"])
            elif name == "CaseResolved":
                self.checked["cases"] += 1
                status = CaseStatus(args["status"])
                if trial.votes.keys() - trial.jury or status != trial.outcome():
                    problem = f"{status.name.lower()} on chain, {trial.outcome().name.lower()} by its votes"
                    yield self._finding(trial.round, f"case {number}", problem)
            else:
                trial.votes = {}
                yield from self._jury(args, trial, args.get("level", 0))

    def _jury(self, args: dict[str, Any], trial: Trial, level: int) -> Iterator[Finding]:
        trial.jury, case_id = set(args["jury"]), args["case_id"]
        if trial.jury != self.history.jury(case_id, trial, level):
            problem = "is not the one that the seed draws"
            yield self._finding(trial.round, f"jury {level} of case {case_id}", problem)

    def _pay(self) -> Iterator[Finding]:
        """Whether each node was paid for what counts, and the pool's books for what was paid."""
        due, convicted = self._due(), self._convicted()
        paid: dict[str, int] = defaultdict(int)
        for event in self.events:
            if event.name == "Settled":
                paid[event.args["node"]] += event.args["paid"]
        settled_all = self.client.pool(self.pool_id).ended
        for node in self.client.nodes(self.pool_id):
            worth = due[node] * self.params.price_per_slot
            exit_ = self.client.exit_state(self.pool_id, node) if settled_all else None
            settled = exit_ is not None and not exit_.unsettled_rounds and not exit_.accrued_slots
            if paid[node] > worth or (settled and paid[node] != worth and node not in convicted):
                yield Finding(
                    round=None,
                    what=f"pay of {node}",
                    problem=f"{paid[node] / TOKEN:g} tokens were paid for work worth {worth / TOKEN:g}",
                )
            self.checked["payments"] += 1
        books = self.client.budget(self.pool_id)
        sums = {"PoolFunded": books.funded, "Credited": books.credited, "Refunded": books.refunded}
        for name, said in sums.items():
            total = sum(e.args["amount"] for e in self.events if e.name == name)
            if total != said:
                problem = f"{said / TOKEN:g} tokens on chain, {total / TOKEN:g} by its events"
                yield Finding(round=None, what=f"budget: {name}", problem=problem)

    def _due(self) -> dict[str, int]:
        """Slots of each node that count: right start, not excluded, not convicted."""
        due: dict[str, int] = defaultdict(int)
        convicted = self._convicted()
        for round_ in self.rounds.values():
            before = self.rounds.get(round_.number - 1)
            start = (before.overruled if before is not None else None) or round_.posted_start
            for node, event in round_.revealed.items():
                opened = event.args["reveal"]
                out = node in round_.excluded and round_.overruled is None
                lost = node in convicted and round_.number >= convicted[node]
                if opened["start_root"] == start and opened["update_root"] != _ZERO and not out and not lost:
                    due[node] += opened["width"]
        return due

    def _convicted(self) -> dict[str, int]:
        """The first round of each node for which it was convicted."""
        found: dict[str, int] = {}
        for event in self.events:
            if event.name == "Convicted":
                node, round_ = event.args["node"], event.args["round"]
                found[node] = min(round_, found.get(node, round_))
        return found

    @staticmethod
    def _finding(round_: Round, what: str, problem: str) -> Finding:
        return Finding(round=round_.number, what=what, problem=problem)


def _hex(root: bytes | None) -> str:
    return "none" if root is None else root.hex()[:16]


@click.command("audit", context_settings=HELP)
@click.argument("pool_id", type=click.IntRange(min=1))
@click.option(
    "--store", "urls", multiple=True, help="URL of a mirror; several are tried in turn. [default: the pool's]"
)
@click.option(
    "--replay",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Also replay N random slots of those that were audited (needs torch).",
)
@click.option("--seed", type=int, help="Of the choice of slots. [default: the system's randomness]")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("cache/data"),
    show_default=True,
    help="Where --replay keeps the run's data.",
)
@network_options
@json_option
@verbose_option
def audit(
    pool_id: int,
    urls: tuple[str, ...],
    replay: int,
    seed: int | None,
    cache: Path,
    network: str,
    rpc_url: str | None,
    as_json: bool,
) -> None:
    """Check a whole run again, from the chain and any mirror of its artifacts.

    Derives every start, included set, outer step, seed, draw and payment anew and names what is not as it
    should be, by round and object. Exit code 1 when there is anything. With --json: {"ok", "findings":
    [{"round", "what", "problem"}], "checked": {...}, "root", "seconds"}.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        client = stack.enter_context(Client(network, rpc_url=rpc_url))
        mirrors = urls or (client.pool(pool_id).store_uri,)
        stores = [stack.enter_context(HttpStore(url)) for url in mirrors]
        choose = None if seed is None else random.Random(seed)
        whole = RunAudit(client, pool_id, MultiStore(stores), replay, choose, cache)
        findings = []
        for finding in whole.run():
            findings.append(finding)
            if not as_json:
                where = "the run" if finding.round is None else f"round {finding.round}"
                click.echo(f"{where}: {finding.what}: {finding.problem}")
    root = whole.result.root().hex() if whole.result is not None else None
    answer: dict[str, Any] = {
        "ok": not findings,
        "findings": [f.model_dump() for f in findings],
        "checked": dict(whole.checked),
        "root": root,
        "seconds": round(time.monotonic() - began, 3),
    }
    if as_json:
        click.echo(json.dumps(answer))
    else:
        counted = ", ".join(f"{n} {what}" for what, n in whole.checked.items())
        click.echo(f"{'nothing is wrong' if not findings else f'{len(findings)} findings'}: {counted}")
        click.echo(f"the model that the run came to: {root}")
    if findings:
        raise SystemExit(1)
