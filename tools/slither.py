"""Runs slither on the contracts; every high or medium finding is fixed, or has its reason here.

    python tools/slither.py        exit 1 on a finding without a reason, and on a reason without a finding
    python tools/slither.py -v     prints the low ones too

slither reads a copy in `contracts/cache`: version 0.11.6 fails on a file-level constant as an array's length,
so the ring's length stands there as a number."""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import sources
from pi_sdk.tools import forge_path
from sources import ROOT

COPY = ROOT / "contracts" / "cache" / "slither"
RING = 16

NOT_RUN = {
    "uninitialized-local": "Solidity sets every local to zero, and the house style does not say it again.",
}

OWN_MODULES = (
    "Called are the protocol's own contracts, set in the constructor. What they do there calls no token and "
    "no account, so nobody else's code runs in between."
)
REASONS = {
    ("incorrect-shift", "OuterLib._store"): "shl(shl(3, size), 1) is 1 << 8 * size, as it should be.",
    ("incorrect-equality", "Rewards.fund"): "The exact delta is the point: a token with a fee must fail.",
    (
        "incorrect-equality",
        "StakeManager._stake",
    ): "The exact delta is the point: a token with a fee must fail.",
    ("reentrancy-no-eth", "Court._openCase"): OWN_MODULES,
    ("reentrancy-no-eth", "Court._finish"): OWN_MODULES,
    ("reentrancy-no-eth", "Court.revealVerdicts"): OWN_MODULES,
    ("unused-return", "Rewards.fund"): "Called because it reverts for an unknown pool.",
    ("unused-return", "RoundLedger.openRound"): "The court has told the rewards what it released.",
    ("unused-return", "FraudProofs._hasWrongSum"): "A norm is of all chunks, wherever they begin.",
    ("divide-before-multiply", "DctLib.inverse"): "Binomials: each division leaves no rest.",
    ("divide-before-multiply", "OuterLib.fragmentSize"): "A fragment is a whole number of units.",
    ("divide-before-multiply", "OuterLib.guarded"): "The rule is in integers, divisions that round included.",
}


def copy_sources() -> None:
    """The sources, the compiler and forge's settings, in a folder of their own."""
    sources.copy(COPY, *sources.under("contracts/src"))
    for path in (COPY / "contracts" / "src").rglob("*.sol"):
        path.write_text(path.read_text().replace("[RING]", f"[{RING}]"))


def run() -> list[dict]:
    """slither's findings."""
    report = COPY / "report.json"
    command = ["slither", ".", "--filter-paths", "node_modules", "--exclude", ",".join(NOT_RUN)]
    command += [
        "--exclude-informational",
        "--exclude-optimization",
        "--no-fail-pedantic",
        "--json",
        str(report),
    ]
    # slither is beside this interpreter or on the caller's path, and looks for forge there too.
    path = [str(Path(sys.executable).parent), str(forge_path().parent), os.environ["PATH"]]
    environment = os.environ | {"PATH": os.pathsep.join(path)}
    done = subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True)
    if not report.exists():
        sys.exit(done.stdout + done.stderr)
    return json.loads(report.read_text())["results"].get("detectors", [])


def place(finding: dict) -> str:
    """Contract.function that a finding is about."""
    names: Iterator[str] = (
        f"{element['type_specific_fields']['parent']['name']}.{element['name']}"
        for element in finding["elements"]
        if element["type"] == "function"
    )
    return next(names, re.split(r"[( ]", finding["description"])[0])


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("-v", "--verbose", action="store_true", help="print low findings too")
    args = parser.parse_args()
    copy_sources()
    unused = set(REASONS)
    failed = False
    counts = {"High": 0, "Medium": 0, "Low": 0}
    for finding in run():
        counts[finding["impact"]] += 1
        if finding["impact"] == "Low":
            if args.verbose:
                print("Low", finding["check"], finding["description"])
            continue
        key = (finding["check"], place(finding))
        unused.discard(key)
        reason = REASONS.get(key)
        print(finding["impact"], *key, "-", reason or "NO REASON")
        if reason is None:
            print(finding["description"])
            failed = True
    for key in sorted(unused):
        print("A reason without a finding:", *key)
    print(", ".join(f"{count} {impact}" for impact, count in counts.items()))
    sys.exit(failed or bool(unused))


if __name__ == "__main__":
    main()
