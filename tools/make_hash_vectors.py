"""Writes tests/vectors/hashes.json: inputs and outputs of every hash that Python and Solidity both compute.

The file is frozen: this script exists to add cases, and a test fails when its output and the file differ.
Run: python tools/make_hash_vectors.py [--check]
"""

import json
import random
import sys
from pathlib import Path

from pi_sdk import codec
from pi_sdk.types import Reveal

OUT = Path(__file__).resolve().parents[1] / "tests" / "vectors" / "hashes.json"


def vectors() -> dict:
    rng = random.Random(1)

    def word() -> bytes:
        return rng.randbytes(32)

    def address() -> str:
        return "0x" + rng.randbytes(20).hex()

    def hexed(value):
        return "0x" + value.hex() if isinstance(value, bytes) else value

    commitments, accumulators, verdicts, votes, draws = [], [], [], [], []
    for i in range(6):
        opened = Reveal(
            salt=word(),
            start_root=word(),
            update_root=word(),
            trace_root=word(),
            state_in=bytes(32) if i == 0 else word(),
            state_out=word(),
            norm=[0, 1, (1 << 128) - 1][i] if i < 3 else rng.getrandbits(100),
            width=[1, 65535][i] if i < 2 else rng.randint(1, 256),
        )
        case = {"chainId": [31337, 84532, 8453][i % 3], "ledger": address(), "poolId": i + 1}
        case |= {"round": rng.randint(0, 1 << 32), "node": address()}
        expected = codec.commitment_hash(
            case["chainId"], case["ledger"], case["poolId"], case["round"], case["node"], opened
        )
        fields = {name: hexed(value) for name, value in opened.model_dump().items()}
        # uint128 does not fit a JSON number: a decimal string, which both sides parse
        commitments.append(case | {**fields, "norm": str(opened.norm), "hash": hexed(expected)})

        before = bytes(32) if i == 0 else word()
        after = codec.accumulate(
            before, case["node"], opened.start_root, opened.update_root, opened.norm, opened.width
        )
        accumulators.append(
            {
                "accumulator": hexed(before),
                "node": case["node"],
                "startRoot": hexed(opened.start_root),
                "updateRoot": hexed(opened.update_root),
                "norm": str(opened.norm),
                "width": opened.width,
                "hash": hexed(after),
            }
        )

        triples = [(address(), rng.randint(1, 3), word()) for _ in range(i)]
        salt, court, validator = word(), address(), address()
        expected = codec.verdicts_hash(
            case["chainId"], court, case["poolId"], case["round"], validator, triples, salt
        )
        verdicts.append(
            {
                "chainId": case["chainId"],
                "court": court,
                "poolId": case["poolId"],
                "round": case["round"],
                "validator": validator,
                "nodes": [t[0] for t in triples],
                "outcomes": [t[1] for t in triples],
                "digests": [hexed(t[2]) for t in triples],
                "salt": hexed(salt),
                "hash": hexed(expected),
            }
        )

        digest, outcome = word(), rng.randint(1, 3)
        expected = codec.vote_hash(case["chainId"], court, i + 7, validator, outcome, digest, salt)
        votes.append(
            {
                "chainId": case["chainId"],
                "court": court,
                "caseId": i + 7,
                "juror": validator,
                "outcome": outcome,
                "digest": hexed(digest),
                "salt": hexed(salt),
                "hash": hexed(expected),
            }
        )

        seed, n = word(), [1, 2, 3, 7, 64, 256][i]
        draws.append(
            {
                "seed": hexed(seed),
                "node": case["node"],
                "k": i,
                "n": n,
                "caseId": i + 7,
                "audit": codec.audit_draw(seed, case["node"]),
                "auditor": codec.auditor_draw(seed, case["node"], i, n),
                "juror": codec.juror_draw(seed, i + 7, i, n),
            }
        )
    return {
        "commitments": commitments,
        "accumulators": accumulators,
        "verdicts": verdicts,
        "votes": votes,
        "draws": draws,
        "plants": plants(random.Random(2)),
        "off_chain": off_chain(rng),
    }


def plants(rng: random.Random) -> list[dict]:
    cases = []
    for round_ in (0, 7, (1 << 24) - 2):
        pools, node = ("0x" + rng.randbytes(20).hex() for _ in range(2))
        pool_id, salt, chain = rng.randint(1, 99), rng.randbytes(32), rng.randint(1, 99_999)
        cases.append(
            {
                "chainId": chain,
                "pools": pools,
                "poolId": pool_id,
                "round": round_,
                "node": node,
                "salt": "0x" + salt.hex(),
                "hash": "0x" + codec.plant_hash(chain, pools, pool_id, round_, node, salt).hex(),
            }
        )
    return cases


def off_chain(rng: random.Random) -> dict:
    """Hashes that only Python computes today, frozen all the same: whole runs are replayed from them."""
    leaves = [rng.randbytes(rng.randint(0, 80)) for _ in range(9)]
    sums = [rng.getrandbits(90) for _ in leaves]
    seed = codec.round_seed(7, 3, rng.randbytes(32))
    node = "0x" + rng.randbytes(20).hex()
    ids = codec.sample_ids(seed, node, 1, 5, 8, 1_000_003)
    tokens = rng.randbytes(8 * 33)
    proof = rng.randbytes(codec.PROOF_BYTES)
    trace = codec.Trace(
        class_id="cpu-t1-fp32-avx2",
        borders=(bytes([1]) * 32, bytes([2]) * 32),
        batches=(bytes([3]) * 32,) * 2,
        losses=(0x3F800000, 0x40000000),
        proofs=((proof,),) * 2,
    ).encode()
    return {
        "leaves": [leaf.hex() for leaf in leaves],
        "sums": [str(s) for s in sums],
        "merkle_root": [codec.merkle_root(leaves[:n]).hex() for n in range(len(leaves) + 1)],
        "merkle_sum_root": [
            codec.merkle_sum_root(zip(leaves[:n], sums[:n], strict=True))[0].hex()
            for n in range(len(leaves) + 1)
        ],
        "merkle_proof": [node.hex() for node in codec.merkle_proof(leaves, 8)],
        "merkle_sum_proof": [
            [node.hex(), str(total)]
            for node, total in codec.merkle_sum_proof(zip(leaves, sums, strict=True), 3)
        ],
        "round_seed": seed.hex(),
        "node": node,
        "sample_ids": ids,
        "tokens": tokens.hex(),
        "batch_digest": codec.batch_digest(ids, tokens).hex(),
        "audit_segments": [codec.audit_segments(seed, node, 7, k) for k in range(8)],
        "trace": trace.hex(),
        "trace_root": codec.sha256(trace).hex(),
        "upload_message": codec.upload_message(31337, 1, "artifact", 0, "ab" * 32, 1_700_000_000),
    }


if __name__ == "__main__":
    text = json.dumps(vectors(), indent=1) + "\n"
    if "--check" in sys.argv:
        sys.exit(OUT.read_text() != text)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(text)
