"""Proves the properties in `contracts/test/symbolic` with halmos: every `check_` function, for all arguments.

    python tools/symbolic.py               all of them, about ten minutes
    python tools/symbolic.py -- --function check_Divide    with halmos' own options

Exit 1 where one fails or is not decided in time. The report goes to contracts/cache/symbolic/report.json.
What is proved here for some sizes only, and why, stands in `contracts/test/symbolic/README.md`."""

import argparse
import json
import os
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
    command += ["--solver-timeout-assertion", str(1000 * SECONDS), "--solver-threads", "2", "--loop", "20"]
    command += ["--json-output", str(report), *args.options]
    # halmos is beside this interpreter or on the caller's path, and looks for forge there too.
    path = [str(Path(sys.executable).parent), str(forge_path().parent), os.environ["PATH"]]
    subprocess.run(command, cwd=FOLDER, env=os.environ | {"PATH": os.pathsep.join(path)}, check=False)
    if not report.exists():
        sys.exit("halmos left no report")
    results = [test for tests in json.loads(report.read_text())["test_results"].values() for test in tests]
    open_ = [test["name"] for test in results if test["exitcode"] != 0]
    print(
        f"{len(results) - len(open_)} of {len(results)} proved"
        + "".join(f"\n  not: {name}" for name in open_)
    )
    sys.exit(bool(open_) or not results)


if __name__ == "__main__":
    main()
