"""`Client`: proofs that a posted result or a revealed norm is wrong. Who makes such a proof has recomputed
the round; these calls only carry it to the contract."""

from collections.abc import Sequence

from .base import Calls, checksum
from .results import Receipt
from .types import Contribution, OuterLeaf, OuterProgress, SumNode


class ProofCalls(Calls):
    def prove_outer_step(
        self, leaf: OuterLeaf, reveals: Sequence[Contribution], excluded: Sequence[str] = ()
    ) -> Receipt:
        """Proves in one transaction that a leaf of a posted result is not what the outer step gives; takes
        the poster's bond. `reveals`: all of the round, in order; `excluded`: the nodes that the close left
        out."""
        return self._write(
            "FraudProofs", "proveOuterStep", leaf.to_abi(), _abi(reveals), _ascending(excluded)
        )

    def continue_outer_step(
        self,
        leaf: OuterLeaf,
        progress: OuterProgress,
        reveals: Sequence[Contribution],
        excluded: Sequence[str] = (),
    ) -> Receipt:
        """Adds further reveals to a proof that needs several transactions. `progress` is what the last one
        left."""
        return self._write(
            "FraudProofs",
            "continueOuterStep",
            leaf.to_abi(),
            progress.to_abi(),
            _abi(reveals),
            _ascending(excluded),
        )

    def finish_outer_step(
        self, leaf: OuterLeaf, progress: OuterProgress, excluded: Sequence[str] = ()
    ) -> Receipt:
        """Ends such a proof once all reveals were seen."""
        return self._write(
            "FraudProofs", "finishOuterStep", leaf.to_abi(), progress.to_abi(), _ascending(excluded)
        )

    def prove_norm(
        self,
        pool_id: int,
        round: int,
        reveals: Sequence[Contribution],
        accused: int,
        top: bytes,
        top_sum: int,
        path: Sequence[SumNode] = (),
        go_left: Sequence[bool] = (),
        chunk: bytes = b"",
    ) -> Receipt:
        """Proves that the norm of `reveals[accused]` is not that of its update, by the path from the root
        (`top`, `top_sum`) down to where the sums do not fit; `IFraudProofs.proveNorm` has the details."""
        return self._write(
            "FraudProofs",
            "proveNorm",
            pool_id,
            round,
            _abi(reveals),
            accused,
            top,
            top_sum,
            _abi(path),
            list(go_left),
            chunk,
        )

    def outer_step_progress(self, pool_id: int, round: int, finder: str | None = None) -> bytes:
        """Hash of an unfinished proof of `finder` (default: own); zero bytes when there is none."""
        return self._read("FraudProofs", "progressOf", self._own(finder), pool_id, round)


def _abi(parts: Sequence[Contribution] | Sequence[SumNode]) -> list[tuple]:
    return [part.to_abi() for part in parts]


def _ascending(nodes: Sequence[str]) -> list[str]:
    return sorted((checksum(node) for node in nodes), key=lambda node: int(node, 16))
