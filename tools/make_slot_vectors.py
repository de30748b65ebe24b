"""Writes tests/vectors/slots/CPU.zip: a slot that this machine trained, for tests to audit on other machines.

Holds what a node reveals and serves of round 0 of the tests' tiny run, in the class that this machine takes:
`reveal.json`, `update`, and the evidence, each under its sha256.
Run: PYTHONPATH=tests python tools/make_slot_vectors.py
"""

import json
import platform
import re
import tempfile
import zipfile
from pathlib import Path

from pi_sdk.codec import ZERO, sha256
from pi_sdk.types import Reveal
from pi_train import determinism

OUT = Path(__file__).resolve().parents[1] / "tests" / "vectors" / "slots"


def cpu() -> str:
    """The CPU's name, e.g. "AMD EPYC"."""
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def main() -> None:
    cls = determinism.default_class()
    determinism.pin(cls)
    from train.tiny_run import TinyRun

    with tempfile.TemporaryDirectory() as folder:
        run = TinyRun(Path(folder) / "run")
        slot = run.first
        reveal = Reveal(
            salt=bytes(32),
            start_root=run.genesis.root(),
            update_root=slot.update_root,
            trace_root=slot.trace_root,
            state_in=ZERO,
            state_out=slot.state_out,
            norm=slot.norm,
            width=1,
        )
        borders = run.folder / "SlotRun" / "0"
        evidence = [slot.trace, *(path.read_bytes() for path in sorted(borders.glob("[1-9]*.bin")))]
        name = "-".join(re.findall(r"[a-z0-9]+", f"{cpu()} {cls.id}".lower()))
        OUT.mkdir(exist_ok=True)
        with zipfile.ZipFile(OUT / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            fields = {k: v.hex() if isinstance(v, bytes) else v for k, v in reveal.model_dump().items()}
            archive.writestr("reveal.json", json.dumps(fields))
            archive.writestr("update", slot.update)
            for blob in evidence:
                archive.writestr(sha256(blob).hex(), blob)
    print(OUT / f"{name}.zip")


if __name__ == "__main__":
    main()
