"""How a model's parameters lie in the one flat vector that everything else works on. No torch, no numpy."""

from math import prod

from pi_sdk.types import GptSpec


def layout(model: GptSpec) -> list[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every tensor in the order of the flat vector. Matrices are (out, in); there are no
    biases.

    Names follow GPT-2; the output head is `wte.weight` again.
    """
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


def parameter_count(model: GptSpec) -> int:
    """Length of the flat vector."""
    return sum(prod(shape) for _, shape in layout(model))


def slices(model: GptSpec) -> list[tuple[str, tuple[int, ...], slice]]:
    """`layout` with each tensor's place in the flat vector."""
    places, at = [], 0
    for name, shape in layout(model):
        places.append((name, shape, slice(at, at + prod(shape))))
        at += prod(shape)
    return places
