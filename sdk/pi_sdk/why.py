"""`pi why`: what became of a node's work in one round, and why, with the transactions that say so. Read from
the chain, so that it tells the same to everybody; what screens found is in validators' logs, and told where
one is at hand.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .base import checksum
from .codec import round_seed
from .errors import MalformedArtifact, NotFound, SpecMismatch, StoreError, UsageError
from .eventlog import read_events
from .options import HELP, json_option, network_options, verbose_option
from .participant import clock
from .results import Event, MemberInfo
from .rules import load_rules
from .store import HttpStore
from .types import TOKEN, CaseStatus, Model, Outcome, RecordStatus

if TYPE_CHECKING:
    from .client import Client

Answer = Literal["paid", "unpaid", "forfeited", "open", "not expected"]
_REASONS = {1: "its file was not to be had", 2: "its file was malformed", 3: "its norm was false"}
_REASONS[4] = "it started from another root than the one that was voted for"


class Step(Model):
    """One thing that happened. `time` is unix seconds of the chain."""

    time: int
    block: int
    tx: str
    event: str
    text: str


class Screen(Model):
    """What the screens of one validator said about the work: an event `screened` of `pi_validator`. None
    where a number could not be had."""

    flags: list[str]
    """The screens that it failed; they raise the chance of an audit and cost nothing."""
    norm: float | None
    """Over the round's median."""
    cosine: float | None
    """Of the update with the mean of the others."""
    overlap: float | None
    """Share of equal choices with its nearest, beyond chance."""
    gain: float | None
    """What a step along it takes off the loss, in nats per token."""
    data: float | None
    """Sum over rounds of how much better it does on its assigned text, in standard deviations."""
    rating: float | None


class Story(Model):
    """What `pi why --json` prints. Money in token wei, hashes in hex."""

    pool: int
    round: int
    node: str
    operator: str | None
    answer: Answer
    """paid: accepted, credited or to be credited; open: not decided yet."""
    because: str
    slots: int
    """Revealed in time; 0 without a reveal."""
    pay: int
    """What the slots are worth: due or had where the answer is "paid"."""
    settled: bool
    """Whether the pay was credited to the operator, who can claim it."""
    start_root: str
    """Of the round, after the vote about it."""
    data_seed: str | None
    """Which text the node trained on follows from it, by `pi_sdk.codec.sample_ids`; None: no `run_seed`."""
    audited: bool | None
    """Whether the round's seed drew it; None where the chain no longer, or not yet, says so."""
    auditors: list[str]
    screens: list[Screen] = []
    steps: list[Step]


def why(client: "Client", pool_id: int, node: str, round_: int, run_seed: int | None = None) -> Story:
    """The story of one node in one round. Raises `NotFound` for an unknown pool, a round that has not opened,
    or a node that never was a member; `UsageError` for no address. `run_seed` is the RunSpec's."""
    node = checksum(node)
    pool = client.pool(pool_id)
    if round_ >= pool.next_round:
        raise NotFound(f"round {round_} of pool {pool_id} has not opened: {pool.next_round} have")
    member = client.member(pool_id, node)
    if member is None:
        raise NotFound(f"node {node} has never been a member of pool {pool_id}")
    return _Teller(client, pool_id, node, round_, member).story(run_seed)


class _Teller:
    def __init__(self, client: "Client", pool_id: int, node: str, round_: int, member: MemberInfo):
        self.client, self.pool_id, self.node, self.round, self.member = client, pool_id, node, round_, member
        self.params = client.pool_params(pool_id)
        self.events = client.events(pool_id=pool_id)
        about = [e for e in self.events if e.name == "CaseOpened" and self._is_mine(e)]
        self.case = about[-1].args["case_id"] if about else None
        self._times: dict[int, int] = {}

    def story(self, run_seed: int | None) -> Story:
        start = self._start()
        revealed = self._mine("Revealed")
        slots = revealed[0].args["reveal"]["width"] if revealed else 0
        pays = revealed and revealed[0].args["reveal"]["update_root"] != bytes(32)
        answer, because = self._answer(start, revealed[0] if revealed else None)
        audited, auditors = self._audit() if pays else (None, [])
        return Story(
            pool=self.pool_id,
            round=self.round,
            node=self.node,
            operator=self.client.operator_of(self.node),
            answer=answer,
            because=because,
            slots=slots,
            pay=slots * self.params.price_per_slot if pays else 0,
            settled=answer == "paid" and self._is_settled(),
            start_root=start.hex(),
            data_seed=None if run_seed is None else round_seed(run_seed, self.round, start).hex(),
            audited=audited,
            auditors=auditors,
            steps=[self._step(e, text) for e, text in self._told(start)],
        )

    def _start(self) -> bytes:
        """The root that the round starts from, after the vote about it."""
        for event in self.events:
            if event.name == "CloseOverruled" and event.args["round"] == self.round - 1:
                return event.args["root"]
        return self._of_round("RoundOpened")[0].args["start_root"]

    # --- the answer -------------------------------------------------------------------------------------

    def _answer(self, start: bytes, revealed: Event | None) -> tuple[Answer, str]:
        if revealed is None:
            return self._without_reveal()
        if revealed.args["reveal"]["update_root"] == bytes(32):
            return "unpaid", "the round only confirmed the result, which is not paid"
        if revealed.args["reveal"]["start_root"] != start:
            return "unpaid", "its work started from another root than the one that the votes settled on"
        out = self._exclusion()
        if out is not None:
            return "unpaid", f"its update was left out of the mean: {_REASONS.get(out, f'reason {out}')}"
        if self.case is not None:
            case = self.client.case(self.case)
            if case.is_open:
                return "open", f"case {self.case} about it has not ended"
            if case.status == CaseStatus.CONVICTED:
                fault = "its work" if case.fault == Outcome.MISMATCH else "its evidence"
                words = "did not pass replay" if case.fault == Outcome.MISMATCH else "was withheld"
                return "forfeited", f"a jury found that {fault} {words} (case {self.case})"
        convicted = [e.args["round"] for e in self.events if e.name == "Convicted" and self._is_node(e)]
        if convicted and self.round >= min(convicted):
            return "forfeited", f"the node was convicted in round {min(convicted)}"
        if not self._of_round("RoundClosed"):
            return "open", "the round has not been closed"
        if self._in_ring() and not self.client.is_final(self.pool_id, self.round):
            return "open", "verdicts about the round may still come"
        return "paid", "the work was accepted"

    def _without_reveal(self) -> tuple[Answer, str]:
        if not self._was_expected():
            return "not expected", "the node was not in the pool in this round"
        running = self.client.pool(self.pool_id).next_round - 1 == self.round
        if running and not self._of_round("RevealsSealed"):
            return "open", "the round is running"
        if self._mine("RevealedLate"):
            return "unpaid", "it was revealed too late"
        if self._mine("Committed"):
            return "unpaid", "it was committed and never revealed"
        return "unpaid", "nothing was committed in time"

    def _exclusion(self) -> int | None:
        """The reason of the last close, unless that close was disproved or overruled."""
        reason = None
        for event in self._of_round("Excluded", "CloseDisproved", "CloseOverruled"):
            if event.name != "Excluded":
                reason = None
            elif self._is_node(event):
                reason = event.args["reason"]
        return reason

    def _was_expected(self) -> bool:
        inside = False
        for event in self.events:
            if event.name == "Joined" and self._is_node(event):
                inside = inside or event.args["active_from"] <= self.round
            elif event.name == "Left" and self._is_node(event) and event.args["left_at"] <= self.round:
                inside = False
        return inside

    def _audit(self) -> tuple[bool | None, list[str]]:
        if not self._in_ring() or not self._of_round("SeedCaptured"):
            return None, []
        audited = self.client.is_audited(self.pool_id, self.round, self.node)
        return audited, self.client.auditors_of(self.pool_id, self.round, self.node) if audited else []

    def _is_settled(self) -> bool:
        if not self._in_ring():
            return self.member.accrued == 0
        return self.client.record(self.pool_id, self.round, self.node).status == RecordStatus.NONE

    def _in_ring(self) -> bool:
        return self.client.round(self.pool_id, self.round).exists

    # --- the steps --------------------------------------------------------------------------------------

    def _told(self, start: bytes) -> Iterator[tuple[Event, str]]:
        """What happened to the work, in the order of the chain."""
        decision, decided = self._last_decision(), False
        for event in self.events:
            text = self._text(event, start)
            if text:
                yield event, text
            # The first settlement after the last decision is the one that had this round in it.
            if decided and event.name == "Settled" and self._is_node(event):
                paid, gone = event.args["paid"] / TOKEN, event.args["forfeited"] / TOKEN
                lost = f", {gone:g} forfeited" if gone else ""
                yield event, f"settled, perhaps with other rounds: {paid:g} tokens credited{lost}"
                return
            decided = decided or event is decision

    def _last_decision(self) -> Event | None:
        names = ("RoundClosed", "VerdictsRevealed")
        found = [e for e in self.events if e.name in names and e.args["round"] == self.round]
        found += [e for e in self.events if e.name == "CaseResolved" and e.args["case_id"] == self.case]
        return found[-1] if found else None

    def _text(self, event: Event, start: bytes) -> str | None:
        args = event.args
        if args.get("case_id") is not None and args["case_id"] == self.case:
            return self._case_text(event)
        if event.name == "CloseOverruled" and args["round"] == self.round - 1:
            return f"two thirds of the slots replaced the root it started from with {_short(start)}"
        if args.get("round") != self.round:
            return None
        if event.name == "VerdictsRevealed":
            mine = [v for v in args["verdicts"] if v["node"] == self.node]
            return f"validator {args['validator']}: {_outcome(mine[0]['outcome'])}" if mine else None
        if "node" in args:
            return self._node_text(event) if self._is_node(event) else None
        match event.name:
            case "RoundOpened":
                return f"opened from {_short(args['start_root'])}"
            case "RevealsSealed":
                return f"reveals ended: {args['revealed']} in time"
            case "RoundClosed":
                return f"closed by {args['poster']}: {_short(args['root'])}"
            case "CloseDisproved":
                return "that close was proved wrong"
            case "CloseOverruled":
                return "that close was overruled by the next round's votes"
            case "SeedCaptured":
                return "audits drawn"
        return None

    def _node_text(self, event: Event) -> str | None:
        args = event.args
        match event.name:
            case "Committed":
                return f"committed {_short(args['commitment'])}"
            case "Revealed":
                width, root = args["reveal"]["width"], _short(args["reveal"]["start_root"])
                return f"revealed {width} slot{'s' * (width > 1)} from {root}: {_short(args['update_file'])}"
            case "RevealedLate":
                return "revealed too late"
            case "Excluded":
                return f"left out of the mean: {_REASONS.get(args['reason'], args['reason'])}"
            case "Missed":
                cost = f", {args['penalty'] / TOKEN:g} tokens of stake lost" if args["penalty"] else ""
                return f"missed, {args['in_a_row']} in a row{cost}"
            case "Convicted":
                return "convicted"
            case "Watched":
                return f"validator {args['validator']} has it audited for certain"
            case "PlantOpened":
                return "shown to be planted: a conviction costs it nothing"
        return None

    def _case_text(self, event: Event) -> str | None:
        args = event.args
        match event.name:
            case "CaseOpened":
                jury = len(args["jury"])
                return f"case {self.case}: {args['accuser']} accuses it, a jury of {jury} is drawn"
            case "VoteRevealed":
                return f"case {self.case}: juror {args['juror']}: {_outcome(args['outcome'])}"
            case "CaseDecided":
                found = "guilty" if args["guilty_outcome"] else "not guilty"
                return f"case {self.case}: the jury finds it {found}; there is time for an appeal"
            case "CaseEscalated":
                return f"case {self.case}: goes to a jury of {len(args['jury'])}"
            case "CaseResolved":
                status = CaseStatus(args["status"]).name.lower()
                cost = f", {args['slashed'] / TOKEN:g} tokens of stake lost" if args["slashed"] else ""
                return f"case {self.case}: {status}, {args['guilty']} to {args['innocent']}{cost}"
        return None

    def _step(self, event: Event, text: str) -> Step:
        if event.block not in self._times:
            block = self.client.rpc.call("eth_getBlockByNumber", hex(event.block), False)
            self._times[event.block] = int(block["timestamp"], 16)
        time = self._times[event.block]
        return Step(time=time, block=event.block, tx=event.tx, event=event.name, text=text)

    # --- which events -----------------------------------------------------------------------------------

    def _is_node(self, event: Event) -> bool:
        return event.args.get("node") == self.node

    def _is_mine(self, event: Event) -> bool:
        return self._is_node(event) and event.args.get("round") == self.round

    def _of_round(self, *names: str) -> list[Event]:
        return [e for e in self.events if e.name in names and e.args["round"] == self.round]

    def _mine(self, name: str) -> list[Event]:
        return [e for e in self._of_round(name) if self._is_node(e)]


def _short(hash_: bytes) -> str:
    return hash_.hex()[:16]


def _outcome(value: int) -> str:
    return Outcome(value).name.lower()


def screens(homes: Sequence[Path], pool_id: int, node: str, round_: int) -> list[Screen]:
    """What the agents of these homes wrote about a node's work."""
    about = ("screened", pool_id, round_, checksum(node))
    events = (event for home in homes for event in read_events(home))
    found = (e for e in events if tuple(map(e.get, ("event", "pool", "round", "node"))) == about)
    return [Screen.model_validate({name: e[name] for name in Screen.model_fields}) for e in found]


@click.command("why", context_settings=HELP)
@click.argument("node")
@click.argument("round_", metavar="ROUND", type=click.IntRange(min=0))
@click.option(
    "--pool", "pool_id", type=click.IntRange(min=1), default=1, show_default=True, help="The pool's id."
)
@click.option(
    "--events",
    "homes",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    multiple=True,
    help="The --home of a validator, or --out of a demo, for what its screens found. May be repeated."
    " [default: ~/.pi/validator, where it is]",
)
@network_options
@json_option
@verbose_option
def why_command(
    node: str,
    round_: int,
    pool_id: int,
    homes: tuple[Path, ...],
    network: str,
    rpc_url: str | None,
    as_json: bool,
) -> None:
    """Tell what became of a node's work in a round: paid or not, and why, with every transaction.

    With --json: {"answer": "paid" | "unpaid" | "forfeited" | "open" | "not expected", "because", "slots",
    "pay", "settled", "audited", "auditors", "screens": [{"flags", "norm", "cosine", "overlap", "gain",
    "data", "rating"}], "steps": [{"time", "block", "tx", "event", "text"}], ...}; money in token wei.
    """
    from .client import Client

    node = checksum(node)
    with Client(network, rpc_url=rpc_url) as client:
        story = why(client, pool_id, node, round_, _run_seed(client, pool_id))
    found = screens(homes or [Path.home() / ".pi" / "validator"], pool_id, node, round_)
    story = story.model_copy(update={"screens": found})
    click.echo(json.dumps(story.model_dump()) if as_json else _text(story))


def _run_seed(client: "Client", pool_id: int) -> int | None:
    """The RunSpec's seed; None where the pool's store does not give it."""
    try:
        with HttpStore(client.pool(pool_id).store_uri, tries=1) as store:
            return load_rules(client, pool_id, store)[0].seed
    except (StoreError, UsageError, MalformedArtifact, SpecMismatch):
        return None


def _text(story: Story) -> str:
    worth = f", {story.pay / TOKEN:g} tokens" if story.pay else ""
    lines = [f"{story.answer}: {story.because}{worth}"]
    if story.answer == "paid":
        lines.append("credited to the operator" if story.settled else "to be credited by the next settlement")
    if story.audited is not None:
        who = ": " + ", ".join(story.auditors) if story.auditors else ""
        lines.append(f"drawn for an audit{who}" if story.audited else "not drawn for an audit")
    for screen in story.screens:
        numbers = screen.model_dump(exclude={"flags"})
        said = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items() if value is not None)
        lines.append(f"screened: {' and '.join(screen.flags) or 'nothing'} flagged ({said})")
    if story.data_seed:
        lines.append(f"text drawn with the seed {story.data_seed}")
    lines.append("")
    lines += [f"{clock(s.time)}  {s.text}\n{'':21}{s.tx}" for s in story.steps]
    return "\n".join(lines)
