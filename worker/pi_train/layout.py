"""How a model's parameters lie in the one flat vector that everything else works on. No torch, no numpy."""

from math import prod

from pi_sdk.types import ModelSpec


def layout(model: ModelSpec) -> list[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every trainable tensor in the order of the flat vector.

    The built-in GPT's names follow GPT-2, its matrices are (out, in), there are no biases, and the output
    head is `wte.weight` again. Other models bring their layout along; the worker checks it against the module
    that it builds.
    """
    if model.kind != "gpt":
        return list(model.layout)
    d = model.width
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("wte.weight", (model.vocab, d)),
        ("wpe.weight", (model.context, d)),
    ]
    for i in range(model.layers):
        tensors += [
            (f"h.{i}.ln_1.weight", (d,)),
            (f"h.{i}.attn.c_attn.weight", (3 * d, d)),
            (f"h.{i}.attn.c_proj.weight", (d, d)),
            (f"h.{i}.ln_2.weight", (d,)),
            (f"h.{i}.mlp.c_fc.weight", (4 * d, d)),
            (f"h.{i}.mlp.c_proj.weight", (d, 4 * d)),
        ]
    return [*tensors, ("ln_f.weight", (d,))]


def parameter_count(model: ModelSpec) -> int:
    """Length of the flat vector."""
    return sum(prod(shape) for _, shape in layout(model))


def slices(model: ModelSpec) -> list[tuple[str, tuple[int, ...], slice]]:
    """`layout` with each tensor's place in the flat vector."""
    places, at = [], 0
    for name, shape in layout(model):
        places.append((name, shape, slice(at, at + prod(shape))))
        at += prod(shape)
    return places
