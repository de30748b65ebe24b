"""A worker of this engine without the chain: update files over HTTP, and the integer outer step.

python with_updates.py FOLDER INDEX COORDINATOR
"""

import sys
from pathlib import Path

import httpx
from pi_train import determinism
from pi_train.codecs import UpdateFile
from pi_train.fixed import to_fp32
from pi_train.outer import outer_step
from training import Worker


def main(folder: Path, index: int, coordinator: str) -> None:
    worker = Worker(folder, index)
    spec, checkpoint, state = worker.spec, worker.genesis, None
    determinism.pin(worker.cls)
    from pi_train.slot import train_slot

    with httpx.Client(base_url=coordinator, timeout=600) as http:
        worker.wait_for_all()
        for round_ in range(spec.rounds):

            def trained(done: int, loss: float, round_=round_) -> None:
                if done == spec.inner.steps:
                    worker.events.write("trained", round=round_)

            worker.events.write("training", round=round_)
            result = train_slot(
                spec,
                worker.corpus,
                checkpoint,
                node=worker.node,
                round_=round_,
                width=1,
                state=state,
                class_id=worker.cls.id,
                borders=worker.home / "borders",
                data_root=worker.draws_from,
                progress=trained,
            )
            sent = http.put(f"/{round_}/{worker.node}", content=result.update)
            if sent.status_code == httpx.codes.CONFLICT:  # late: this work counts for nothing
                worker.events.write("late", round=round_)
            else:
                sent.raise_for_status()
                worker.events.write("sent", round=round_)
                state = result.state
            included = http.get(f"/{round_}").raise_for_status().json()  # answers when the round is closed
            files = {worker.node: result.update}  # its own needs no download
            for other in set(included) - files.keys():
                files[other] = http.get(f"/{round_}/{other}").raise_for_status().content
            updates = [(UpdateFile(spec.codec, files[n], spec.update_values(round_)), 1) for n in included]
            checkpoint = outer_step(spec, checkpoint, updates, round_)
            worker.events.write("synced", round=round_, replicas=len(included), root=checkpoint.root())
    worker.finish(to_fp32(checkpoint.theta, spec.frac_bits))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
