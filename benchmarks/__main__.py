"""Runs the benchmarks: each prints a table and writes benchmarks/results/NAME.json.

    python -m benchmarks                 all of them but the loss grid, which takes hours
    python -m benchmarks outer_step gas  some

Figures are ratios against a floor or a peer that is measured in the same run: machines are shared and noisy.
"""

import argparse
import importlib

NAMES = (
    "outer_step",
    "toploc",
    "fuzz",
    "attacks",
    "zoo",
    "overhead",
    "gas",
    "utilisation",
    "churn",
    "side_by_side",
    "audit",
    "loss",
    "training",
    "honest",
    "cost",
    "verification",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)} (default: all but loss)"
    )
    chosen = parser.parse_args().names or [name for name in NAMES if name != "loss"]
    unknown = set(chosen) - set(NAMES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in chosen:
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
