"""The wire types are the contracts' structs, and the rule that the contracts judge by is the RunSpec's."""

import re
from pathlib import Path

import pytest
from pi_sdk import (
    CaseStatus,
    ContractError,
    MalformedArtifact,
    Outcome,
    Phase,
    PoolParams,
    RecordStatus,
    SpecMismatch,
)
from pi_sdk.chain import contract, decode_revert, snake
from pi_sdk.codec import canonical_json, parse_run_spec
from pi_sdk.types import CodecSpec, GptSpec, Invite, OuterRule, OuterSpec, Reveal, RunSpec
from pi_train.codecs import encode_update
from pi_train.layout import parameter_count
from small_pool import run_spec

INTERFACES = Path(__file__).resolve().parents[2] / "contracts" / "src" / "interfaces"


def fields(name: str, function: str, *path: str) -> list[str]:
    """Snake-case names of a struct argument's fields, at `path` below the function's first argument."""
    component = contract(name).functions[function].inputs[0 if function != "join" else 3]
    for step in path:
        component = next(c for c in component["components"] if c["name"] == step)
    return [snake(c["name"]) for c in component["components"]]


def test_structs_have_the_contracts_fields_in_their_order():
    assert fields("Pools", "createPool", "params") == list(PoolParams.model_fields)
    assert fields("Pools", "createPool", "outer") == list(OuterRule.model_fields)
    assert fields("Pools", "join") == list(Invite.model_fields)
    reveal = contract("RoundLedger").functions["reveal"].inputs[1]
    assert [snake(c["name"]) for c in reveal["components"]] == list(Reveal.model_fields)


@pytest.mark.parametrize(
    ("source", "enum"),
    [("IRoundLedger", Phase), ("IRoundLedger", RecordStatus), ("ICourt", Outcome), ("ICourt", CaseStatus)],
)
def test_enums_have_the_contracts_numbers(source: str, enum: type):
    text = re.sub(r"//.*", "", (INTERFACES / f"{source}.sol").read_text())
    found = re.search(rf"enum {enum.__name__} \{{(.*?)\}}", text, re.DOTALL)
    assert found is not None
    names = [name.strip().upper() for name in found[1].split(",")]
    assert names == [member.name for member in enum]
    assert [member.value for member in enum] == list(range(len(names)))


@pytest.mark.parametrize(
    "model", [GptSpec(), GptSpec(layers=1, heads=2, width=32, context=32), GptSpec(layers=7, vocab=300)]
)
def test_the_count_of_parameters_is_the_models(model: GptSpec):
    assert model.parameters == parameter_count(model)


def variant(codec: CodecSpec, outer: OuterSpec) -> RunSpec:
    return run_spec(2).model_copy(update={"codec": codec, "outer": outer})


@pytest.mark.parametrize("name", ["sparse-2bit", "dense-int8", "dense-fixed", "dct-topk"])
def test_the_outer_rule_says_what_an_update_file_says(name):
    import numpy as np

    spec = variant(CodecSpec(name=name, k=32), OuterSpec())
    header = encode_update(spec.codec, np.zeros(300, np.int32))[:8]
    rule = OuterRule.from_spec(spec)
    assert (rule.codec, rule.k) == (header[5], int.from_bytes(header[6:8]))
    assert (rule.rule, rule.lr, rule.momentum, rule.max_step) == (0, 98304, 0, spec.codec.max_step)


def test_a_rule_that_is_not_the_run_specs_is_refused():
    spec = variant(CodecSpec(), OuterSpec(rule="nesterov", lr=45875, momentum=58982))
    rule = OuterRule.from_spec(spec)
    assert (rule.rule, rule.momentum) == (1, 58982)
    rule.check(spec)
    for name in OuterRule.model_fields:
        other = rule.model_copy(update={name: getattr(rule, name) + 1})
        with pytest.raises(SpecMismatch, match=f"outer {name} is"):
            other.check(spec)


def test_a_trimmed_mean_bounds_the_slots():
    spec = variant(CodecSpec(), OuterSpec(trim=1000))
    params = PoolParams.model_construct(rounds=spec.rounds, max_width=spec.max_width, max_slots=32)
    params.check(spec)
    with pytest.raises(SpecMismatch, match="at most 32 slots, not 33"):
        params.model_copy(update={"max_slots": 33}).check(spec)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"limit":0.1', '"limit":Infinity'),
        ('"warmup":20', f'"warmup":{1 << 60}'),
        ('"name":"test"', '"name":"\\ud800"'),
        ('"seed":1', '"seed":"x"'),
        ('"seed":1', '"seed":' + "[" * 5000),
    ],
    ids=["no number", "too large a number", "no text", "wrong type", "too deep"],
)
def test_a_strangers_run_spec_that_has_no_hash_is_malformed(old: str, new: str):
    data = canonical_json(run_spec(3)).decode()
    assert parse_run_spec(data.encode()) == run_spec(3) and old in data
    with pytest.raises(MalformedArtifact):
        parse_run_spec(data.replace(old, new).encode())


@pytest.mark.parametrize("offset", [0, 1 << 40, (1 << 256) - 1])
def test_absurd_revert_data_is_an_unknown_error(offset: int):
    data = bytes.fromhex("08c379a0") + offset.to_bytes(32) + b"\xff" * 40
    error = decode_revert(data)
    assert isinstance(error, ContractError) and error.name == "UnknownError"
