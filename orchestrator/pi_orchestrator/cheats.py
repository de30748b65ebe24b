"""A close that lies, for research: what a run does about it must be seen."""

from dataclasses import replace

from pi_train.outer import Checkpoint


def wrong_close(checkpoint: Checkpoint) -> Checkpoint:
    """The result with its first parameter moved by one unit. `aggregate.py` posts it once, for round 0."""
    theta = checkpoint.theta.copy()
    theta[0] ^= 1
    return replace(checkpoint, theta=theta)
