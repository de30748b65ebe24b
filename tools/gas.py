"""Gas of every operation, measured by `contracts/test/gas` and kept in `contracts/snapshots/gas.json`.

    python tools/gas.py            measure and write
    python tools/gas.py --check    measure and compare; exit 1 where a figure is another

A figure is a whole transaction: 21,000 and its calldata are in, refunds are out. "first" is an account's or a
pool's first use of an operation, "steady" a later one, for rounds once the ring has gone round.
`tests/contracts/test_gas.py` runs the check. `contracts/snapshots/README.md` says what costs what."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from pi_sdk.tools import forge_path

ROOT = Path(__file__).resolve().parents[1]
RAW = ROOT / "contracts" / "cache" / "gas" / "gas.json"
SNAPSHOT = ROOT / "contracts" / "snapshots" / "gas.json"

Snapshot = dict[str, dict[str, int]]

CEILINGS: Snapshot = {
    "stake": {"first": 75_000, "steady": 58_000},
    "unbond": {"first": 65_000, "steady": 45_000},
    "withdraw": {"first": 60_000, "steady": 60_000},
    "commit": {"first": 52_000, "steady": 40_000},
    "reveal": {"first": 80_000, "steady": 54_000},
    "open + close, 1 worker": {"first": 190_000, "steady": 190_000},
    "open + close, 16 workers": {"first": 190_000, "steady": 190_000},
    "open + close, 1000 workers": {"first": 190_000, "steady": 190_000},
    "claim": {"first": 62_000, "steady": 62_000},
    "commit verdicts": {"first": 52_000, "steady": 36_000},
    "slash a lock": {"first": 90_000, "steady": 90_000},
    "slash execution (resolve a case)": {"first": 90_000, "steady": 90_000},
    "prove outer step, 16 sparse updates": {"first": 600_000, "steady": 600_000},
    "prove outer step, 32 trimmed updates": {"first": 1 << 24, "steady": 1 << 24},  # EIP-7825
}
"""What we hold ourselves to. A miss does not fail the check: the README beside the figures has its reason."""


def measure() -> Snapshot:
    """Runs the gas tests alone; returns {operation: {"first": gas, "steady": gas}}."""
    RAW.unlink(missing_ok=True)
    folder = {"FOUNDRY_TEST": "contracts/test/gas"}
    done = subprocess.run(
        [str(forge_path()), "test", "--root", str(ROOT)],
        env=os.environ | folder,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    figures: Snapshot = {}
    for name, gas in sorted(json.loads(RAW.read_text()).items()):
        operation, when = name.rsplit("/", 1)
        figures.setdefault(operation, {})[when] = int(gas)
    incomplete = [operation for operation, gas in figures.items() if set(gas) != {"first", "steady"}]
    assert not incomplete, f"first or steady was not measured: {incomplete}"
    return figures


def drift(figures: Snapshot, kept: Snapshot) -> list[str]:
    """One line per figure that is not the kept one."""
    return [
        f"{operation}, {when}: {kept.get(operation, {}).get(when)} -> {figures.get(operation, {}).get(when)}"
        for operation in sorted({*figures, *kept})
        for when in ("first", "steady")
        if kept.get(operation, {}).get(when) != figures.get(operation, {}).get(when)
    ]


def table(figures: Snapshot) -> str:
    lines = [f"{'operation':38}{'first':>10}{'ceiling':>10}{'steady':>10}{'ceiling':>10}"]
    for operation, gas in figures.items():
        limits = CEILINGS.get(operation, {})
        line = f"{operation:38}"
        for when in ("first", "steady"):
            limit = limits.get(when)
            line += f"{gas[when]:>10,}{f'{limit:,}' if limit else '':>10}"
        over = any(gas[when] > limit for when, limit in limits.items())
        lines.append(line + (" over" if over else ""))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    figures = measure()
    if not args.check:
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(json.dumps(figures, indent=2) + "\n")
        print(table(figures))
        return
    changed = drift(figures, json.loads(SNAPSHOT.read_text()))
    if changed:
        sys.exit("\n".join([*changed, "gas changed: run python tools/gas.py and look at the difference"]))


if __name__ == "__main__":
    main()
