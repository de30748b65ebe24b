"""Ten demos with ten seeds, three cheats in turn: each cheat must lose stake, nobody honest may.

    make soak                    about 40 minutes on two cores
    make soak ARGS="--runs 3"
    make soak ARGS="--runs 2 --cheats half-lr withheld"

Prints a table, writes runs/soak/soak.json, and fails when a run breaks a promise.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from pi_sdk.cheats import CHEATS


def broken_promises(summary: dict) -> list[str]:
    """What a finished demo's summary breaks; empty when all is well."""
    broken = []
    for worker in summary["workers"]:
        slashed = int(worker["slashed"])
        if worker["cheat"] and not slashed:
            broken.append(f"the cheat ({worker['cheat']}) lost no stake")
        if not worker["cheat"] and slashed:
            broken.append(f"honest {worker['address']} lost {slashed}")
        if not worker["cheat"] and not worker["checkpoint_hashes_agree"]:
            broken.append(f"honest {worker['address']} computed another checkpoint")
    broken += [f"validator {v['address']} lost stake" for v in summary["validators"] if int(v["slashed"])]
    if not summary["money"]["conserved"]:
        broken.append("money was not conserved")
    losses = [r["val_loss"] for r in summary["rounds"]]
    if not summary["loss"]["last"] < summary["loss"]["unigram_entropy"]:
        broken.append("the loss stayed above the unigram entropy")
    if sum(b >= a for a, b in zip(losses, losses[1:], strict=False)) > 1:
        broken.append("the loss rose in more than one round")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument(
        "--cheats",
        nargs="+",
        metavar="NAME",
        choices=[*CHEATS, "all"],
        default=["half-steps", "copy", "wrong-shard"],
    )
    args = parser.parse_args()
    results = []
    for seed in range(args.runs):
        cheat, out = args.cheats[seed % len(args.cheats)], args.out / f"seed-{seed}"
        started = time.time()
        run = subprocess.run(
            [Path(sys.executable).parent / "pi", "demo", "--seed", str(seed), "--cheat", cheat, "--out", out],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if run.returncode:
            broken, loss = [f"exit code {run.returncode}: {run.stdout[-500:]}"], None
        else:
            summary = json.loads((out / "summary.json").read_text())
            broken, loss = broken_promises(summary), summary["loss"]["last"]
        result = {"seed": seed, "cheat": cheat, "seconds": round(time.time() - started), "last_loss": loss}
        results.append(result | {"broken": broken})
        print(json.dumps(results[-1]), flush=True)
        (args.out / "soak.json").write_text(json.dumps(results, indent=1) + "\n")
    return int(any(r["broken"] for r in results))


if __name__ == "__main__":
    sys.exit(main())
