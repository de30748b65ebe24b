"""Proofs of inference: an honest rollout passes, another does not, nonsense is refused before any work."""

from dataclasses import replace

import pytest
import torch
from pi_sdk.errors import MalformedArtifact, UsageError
from pi_sdk.types import AuditSpec, GptSpec
from pi_train.evaluate import load_model
from pi_train.model import Network
from pi_train.rollouts import Rollout, check_rollout, generate
from train.models import config_file
from train.tiny_run import TinyRun

AUDIT = AuditSpec()
PROMPT = [i * 37 % 251 for i in range(40)]
TOKENS = 45
"""Of the answer: two spans, the second one short."""


@pytest.fixture(scope="module", params=["gpt", "llama"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("rollouts")
    changes = {"hidden_size": 128, "max_position_embeddings": 128}
    gpt = GptSpec(layers=2, heads=2, width=128, context=128)
    model = gpt if request.param == "gpt" else str(config_file(folder / "config", **changes))
    run = TinyRun(folder / "run", model=model)
    return load_model(run.spec, run.genesis).network


@pytest.fixture(scope="module")
def honest(network: Network) -> Rollout:
    return generate(network, PROMPT, TOKENS)


def passes(network: Network, rollout: Rollout) -> bool:
    found = check_rollout(network, rollout)
    return all(errors.within(AUDIT) for errors in found.errors) and found.behind.max() < 1e-3


def test_an_honest_rollout_passes(network: Network, honest: Rollout):
    assert len(honest.answer) == TOKENS and len(honest.proofs) == 3
    found = check_rollout(network, honest)
    assert len(found.errors) == 3 and found.behind.shape == (TOKENS,)
    assert max(errors.exponent_mismatches for errors in found.errors) <= 2
    assert passes(network, honest)


def test_other_weights_and_other_tokens_do_not(network: Network, honest: Rollout):
    weights = [p.data.clone() for p in network.module.parameters()]
    with torch.no_grad():
        for p in network.module.parameters():
            p += 0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    assert not all(errors.within(AUDIT) for errors in check_rollout(network, honest).errors)
    with torch.no_grad():
        for p, own in zip(network.module.parameters(), weights, strict=True):
            p.copy_(own)
    for at in (0, 20, TOKENS - 1):
        answer = list(honest.answer)
        answer[at] = (answer[at] + 1) % 256
        assert not passes(network, replace(honest, answer=tuple(answer)))
    assert not passes(network, replace(honest, prompt=honest.prompt[::-1]))


def test_a_cache_changes_nothing(network: Network, honest: Rollout):
    tokens = torch.tensor([[*honest.prompt, *honest.answer]])
    with torch.no_grad():
        whole = network.forward(tokens)[1]
        _, first, cache = network.extend(tokens[:, :50], None)
        _, second, _ = network.extend(tokens[:, 50:], cache)
    assert second.shape[1] == tokens.shape[1] - 50
    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-4)


def test_what_cannot_be_a_rollout_is_malformed(network: Network, honest: Rollout):
    vocab = network.spec.vocab
    for change in (
        {"proofs": honest.proofs[:-1]},
        {"proofs": (*honest.proofs, honest.proofs[0])},
        {"proofs": (bytes(258), *honest.proofs[1:])},
        {"answer": honest.answer[:-1] + (vocab,)},
        {"answer": (-1, *honest.answer[1:])},
        {"answer": ()},
        {"prompt": ()},
        {"prompt": honest.prompt * 4},
    ):
        with pytest.raises(MalformedArtifact):
            check_rollout(network, replace(honest, **change))
    with pytest.raises(UsageError):
        generate(network, PROMPT, 200)
