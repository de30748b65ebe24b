"""A worker of DiLoCo over hivemind's DecentralizedAverager, the way OpenDiLoCo went: pseudo-gradients are
averaged, the outer SGD runs in each worker. Runs in hivemind's own virtual environment.

    python with_hivemind.py FOLDER INDEX WORKERS
"""

import sys
import time
from pathlib import Path

import torch
from hivemind import DHT, DecentralizedAverager
from training import OUTER, Training

TIMEOUT = 60
"""Seconds after which a worker goes on alone."""


def join(folder: Path, index: int) -> DHT:
    """The first worker's hash table is where the others begin."""
    place, peers = folder / "peers", None
    while index and not place.exists():
        time.sleep(0.05)
    if index:
        peers = place.read_text().split()
    dht = DHT(initial_peers=peers, host_maddrs=["/ip4/127.0.0.1/tcp/0"], start=True)
    if not index:
        draft = folder / "peers.draft"
        draft.write_text("\n".join(map(str, dht.get_visible_maddrs())))
        draft.rename(place)
    return dht


def main(folder: Path, index: int, workers: int) -> None:
    training = Training(folder, index)
    dht = join(folder, index)
    averager = DecentralizedAverager(
        [torch.zeros_like(training.params)],
        dht,
        start=True,
        prefix="pseudo_gradient",
        target_group_size=workers,
    )
    outer_params = torch.nn.Parameter(training.params.clone())
    outer = torch.optim.SGD([outer_params], **OUTER)
    training.wait_for_all()
    for round_ in range(training.spec.rounds):
        training.events.write("training", round=round_)
        for batch in training.batches(round_):
            training.step(batch)
        with averager.get_tensors() as (delta,):
            delta.copy_(outer_params.detach() - training.params)
        group = averager.step(timeout=TIMEOUT)
        with averager.get_tensors() as (delta,):
            outer_params.grad = delta.clone()
        outer.step()
        training.params.copy_(outer_params.detach())
        event = "alone" if group is None else "synced"
        training.events.write(event, round=round_, replicas=len(group or ()))
    training.finish(training.params.numpy())
    averager.shutdown()
    dht.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
