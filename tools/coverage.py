"""Line and branch coverage of the contracts by their Solidity tests, from a copy that is compiled for it.

    python tools/coverage.py        a table, and exit 1 where a total is below 95 %
    python tools/coverage.py --missing   also the lines and branches that no test reaches

The invariant campaign and the traces of the model are left out: what counts is what a unit test reaches on
purpose. The report goes to contracts/cache/coverage/lcov.info."""

import argparse
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pi_sdk.tools import forge_path
from sources import ROOT, copy, under

FOLDER = ROOT / "contracts" / "cache" / "coverage"
REPORT = FOLDER / "lcov.info"
LEAST = 95.0


@dataclass
class Hits:
    """Of one source: times that each line and each (line, branch) was reached."""

    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[tuple[int, ...], int] = field(default_factory=dict)


def measure() -> dict[str, Hits]:
    copy(FOLDER, *under("contracts/src"), *under("contracts/test"), *under("contracts/script"))
    (FOLDER / "tests").symlink_to(ROOT / "tests")
    shutil.rmtree(FOLDER / "contracts" / "test" / "symbolic")
    command = [str(forge_path()), "coverage", "--root", str(FOLDER), "--exclude-tests"]
    command += ["--no-match-path", "*/{invariant,model,gas}/*", "--no-match-test", "Gas|FitsTheLimit"]
    command += ["--report", "lcov", "--report-file", REPORT]
    environment = os.environ | {"PI_COVERAGE": "true", "FOUNDRY_FUZZ_RUNS": "32"}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return read(REPORT.read_text())


def read(report: str) -> dict[str, Hits]:
    """The sources of an lcov report."""
    found: dict[str, Hits] = defaultdict(Hits)
    name = ""
    for line in report.splitlines():
        kind, _, rest = line.partition(":")
        words = rest.split(",")
        if kind == "SF":
            name = rest
        elif kind == "DA":
            found[name].lines[int(words[0])] = int(words[1])
        elif kind == "BRDA":
            *where, times = words
            found[name].branches[tuple(map(int, where))] = 0 if times == "-" else int(times)
    return {path: hits for path, hits in sorted(found.items()) if path.startswith("contracts/src/")}


def share(hits: list[int]) -> float:
    return 100 * sum(n > 0 for n in hits) / len(hits) if hits else 100.0


def table(found: dict[str, Hits]) -> Iterator[tuple[str, list[int], list[int]]]:
    for path, hits in found.items():
        yield path.removeprefix("contracts/src/"), [*hits.lines.values()], [*hits.branches.values()]
    lines = [n for hits in found.values() for n in hits.lines.values()]
    branches = [n for hits in found.values() for n in hits.branches.values()]
    yield "all", lines, branches


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--missing", action="store_true", help="say what no test reaches")
    args = parser.parse_args()
    found = measure()
    print(f"{'source':34}{'lines':>14}{'branches':>16}")
    low = False
    for name, lines, branches in table(found):
        low = name == "all" and min(share(lines), share(branches)) < LEAST
        print(f"{name:34}{_cell(lines):>14}{_cell(branches):>16}")
    for path, hits in found.items() if args.missing else ():
        text = (ROOT / path).read_text().splitlines()
        for number in sorted({n for n, times in hits.lines.items() if not times}):
            print(f"{path}:{number}: {text[number - 1].strip()}")
        for number in sorted({where[0] for where, times in hits.branches.items() if not times}):
            print(f"{path}:{number}: branch of {text[number - 1].strip()}")
    sys.exit(low)


def _cell(hits: list[int]) -> str:
    return f"{sum(n > 0 for n in hits)}/{len(hits)} {share(hits):5.1f} %" if hits else "-"


if __name__ == "__main__":
    main()
