"""Proves the properties in `contracts/test/symbolic` with halmos: every `check_` function, for all arguments.

    python tools/symbolic.py               all of them, about ten minutes
    python tools/symbolic.py -- --function check_Divide    with halmos' own options

Exit 1 where one fails or is not decided in time. The report goes to contracts/cache/symbolic/report.json.
What is proved for some sizes only says so, and why, where it stands."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from pi_sdk.tools import forge_path
from sources import ROOT, copy, under

FOLDER = ROOT / "contracts" / "cache" / "symbolic"
SECONDS = 120
"""Time for one question to the solver."""


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("options", nargs="*", help="options of halmos")
    args = parser.parse_args()
    copy(FOLDER, *under("contracts/test/symbolic"))
    report = FOLDER / "report.json"
    command = ["halmos", "--root", str(FOLDER), "--forge-build-out", "contracts/out", "--function", "check_"]
    command += ["--solver-timeout-assertion", str(1000 * SECONDS), "--solver", "z3", "--loop", "20"]
    command += ["--solver-timeout-branching", "100"]
    command += ["--json-output", str(report), *args.options]
    # halmos is beside this interpreter or on the caller's path, and looks for forge there too.
    path = [str(Path(sys.executable).parent), str(forge_path().parent), os.environ["PATH"]]
    done = subprocess.run(command, cwd=FOLDER, env=os.environ | {"PATH": os.pathsep.join(path)}, check=False)
    results = {}
    if report.exists():
        for tests in json.loads(report.read_text())["test_results"].values():
            results |= {test["name"].split("(")[0]: test["exitcode"] == 0 for test in tests}
    # halmos ends early when it is interrupted: whatever it has not reported is not proved.
    wanted = set(results) if args.options else properties()
    unproved = sorted(name for name in wanted if not results.get(name))
    print(
        f"{len(wanted) - len(unproved)} of {len(wanted)} proved" + "".join(f"\n  not {n}" for n in unproved)
    )
    sys.exit(bool(unproved) or not wanted or done.returncode != 0)


def properties() -> set[str]:
    """The names of all properties."""
    texts = [(ROOT / path).read_text() for path in under("contracts/test/symbolic")]
    names = [name for text in texts for name in re.findall(r"function (check_\w+)", text)]
    assert len(names) == len(set(names)), "two properties have one name"
    return set(names)


if __name__ == "__main__":
    main()
