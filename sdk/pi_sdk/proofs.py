"""`Client`: proofs that a posted result or a revealed norm is wrong. They are built from files
(`pi_train/fraud.py`), as plain tuples in the order of the structs in `interfaces/IFraudProofs.sol`; these
calls only carry them to the contract."""

from collections.abc import Sequence

from .base import Calls
from .results import Receipt

NO_PROGRESS = (bytes(32), 0, 0, 0, 0, 0, False, [0] * 256)
"""The `Progress` before the first transaction of a proof that needs several."""


class ProofCalls(Calls):
    def prove_outer_step(self, leaf: tuple, reveals: Sequence[tuple], excluded: Sequence[str]) -> Receipt:
        """Proves in one transaction that a `Leaf` of a posted result is not what the outer step gives, and
        takes the poster's bond. `reveals`: a `Contribution` per reveal of the round, in order; `excluded`:
        the nodes that the close left out, ascending."""
        return self._write("FraudProofs", "proveOuterStep", leaf, list(reveals), list(excluded))

    def continue_outer_step(
        self, leaf: tuple, progress: tuple, reveals: Sequence[tuple], excluded: Sequence[str]
    ) -> Receipt:
        """Adds further reveals to such a proof in several transactions. `progress` is the `Progress` that the
        last one left, `NO_PROGRESS` for the first."""
        return self._write("FraudProofs", "continueOuterStep", leaf, progress, list(reveals), list(excluded))

    def finish_outer_step(self, leaf: tuple, progress: tuple, excluded: Sequence[str]) -> Receipt:
        """Ends it once all reveals are in."""
        return self._write("FraudProofs", "finishOuterStep", leaf, progress, list(excluded))

    def prove_norm(self, norm: tuple, reveals: Sequence[tuple]) -> Receipt:
        """Proves that a revealed norm is not that of its update, by a `Norm`, the way from the update's root
        down to where the sums do not fit; convicts the node. `reveals`: all of the round, without chunks."""
        return self._write("FraudProofs", "proveNorm", norm, list(reveals))

    def outer_step_progress(self, pool_id: int, round: int, finder: str | None = None) -> bytes:
        """Hash of an unfinished proof of `finder` (default: own); zero bytes when there is none."""
        return self._read("FraudProofs", "progressOf", self._own(finder), pool_id, round)
