"""A worker of torchft's DiLoCo over gloo, as its documentation has it: a lighthouse, a manager per worker,
synchronous quorum. Runs in torchft's own virtual environment.

    python with_torchft.py FOLDER INDEX LIGHTHOUSE
"""

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torchft import Manager, ProcessGroupGloo
from torchft.local_sgd import DiLoCo
from training import OUTER, Training

TIMEOUT = timedelta(seconds=60)  # torchft's default


class InnerOptimizer(torch.optim.Optimizer):
    """Our inner loop in the form that DiLoCo counts steps of: `step(closure)` is one."""

    def __init__(self, params):
        super().__init__(params, {})

    def step(self, closure: Callable[[], None]) -> None:
        closure()


def main(folder: Path, index: int, lighthouse: str) -> None:
    training = Training(folder, index)
    loop, spec = training.loop, training.spec
    model = torch.nn.Module()
    model.flat = torch.nn.Parameter(training.params)  # the same memory as the inner loop's

    def state_dict() -> dict:
        return {"params": training.params, "m": loop.m, "v": loop.v, "step": loop.step}

    def load_state_dict(state: dict) -> None:
        for mine, given in ((training.params, "params"), (loop.m, "m"), (loop.v, "v")):
            mine.copy_(state[given])
        loop.step = state["step"]

    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    manager = Manager(
        pg=ProcessGroupGloo(timeout=TIMEOUT),
        load_state_dict=load_state_dict,
        state_dict=state_dict,
        min_replica_size=1,
        use_async_quorum=False,
        timeout=TIMEOUT,
        rank=0,
        world_size=1,
        store_addr="localhost",
        store_port=store.port,
        lighthouse_addr=lighthouse,
        replica_id=f"worker-{index}",
        hostname="localhost",
        init_sync=False,  # all start from the same weights
    )
    inner = InnerOptimizer(model.parameters())
    outer = torch.optim.SGD(model.parameters(), **OUTER)
    with DiLoCo(manager, [model], inner, outer, sync_every=spec.inner.steps):
        training.wait_for_all()
        for round_ in range(spec.rounds):
            training.events.write("training", round=round_)
            committed = manager.current_step()
            for batch in training.batches(round_):
                inner.step(lambda batch=batch: training.step(batch))  # the last one synchronises
            if manager.current_step() > committed:
                training.events.write("synced", round=round_, replicas=manager.num_participants())
            else:
                training.events.write("discarded", round=round_)
    training.finish(training.params.numpy())
    manager.shutdown(wait=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
