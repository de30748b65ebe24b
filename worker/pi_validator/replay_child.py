"""The replay process itself: `python -m pi_validator.replay_child FD`, started by `replay_process.py`.

It ends when its parent does. It reads blobs by hash from folders, so its input is bytes and JSON; its memory
is bounded once torch is loaded. Whatever goes wrong on this side is answered as an error, which the parent
never takes for a verdict.
"""

import json
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CHECKPOINTS_KEPT = 2
REASON_CHARACTERS = 500


@dataclass
class Replayer:
    """State of a running child: the run's spec, its corpus, and the checkpoints of the latest audits."""

    spec: Any
    corpus: Any
    class_id: str
    checkpoints: OrderedDict = field(default_factory=OrderedDict)
    calibrator: Any = None

    def answer(self, request: dict) -> dict:
        operations = {
            "audit": self.audit,
            "screen": self.screen,
            "evaluate": self.evaluate,
            "calibrate": self.calibrate,
        }
        return operations[request["op"]](request)

    def checkpoint(self, folder: str, file: str, root: str):
        """The checkpoint in blob `file` of a folder, which must have `root`; parsed once."""
        from pi_sdk.store import LocalStore
        from pi_train.outer import Checkpoint, checkpoint_bytes

        if file not in self.checkpoints:
            shape = self.spec.checkpoint_shape
            data = LocalStore(Path(folder)).get(file, checkpoint_bytes(*shape))
            checkpoint = Checkpoint.from_bytes(data, *shape)
            if checkpoint.root().hex() != root:
                raise ValueError(f"checkpoint file {file} does not have the root {root} that is on chain")
            self.checkpoints[file] = checkpoint
            while len(self.checkpoints) > CHECKPOINTS_KEPT:
                self.checkpoints.popitem(last=False)
        self.checkpoints.move_to_end(file)
        return self.checkpoints[file]

    def audit(self, request: dict) -> dict:
        """Judges one slot. Request: folder, checkpoint, root (of C_r); data_root; evidence (folder), update
        (sha256); node, round, reveal, seed, validator.
        """
        from pi_sdk.errors import BlobCorrupt, StoreError
        from pi_sdk.store import LocalStore
        from pi_sdk.types import Reveal
        from pi_train.codecs import max_update_bytes
        from pi_train.replay import audit_slot

        reveal = Reveal.from_abi(
            tuple(bytes.fromhex(v) if isinstance(v, str) else v for v in request["reveal"])
        )
        evidence = LocalStore(Path(request["evidence"]))
        damaged = []

        def fetch(sha256: str, max_bytes: int) -> bytes:
            try:
                return evidence.get(sha256, max_bytes)
            except BlobCorrupt:
                damaged.append(sha256)
                raise

        try:
            update = fetch(
                request["update"],
                max_update_bytes(self.spec.codec, self.spec.update_values(request["round"])),
            )
        except StoreError:
            update = None
        report = audit_slot(
            self.spec,
            self.corpus,
            self.checkpoint(request["folder"], request["checkpoint"], request["root"]),
            node=request["node"],
            round_=request["round"],
            reveal=reveal,
            seed=bytes.fromhex(request["seed"]),
            update=update,
            fetch=fetch,
            validator=request["validator"],
            class_id=self.class_id,
            data_root=bytes.fromhex(request["data_root"]),
        )
        if damaged:
            raise RuntimeError(f"this validator's own copy of {damaged[0]} is damaged")
        return {
            "outcome": int(report.outcome),
            "reasons": [str(reason)[:REASON_CHARACTERS] for reason in report.reasons[:16]],
            "digest": report.digest.hex(),
            "worst_error": report.worst_error,
            "limit": report.limit,
            "bitwise": report.bitwise,
            "seconds": report.seconds,
        }

    def screen(self, request: dict) -> dict:
        """Compares the updates of a round, and tests the loss of the first `tests` slots while `seconds` are
        not over. Request: folder, checkpoint, root (of C_r); data_root; updates (folder), slots [[node,
        update (sha256), width]]; round, seed, tests, sequences, seconds.

        Answers {"beside": {node: fields of `screens.Beside`}, "gains": {node: those of `screens.Gain`}};
        malformed updates are in neither.
        """
        from pi_sdk.errors import MalformedArtifact
        from pi_sdk.store import LocalStore
        from pi_train.codecs import UpdateFile, max_update_bytes
        from pi_train.evaluate import sequence_loss
        from pi_train.screens import Gauntlet, beside

        until, spec, seed = time.monotonic() + request["seconds"], self.spec, bytes.fromhex(request["seed"])
        n, folder = spec.update_values(request["round"]), LocalStore(Path(request["updates"]))
        updates = {}
        for node, file, width in request["slots"]:
            try:
                data = folder.get(file, max_update_bytes(spec.codec, n))
                updates[node] = UpdateFile(spec.codec, data, n), width
            except MalformedArtifact:
                continue
        if not updates:
            return {"beside": {}, "gains": {}}
        files = [update for update, _ in updates.values()]
        checkpoint = self.checkpoint(request["folder"], request["checkpoint"], request["root"])
        gauntlet = Gauntlet(
            spec,
            self.corpus,
            sequence_loss(spec, checkpoint, self.corpus.files),
            checkpoint,
            files,
            round_=request["round"],
            data_root=bytes.fromhex(request["data_root"]),
            seed=seed,
            sequences=request["sequences"],
        )
        gains = {}
        for place, (node, (_, width)) in enumerate(updates.items()):
            if place == request["tests"] or time.monotonic() > until:
                break
            gains[node] = vars(gauntlet.gain(place, node, width))
        seen = beside(spec.codec, files, seed)
        return {"beside": dict(zip(updates, map(vars, seen), strict=True)), "gains": gains}

    def evaluate(self, request: dict) -> dict:
        """Validation loss (nats per token) of a checkpoint on a fixed set of windows."""
        from pi_train.evaluate import validation_loss

        checkpoint = self.checkpoint(request["folder"], request["checkpoint"], request["root"])
        return {"loss": validation_loss(self.spec, checkpoint, self.corpus)}

    def calibrate(self, request: dict) -> dict:
        """One step of `calibrate.py`, about the slot in folder `slot`: "train" it, the next one of this class
        (round; folder, checkpoint, root of the first checkpoint), train a `segment` as each "cheat" would, or
        "measure" both.
        """
        from pi_train.calibration import Calibrator

        if self.calibrator is None:
            first = self.checkpoint(request["folder"], request["checkpoint"], request["root"])
            self.calibrator = Calibrator(self.spec, self.corpus, self.class_id, first)
        calibrator, slot = self.calibrator, Path(request["slot"])
        if request["do"] == "train":
            if calibrator.round != request["round"]:
                raise ValueError("a replay process that was started again cannot go on with a calibration")
            calibrator.train(slot)
            return {}
        if request["do"] == "cheat":
            return {"cheats": calibrator.cheat(slot, request["segment"])}
        return calibrator.measure(slot, request["segment"], request["cheats"])


def start(config: dict) -> Replayer:
    """Pins the class, loads torch, the corpus and all code that requests need, then bounds the memory."""
    from pi_sdk.errors import BlobNotFound
    from pi_sdk.types import DeterminismClass, RunSpec
    from pi_train import determinism

    cls = DeterminismClass(**config["class"])
    determinism.pin(cls)
    import pi_train.evaluate
    import pi_train.replay
    import pi_train.screens  # noqa: F401
    from pi_train.data import load_corpus
    from pi_train.model import check

    def cached_only(sha256: str, max_bytes: int) -> bytes:
        raise BlobNotFound(f"shard {sha256} is not in the cache")

    spec = RunSpec.model_validate_json(Path(config["run_spec"]).read_bytes())
    check(spec.model)  # loads its library too
    corpus = load_corpus(spec, cached_only, Path(config["corpus"]))
    if cls.device == "cpu":
        # Private writable memory, which is what a hostile artifact could make grow; the GPU driver reserves
        # too much of it for such a bound to mean anything.
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        limit = int(fields["VmData"].split()[0]) * 1024 + config["memory"]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    return Replayer(spec, corpus, cls.id)


def main(fd: int) -> None:
    """Answers requests until the parent closes the pipe."""
    from pi_sdk.errors import SpecMismatch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(fd)
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        # In a thread of its own, so that a replay does not go on for a parent that is gone.
        while True:
            try:
                inbox.put(pipe.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)

    threading.Thread(target=listen, daemon=True).start()

    def reply(answer: dict) -> None:
        pipe.send_bytes(json.dumps(answer).encode())

    try:
        replayer = start(json.loads(inbox.get()))
    except SpecMismatch as error:
        return reply({"mismatch": str(error)})
    except Exception as error:
        traceback.print_exc()
        return reply({"error": f"{type(error).__name__}: {error}"})
    reply({"ready": True})
    while True:
        request = json.loads(inbox.get())
        try:
            answer = replayer.answer(request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]}
        reply(answer)


if __name__ == "__main__":
    main(int(sys.argv[1]))
