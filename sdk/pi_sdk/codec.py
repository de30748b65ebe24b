"""The only place where bytes that are hashed or signed are defined. No numpy, no I/O.

On-chain hashes (keccak256 over ABI encoding) are mirrored by `contracts/src/libraries/Hashes.sol`; both pass
`tests/vectors/hashes.json`. Off-chain trees are sha256, which the EVM has as a precompile.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import rfc8785
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from pydantic import BaseModel, ValidationError

from .errors import MalformedArtifact
from .types import Reveal, RunSpec

ZERO = bytes(32)
PROOF_BYTES = 258
"""One activation proof in TOPLOC's wire format: modulus u16, then 128 coefficients u16, big-endian."""
PROOF_TOKENS = 32

# --- plain hashes -------------------------------------------------------------------------------------------


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


def canonical_json(value: BaseModel | dict | list) -> bytes:
    """RFC 8785 bytes."""
    return rfc8785.dumps(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)


def run_spec_hash(spec: RunSpec) -> bytes:
    """sha256 of the canonical JSON: the pool's `runSpecHash`, and the spec's name in the store."""
    return sha256(canonical_json(spec))


def parse_run_spec(data: bytes) -> RunSpec:
    """A stranger's RunSpec from its JSON, one that has a hash. `MalformedArtifact`."""
    try:
        spec = RunSpec.model_validate_json(data)
        canonical_json(spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:100]
        raise MalformedArtifact(
            f"not a RunSpec that this version can read: {where}: {first['msg'][:200]}"
        ) from None
    except rfc8785.CanonicalizationError as error:  # numbers that JSON cannot carry everywhere
        raise MalformedArtifact(f"a RunSpec without a canonical form: {error}") from None
    return spec


# --- Merkle trees -------------------------------------------------------------------------------------------
# Leaves are hashed as sha256(0x00 | leaf), inner nodes as sha256(0x01 | left | right). A tree is padded on
# the right with 32 zero bytes (in the place of a leaf's hash) up to a power of two, so that the length of a
# proof depends on the count alone.

_EMPTY_LEVELS = [ZERO]


def _empty(level: int) -> bytes:
    while len(_EMPTY_LEVELS) <= level:
        _EMPTY_LEVELS.append(sha256(b"\x01" + _EMPTY_LEVELS[-1] * 2))
    return _EMPTY_LEVELS[level]


def leaf_hash(leaf: bytes | memoryview) -> bytes:
    return hashlib.sha256(b"\x00" + bytes(leaf)).digest()


def _parents(nodes: list[bytes], level: int) -> list[bytes]:
    """The level above `nodes`, which gains its padding node where their number is odd."""
    if len(nodes) % 2:
        nodes = [*nodes, _empty(level)]
    return [
        hashlib.sha256(b"\x01" + left + right).digest()
        for left, right in zip(nodes[::2], nodes[1::2], strict=True)
    ]


def merkle_level(leaves: Iterable[bytes | memoryview], height: int) -> list[bytes]:
    """The nodes that stand `height` levels above the leaves, each over 2^height of them; the last one over
    what is left, and padding. They lead to the root by `merkle_top` where there are more leaves than one node
    covers."""
    nodes = [leaf_hash(leaf) for leaf in leaves]
    for level in range(height):
        nodes = _parents(nodes, level)
    return nodes


def merkle_top(nodes: Sequence[bytes], height: int) -> bytes:
    """The root over the two or more nodes of `merkle_level`."""
    row, level = list(nodes), height
    while len(row) > 1:
        row = _parents(row, level)
        level += 1
    return row[0]


def merkle_root(leaves: Iterable[bytes | memoryview]) -> bytes:
    """Root over leaves (raw bytes). The root of no leaves is 32 zero bytes."""
    nodes = [leaf_hash(leaf) for leaf in leaves]
    level = 0
    while len(nodes) > 1:
        nodes = _parents(nodes, level)
        level += 1
    return nodes[0] if nodes else ZERO


def merkle_proof(leaves: Iterable[bytes | memoryview], index: int) -> list[bytes]:
    """Siblings on the way from leaf `index` up to the root; ceil(log2(leaves)) of them."""
    nodes = [leaf_hash(leaf) for leaf in leaves]
    siblings: list[bytes] = []
    while len(nodes) > 1:
        level = len(siblings)
        beside = index >> level ^ 1
        siblings.append(nodes[beside] if beside < len(nodes) else _empty(level))
        nodes = _parents(nodes, level)
    return siblings


_SumNode = tuple[bytes, int]


def _sum_levels(leaves: Iterable[tuple[bytes, int]]) -> list[list[_SumNode]]:
    """Nodes of a Merkle-sum tree, level by level, from the padded leaves up to its one top node."""
    nodes = [(leaf_hash(chunk), total) for chunk, total in leaves]
    while len(nodes) & (len(nodes) - 1):
        nodes.append((ZERO, 0))
    levels = [nodes]
    while len(nodes) > 1:
        nodes = [
            (sha256(b"\x01" + a + x.to_bytes(16) + b + y.to_bytes(16)), x + y)
            for (a, x), (b, y) in zip(nodes[::2], nodes[1::2], strict=True)
        ]
        levels.append(nodes)
    return levels


def merkle_sum_root(leaves: Iterable[tuple[bytes, int]]) -> tuple[bytes, int]:
    """Merkle-sum root over (encoded chunk, sum of squares of its decoded values), and the total.

    A node is (hash, sum); an inner hash is sha256(0x01 | left hash | left sum | right hash | right sum), sums
    as 16 bytes big-endian; padding nodes are (zero bytes, 0) at leaf level. The root is sha256(0x02 | top
    hash | top sum), so that it binds the total, whose integer square root is the update's norm.
    """
    top = _sum_levels(leaves)[-1]
    if not top:
        return ZERO, 0
    ((node, total),) = top
    return sha256(b"\x02" + node + total.to_bytes(16)), total


def merkle_sum_proof(leaves: Iterable[tuple[bytes, int]], index: int) -> list[tuple[bytes, int]]:
    """Siblings (hash, sum) on the way from chunk `index` up to the top node; ceil(log2(chunks)) of them."""
    return [nodes[index >> level ^ 1] for level, nodes in enumerate(_sum_levels(leaves)[:-1])]


# --- hashes that the contracts compute too ------------------------------------------------------------------


def _domain(name: str, version: int = 1) -> bytes:
    return keccak(text=f"pi-protocol/{name}/{version}")


def commitment_hash(
    chain_id: int, ledger: str, pool_id: int, round_: int, node: str, opened: Reveal
) -> bytes:
    """`Hashes.commitment`: what a node stores on chain before anybody can see its update."""
    return keccak(
        encode(
            [
                "bytes32",
                "uint256",
                "address",
                "uint256",
                "uint256",
                "address",
                *["bytes32"] * 6,
                "uint128",
                "uint16",
            ],
            [_domain("commitment"), chain_id, ledger, pool_id, round_, node, *opened.to_abi()],
        )
    )


def accumulate(
    accumulator: bytes, node: str, start_root: bytes, update_root: bytes, norm: int, width: int
) -> bytes:
    """`Hashes.accumulate`: extends a round's accumulator by one reveal."""
    return keccak(
        encode(
            ["bytes32", "bytes32", "address", "bytes32", "bytes32", "uint128", "uint16"],
            [_domain("accumulator", 2), accumulator, node, start_root, update_root, norm, width],
        )
    )


def verdicts_hash(
    chain_id: int,
    court: str,
    pool_id: int,
    round_: int,
    validator: str,
    verdicts: Sequence[tuple[str, int, bytes]],
    salt: bytes,
) -> bytes:
    """`Hashes.verdicts` over (node, outcome, digest) triples in the order in which they will be revealed."""
    root = keccak(encode(["(address,uint8,bytes32)[]"], [list(verdicts)]))
    return keccak(
        encode(
            ["bytes32", "uint256", "address", "uint256", "uint256", "address", "bytes32", "bytes32"],
            [_domain("verdicts"), chain_id, court, pool_id, round_, validator, root, salt],
        )
    )


def vote_hash(
    chain_id: int, court: str, case_id: int, juror: str, outcome: int, digest: bytes, salt: bytes
) -> bytes:
    """`Hashes.vote`: a juror's hidden vote."""
    return keccak(
        encode(
            ["bytes32", "uint256", "address", "uint256", "address", "uint8", "bytes32", "bytes32"],
            [_domain("vote"), chain_id, court, case_id, juror, outcome, digest, salt],
        )
    )


def plant_hash(chain_id: int, pools: str, pool_id: int, round_: int, node: str, salt: bytes) -> bytes:
    """`Hashes.plant`: a slot to come that its pool's creator has made bad on purpose."""
    return keccak(
        encode(
            ["bytes32", "uint256", "address", "uint256", "uint256", "address", "bytes32"],
            [_domain("plant"), chain_id, pools, pool_id, round_, node, salt],
        )
    )


def audit_draw(seed: bytes, node: str) -> int:
    """`Hashes.auditDraw`: below the audit rate (basis points) a slot is audited."""
    data = encode(["bytes32", "bytes32", "address"], [_domain("audit"), seed, node])
    return int.from_bytes(keccak(data)) % 10_000


def auditor_draw(seed: bytes, node: str, k: int, n: int) -> int:
    """`Hashes.auditorDraw`: where the search for the k-th auditor starts among n seats."""
    data = encode(["bytes32", "bytes32", "address", "uint256"], [_domain("auditor"), seed, node, k])
    return int.from_bytes(keccak(data)) % n


def juror_draw(seed: bytes, case_id: int, k: int, n: int) -> int:
    """`Hashes.jurorDraw`: where the search for the k-th juror starts among n seats."""
    data = encode(["bytes32", "bytes32", "uint256", "uint256"], [_domain("jury"), seed, case_id, k])
    return int.from_bytes(keccak(data)) % n


# --- draws off chain ----------------------------------------------------------------------------------------


def audit_segments(seed: bytes, node: str, segments: int, k: int) -> list[int]:
    """The k different segments (ascending) of a node's slot that a round's audit seed selects for replay."""
    left = list(range(segments))
    drawn = []
    for i in range(k):
        data = encode(["bytes32", "bytes32", "address", "uint256"], [_domain("segment"), seed, node, i])
        drawn.append(left.pop(int.from_bytes(keccak(data)) % len(left)))
    return sorted(drawn)


def round_seed(run_seed: int, round_: int, checkpoint_root: bytes) -> bytes:
    """Seed of a round's data assignment: nobody knows it before the checkpoint exists."""
    return sha256(b"pi-protocol/round/1" + struct.pack(">QI", run_seed, round_) + checkpoint_root)


def sample_ids(seed: bytes, node: str, slot: int, step: int, batch: int, windows: int) -> list[int]:
    """Window ids in [0, windows) that a node's slot trains on at an inner step; `seed` is `round_seed`'s."""
    prefix = b"pi-protocol/sample/1" + seed + bytes.fromhex(node[2:]) + struct.pack(">HI", slot, step)
    return [int.from_bytes(sha256(prefix + struct.pack(">I", i))[:8]) % windows for i in range(batch)]


def batch_digest(ids: Sequence[int], tokens: bytes | memoryview) -> bytes:
    """Digest of one step's batch: its window ids (u64 each) and its tokens as they were fed to the model."""
    return sha256(b"pi-protocol/batch/1" + struct.pack(f">I{len(ids)}Q", len(ids), *ids) + bytes(tokens))


# --- trace --------------------------------------------------------------------------------------------------

_TRACE_HEAD = struct.Struct(">4sBIIH")


@dataclass(frozen=True)
class Trace:
    """What a worker recorded of its slot: segments + 1 border hashes, the rest once per inner step."""

    class_id: str
    borders: tuple[bytes, ...]
    batches: tuple[bytes, ...]
    losses: tuple[int, ...]
    """Bits of the fp32 training loss, as u32."""
    proofs: tuple[tuple[bytes, ...], ...]

    def encode(self) -> bytes:
        """The trace file. Its sha256 is the commitment's `traceRoot`."""
        per_step = len(self.proofs[0])
        parts = [
            _TRACE_HEAD.pack(b"PITR", 1, len(self.batches), len(self.borders) - 1, per_step),
            self.class_id.encode().ljust(64, b"\x00"),
            *self.borders,
        ]
        for batch, loss, proofs in zip(self.batches, self.losses, self.proofs, strict=True):
            parts += [batch, struct.pack(">I", loss), *proofs]
        return b"".join(parts)

    @staticmethod
    def size(steps: int, segments: int, per_step: int) -> int:
        """Bytes of a trace file of that shape."""
        return _TRACE_HEAD.size + 64 + 32 * (segments + 1) + steps * (36 + PROOF_BYTES * per_step)

    @classmethod
    def decode(cls, data: bytes, *, steps: int, segments: int, per_step: int) -> "Trace":
        """Parses a peer's trace of exactly the expected shape, else `MalformedArtifact`."""
        if len(data) != cls.size(steps, segments, per_step):
            expected = cls.size(steps, segments, per_step)
            raise MalformedArtifact(f"trace has {len(data)} bytes, expected {expected}")
        if _TRACE_HEAD.unpack_from(data) != (b"PITR", 1, steps, segments, per_step):
            raise MalformedArtifact("trace header does not fit the RunSpec")
        at = _TRACE_HEAD.size
        name = data[at : at + 64].rstrip(b"\x00")
        if not name.isascii() or b"\x00" in name:
            raise MalformedArtifact("trace names no determinism class")
        at += 64
        borders = tuple(data[at + 32 * i : at + 32 * (i + 1)] for i in range(segments + 1))
        at += 32 * (segments + 1)
        batches, losses, proofs = [], [], []
        for _ in range(steps):
            batches.append(data[at : at + 32])
            losses.append(int.from_bytes(data[at + 32 : at + 36]))
            at += 36
            end = at + PROOF_BYTES * per_step
            proofs.append(tuple(data[i : i + PROOF_BYTES] for i in range(at, end, PROOF_BYTES)))
            at = end
        return cls(name.decode(), borders, tuple(batches), tuple(losses), tuple(proofs))


# --- signed messages ----------------------------------------------------------------------------------------


def node_authorization(chain_id: int, registry: str, operator: str, node: str, deadline: int) -> dict:
    """EIP-712 message by which a node key accepts an operator (`NodeRegistry.registerNode`)."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "NodeAuthorization": [
                {"name": "operator", "type": "address"},
                {"name": "node", "type": "address"},
                {"name": "deadline", "type": "uint256"},
            ],
        },
        "primaryType": "NodeAuthorization",
        "domain": {"name": "pi-protocol", "version": "1", "chainId": chain_id, "verifyingContract": registry},
        "message": {"operator": operator, "node": node, "deadline": deadline},
    }


def invite(chain_id: int, pools: str, pool_id: int, operator: str, nonce: int, deadline: int) -> dict:
    """EIP-712 message by which a pool's invite signer lets an operator in (`Pools.join`)."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Invite": [
                {"name": "poolId", "type": "uint256"},
                {"name": "operator", "type": "address"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint64"},
            ],
        },
        "primaryType": "Invite",
        "domain": {"name": "pi-protocol", "version": "1", "chainId": chain_id, "verifyingContract": pools},
        "message": {"poolId": pool_id, "operator": operator, "nonce": nonce, "deadline": deadline},
    }


def upload_message(chain_id: int, pool_id: int, kind: str, round_: int, sha256_hex: str, time: int) -> str:
    """Text that an uploader signs (EIP-191). Bound to the bytes, so replaying it stores nothing else."""
    return (
        f"pi-protocol upload\nchain {chain_id}\npool {pool_id}\nkind {kind}\nround {round_}\n"
        f"sha256 {sha256_hex}\ntime {time}"
    )
