"""Mutation testing of the two custodians: small faults are put into copies of their sources, one in each, and
the tests must notice every one.

    python tools/mutate.py                   all mutants
    python tools/mutate.py StakeLib Rewards  those of some sources
    python tools/mutate.py --list            only says what they are

`contracts/test/unit/Custodians.t.sol` stands on its own, so a copy holds little more than the custodians.
Survivors that change nothing anybody could see have their reason below; exit 1 where another one survives.
The JSON report goes to contracts/cache/mutate/report.json."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import sources
from pi_sdk.tools import forge_path
from sources import ROOT

FOLDER = ROOT / "contracts" / "cache" / "mutate"
BATCH = 24
"""Mutants that are compiled and tested together, each in a folder of its own."""
TEST = "contracts/test/unit/Custodians.t.sol"
TARGETS = {
    "StakeManager": "contracts/src/StakeManager.sol",
    "StakeLib": "contracts/src/libraries/StakeLib.sol",
    "Rewards": "contracts/src/Rewards.sol",
    "BudgetLib": "contracts/src/libraries/BudgetLib.sol",
}

EQUIVALENT = {
    (
        "StakeLib",
        "taken = uint128(amount < held ? amount : held);",
        "<=",
    ): "The smaller of two equal numbers.",
}
"""(source, line, what stands there instead) -> why nobody could tell the difference."""

SWAPS = (
    (r"==", ("!=",)),
    (r"!=", ("==",)),
    (r"<=", ("<", ">")),
    (r">=", (">", "<")),
    (r"(?<![<=])<(?![<=])", ("<=", ">=")),
    (r"(?<![>=])>(?![>=])", (">=", "<=")),
    (r"\+=", ("-=", "=")),
    (r"-=", ("+=", "=")),
    (r"(?<!\+)\+(?![+=])", ("-",)),
    (r"(?<!-)-(?![-=>])", ("+",)),
    (r"\*", ("/",)),
    (r"/", ("*",)),
    (r"\|\|", ("&&",)),
    (r"&&", ("||",)),
    (r"\b\d[\d_]*\b", ("number + 1",)),
    (r"\bonlyModule\b(?=\s*(returns|\{))", ("",)),
    (r"\bmsg\.sender\b", ("address(this)",)),
)
STATEMENT = re.compile(
    r"^ *(?:require\(|emit |[\w.\[\]]+(?:\([^{}]*?\)|\s*[-+]?=\s[^{}]*?);|\([^{}]*?\) = [^{}]*?;)", re.M
)


@dataclass(frozen=True)
class Mutant:
    source: str
    start: int
    end: int
    put: str
    line: int
    before: str


def blank(text: str) -> str:
    """The source with comments, strings, imports and pragmas blanked out, offsets kept."""
    hidden = r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"|^(?:import|pragma|using)\b[^;]*;"
    return re.sub(hidden, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S | re.M)


def statement_end(text: str, start: int) -> int:
    """Behind the semicolon that ends the statement."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if text[at] == ";" and depth == 0:
            return at + 1
    raise AssertionError("statement without an end")


def mutants(name: str, text: str) -> Iterator[Mutant]:
    visible = blank(text)
    body = visible.index("{", visible.index("\ncontract" if "\ncontract" in visible else "\nlibrary"))

    def mutant(start: int, end: int, put: str) -> Mutant:
        line = text.count("\n", 0, start) + 1
        return Mutant(name, start, end, put, line, text[start:end])

    for pattern, puts in SWAPS:
        for match in re.finditer(pattern, visible[body:]):
            start, end = body + match.start(), body + match.end()
            if "mapping" in visible[visible.rfind("\n", 0, start) : start]:
                continue  # the arrow of a type
            for put in puts:
                yield mutant(start, end, f"{match[0]} + 1" if put == "number + 1" else put)
    for match in STATEMENT.finditer(visible, body):
        start = match.start() + len(match[0]) - len(match[0].lstrip())
        end = statement_end(visible, start)
        words = visible[start:end]
        declares = re.match(r"\w+(\.\w+)* (storage|memory|calldata|\w+ =)|\(\w+ \w+", words)
        if not declares and not words.startswith(("return", "using")):
            yield mutant(start, end, "")


def write(wanted: list[Mutant], texts: dict[str, str]) -> None:
    """A project with a copy of the custodians, their imports and the test for each of these mutants."""
    sources.copy(FOLDER, TEST, *TARGETS.values())
    original = FOLDER / "contracts"
    for number, mutant in enumerate(wanted):
        copy = FOLDER / "mutants" / f"m{number}" / "contracts"
        shutil.copytree(original, copy)
        text = texts[mutant.source]
        changed = text[: mutant.start] + mutant.put + text[mutant.end :]
        (copy.parent / TARGETS[mutant.source]).write_text(changed)
    shutil.rmtree(original)


def run_tests(count: int) -> list[str]:
    """For each mutant of the project: "survived", "killed", or "invalid" where it does not compile."""
    command = [str(forge_path()), "test", "--root", str(FOLDER), "--json"]
    folder = {"FOUNDRY_SRC": "mutants", "FOUNDRY_TEST": "mutants", "FOUNDRY_OPTIMIZER": "false"}
    outcomes = ["invalid"] * count
    while (FOLDER / "mutants").exists() and any((FOLDER / "mutants").iterdir()):
        done = subprocess.run(command, env=os.environ | folder, capture_output=True, text=True)
        if done.stdout.startswith("{"):
            for suite, tests in json.loads(done.stdout).items():
                passed = all(test["status"] == "Success" for test in tests["test_results"].values())
                number = int(re.match(r"mutants/m(\d+)/", suite)[1])
                outcomes[number] = "survived" if passed else "killed"
            break
        # One that does not compile keeps the others from it.
        broken = set(re.findall(r"mutants/(m\d+)/", done.stdout + done.stderr))
        assert broken, done.stdout + done.stderr
        for name in broken:
            shutil.rmtree(FOLDER / "mutants" / name)
    return outcomes


def reason(mutant: Mutant, text: str) -> str | None:
    line = text.splitlines()[mutant.line - 1].strip()
    return EQUIVALENT.get((mutant.source, line, mutant.put))


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("sources", nargs="*", choices=[*TARGETS, []], help="which of them; all by default")
    parser.add_argument("--list", action="store_true", help="run nothing")
    args = parser.parse_args()
    texts_of_all = {name: (ROOT / path).read_text() for name, path in TARGETS.items()}
    texts = {name: texts_of_all[name] for name in args.sources or TARGETS}
    wanted = [mutant for name, text in texts.items() for mutant in mutants(name, text)]
    if args.list:
        for m in wanted:
            print(f"{m.source}:{m.line}: {' '.join(m.before.split())!r} -> {m.put!r}")
        print(len(wanted), "mutants")
        return

    outcomes: list[tuple[Mutant, str]] = []
    started = time.monotonic()
    for first in range(0, len(wanted), BATCH):
        batch = wanted[first : first + BATCH]
        nothing = Mutant("StakeLib", 0, 0, "", 1, "")
        write([*batch, nothing], texts_of_all)
        *found, unchanged = run_tests(len(batch) + 1)
        assert unchanged == "survived", "the tests must pass without a mutant"
        for mutant, outcome in zip(batch, found, strict=True):
            if outcome == "survived" and reason(mutant, texts[mutant.source]):
                outcome = "equivalent"
            outcomes.append((mutant, outcome))
            what = f"{' '.join(mutant.before.split())!r} -> {mutant.put!r}"
            print(f"{outcome:10} {mutant.source}:{mutant.line}: {what}")
        print(f"{len(outcomes)} of {len(wanted)}, {time.monotonic() - started:.0f} s", flush=True)
    report(outcomes, texts)


def report(outcomes: list[tuple[Mutant, str]], texts: dict[str, str]) -> None:
    survived = [mutant for mutant, outcome in outcomes if outcome == "survived"]
    rows = []
    for name in texts:
        of = [outcome for mutant, outcome in outcomes if mutant.source == name]
        rows.append(
            {"source": name} | {k: of.count(k) for k in ("killed", "survived", "equivalent", "invalid")}
        )
    details = [
        asdict(mutant) | {"outcome": outcome, "reason": reason(mutant, texts[mutant.source])}
        for mutant, outcome in outcomes
    ]
    (FOLDER / "report.json").write_text(json.dumps({"sources": rows, "mutants": details}, indent=1) + "\n")
    for row in rows:
        counts = ", ".join(f"{row[k]} {k}" for k in ("killed", "survived", "equivalent", "invalid"))
        print(f"{row['source']:14}{counts}")
    killed = sum(row["killed"] for row in rows)
    valid = killed + sum(row["survived"] + row["equivalent"] for row in rows)
    print(f"{killed} of {valid} killed ({100 * killed / max(valid, 1):.1f} %)")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
