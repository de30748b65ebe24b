"""What a run looks like at the terminal: a view that is fed records (`recorder.py`), one line of text per
record that a person wants to read, and a table of the state."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from .recorder import Agent, Record
from .types import TOKEN

DRAINING = "draining verdicts"
_CONFIRMING = "confirming the last checkpoint"
FAULTS = {0: "no verdict", 1: "accepted", 2: "mismatch", 3: "withheld"}
STATUS = {1: "open", 2: "convicted", 3: "acquitted", 4: "hung", 5: "decided"}


def tokens(wei: int) -> str:
    """An amount of test tokens with two decimals."""
    return f"{wei / TOKEN:.2f}"


def brief(detail: str) -> str:
    """The weightiest of an audit's reasons, which are separated by semicolons: replay before screens."""
    reasons = detail.split("; ")
    chosen = next((r for r in reasons if r.startswith("segment")), reasons[0])
    return chosen if len(reasons) == 1 else f"{chosen} (and {len(reasons) - 1} more reasons)"


class Clock:
    """Lines on stderr with the seconds since the start in front."""

    def __init__(self, console: Console):
        self.console = console
        self.began = time.time()
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def say(self, line: str) -> None:
        self.console.print(Text.assemble((f"{self.elapsed:6.1f} s  ", "dim"), line), soft_wrap=True)


@dataclass
class Row:
    """The state of one agent: `stake` and `earned` in wei, `loss` last training loss in nats per token."""

    agent: Agent
    state: str = "starting"
    loss: float | None = None
    stake: int = 0
    earned: int = 0
    audits: int = 0
    votes: int = 0


@dataclass
class RunView:
    """The state of a run after the records it was given. No I/O."""

    agents: Sequence[Agent]
    rounds: int
    round: int = -1
    phase: str = "waiting for workers"
    val_loss: dict[int, float] = field(default_factory=dict)
    rows: dict[str, Row] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = {a.node: Row(a) for a in self.agents}
        self._by_operator = {a.operator: self.rows[a.node] for a in self.agents}
        self._by_name = {a.name: self.rows[a.node] for a in self.agents}
        self._cases: dict[int, Record] = {}

    def name(self, node: str) -> str:
        return self.rows[node].agent.name if node in self.rows else node[:10]

    def apply(self, record: Record) -> str | None:
        """Takes one record in; returns the line that tells it, or None where it is not worth one."""
        if record["source"] == "chain":
            return self._chain(record)
        return self._agent(record)

    def _chain(self, r: Record) -> str | None:
        row = self.rows.get(r.get("node", ""))
        match r["event"]:
            case "Joined":
                if row:
                    row.state = "joined"
                return f"{self.name(r['node'])} joined with width {r['width']}"
            case "SeatTaken":
                if row:
                    row.state = "seated"
                return f"{self.name(r['node'])} took seat {r['seat']}"
            case "RoundOpened" if r["round"] >= self.rounds:
                return f"the confirm-only round opened for {r['expected']} workers"
            case "RoundOpened":
                self.round, self.phase = r["round"], "training"
                return f"round {r['round'] + 1} of {self.rounds} opened for {r['expected']} workers"
            case "Committed" if row:
                row.state = "committed"
            case "CommitPhaseEnded" if r["round"] < self.rounds:
                self.phase = "revealing"
            case "Revealed" if row:
                row.state = "revealed"
            case "RevealsSealed" if r["round"] < self.rounds:
                self.phase = "closing"
            case "RoundClosed":
                self.phase = "closed" if r["round"] + 1 < self.rounds else _CONFIRMING
                return f"round {r['round'] + 1} closed, checkpoint {r['root'][:12]}"
            case "CloseOverruled":
                return f"the workers overruled the close of round {r['round'] + 1}: {r['root'][:12]}"
            case "CloseDisproved":
                return f"the close of round {r['round'] + 1} was proved wrong"
            case "ClosePunished":
                lost = f"{r['poster'][:10]} lost {tokens(r['slashed'])} of bond"
                return f"{lost} behind the close of round {r['round'] + 1}"
            case "Missed":
                if row:
                    row.state = "missed"
                return f"{self.name(r['node'])} missed round {r['round'] + 1} ({r['in_a_row']} in a row)"
            case "Excluded":
                return f"{self.name(r['node'])} was left out of round {r['round'] + 1} (reason {r['reason']})"
            case "CaseOpened":
                self._cases[r["case_id"]] = r
                accuser, accused = self.name(r["accuser"]), self.name(r["node"])
                what = f"a {FAULTS[r['fault']]} in round {r['round'] + 1}"
                return f"case {r['case_id']}: {accuser} accuses {accused} of {what}"
            case "CaseDecided":
                found = "guilty" if r["guilty_outcome"] else "not guilty"
                return f"case {r['case_id']}: the jury says {found}; time to appeal"
            case "CaseEscalated":
                return f"case {r['case_id']} goes to a jury of {len(r['jury'])}"
            case "AbsencePunished" | "OverturnPunished":
                why = "was absent" if r["event"] == "AbsencePunished" else "judged against the final outcome"
                return f"{self.name(r['validator'])} {why}, slashed {tokens(r['slashed'])}"
            case "CaseResolved":
                accused = self._cases.get(r["case_id"], {}).get("node", "")
                verdict = f"{STATUS[r['status']]} {r['guilty']} to {r['innocent']}"
                return f"case {r['case_id']}: {self.name(accused)} {verdict}, slashed {tokens(r['slashed'])}"
            case "PlantOpened":
                return f"{self.name(r['node'])} in round {r['round'] + 1} was planted, to test the validators"
            case "Convicted" if row:
                row.state = "slashed"
            case "VoteRevealed" if r["juror"] in self.rows:
                self.rows[r["juror"]].votes += 1
            case "VerdictsRevealed" if r["validator"] in self.rows:
                self.rows[r["validator"]].votes += len(r["verdicts"])
            case "Staked" if r["operator"] in self._by_operator:
                self._by_operator[r["operator"]].stake += r["amount"]
            case "Slashed":
                if r["operator"] in self._by_operator:
                    self._by_operator[r["operator"]].stake -= r["amount"]
                if r["finder"] in self._by_operator:
                    self._by_operator[r["finder"]].stake += r["finder_fee"]
            case "Credited" if r["account"] in self._by_operator:
                self._by_operator[r["account"]].earned += r["amount"]
            case "PoolEnded":
                self.phase = DRAINING
        return None

    def _agent(self, r: Record) -> str | None:
        row = self._by_name.get(r["source"])
        if row is None:
            return None
        match r["event"]:
            case "training":
                row.state = "training"
            case "trained":
                row.state, row.loss = "trained", r["loss_last"]
            case "audit":
                row.audits += 1
                row.state = f"audited {self.name(r['node'])}"
                if r["outcome"] not in (1, "ACCEPT", "Accept", "accept"):
                    where = f"{self.name(r['node'])} in round {r['round'] + 1}"
                    return f"{r['source']} found a fault of {where}: {brief(r['detail'])}"
            case "val_loss":
                self.val_loss[r["round"]] = r["loss"]
                when = f"after round {r['round'] + 1}" if r["round"] >= 0 else "before training"
                return f"held-out loss {when}: {r['loss']:.3f}"
            case "left" if row.state != "slashed":
                row.state = "left"
        return None

    def render(self, elapsed: float) -> Group:
        """The table, for a terminal of any width."""
        head = Text.assemble(
            (f"round {self.round + 1}/{self.rounds}", "bold"),
            f"  {self.phase}  ",
            (f"held-out loss {list(self.val_loss.values())[-1]:.3f}" if self.val_loss else "", "cyan"),
            (f"  {elapsed:.0f} s", "dim"),
        )
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("agent", "state"):
            table.add_column(name, no_wrap=True)
        for name in ("loss", "verdicts", "stake", "earned"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows.values():
            validator = row.agent.role == "validator"
            name = row.agent.name + (f" ({row.agent.cheat})" if row.agent.cheat else "")
            style = {"slashed": "red", "missed": "yellow", "training": "cyan"}.get(row.state, "")
            table.add_row(
                name,
                Text(row.state, style),
                "" if row.loss is None else f"{row.loss:.3f}",
                str(row.votes) if validator else "",
                tokens(row.stake),
                tokens(row.earned),
            )
        return Group(head, table)
