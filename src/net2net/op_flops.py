"""What a contraction costs: two floating-point operations for each multiply-add.

A formula takes an operation's arguments by schema name, with shapes in place of tensors, and the
shapes of its outputs: ``linear({"input": (8, 3), "weight": (4, 3), …}, [(8, 4)])`` is 2 · 32 · 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

Shape = tuple[int, ...]

Args = Mapping[str, Any]

Flops = Callable[[Args, Sequence[Shape]], int]


def size(shape: Sequence[int]) -> int:
    """How many elements a tensor has, or a few of its axes."""
    return prod(shape)


def summed(argument: str, *axes: int) -> Flops:
    """A product whose every output is a sum along these axes of an operand (−1: the last)."""

    def flops(args: Args, outputs: Sequence[Shape]) -> int:
        return 2 * size(outputs[0]) * size([args[argument][axis] for axis in axes])

    return flops


def product(args: Args, outputs: Sequence[Shape]) -> int:
    """``a @ b`` of matrices or vectors: a sum along the last axis of the first operand. A sparse
    one counts as a dense one, since its shape does not tell how many elements it has."""
    first: Shape = next(item for item in args.values() if isinstance(item, tuple))
    return 2 * size(outputs[0]) * first[-1]


def tensor_product(args: Args, outputs: Sequence[Shape]) -> int:
    """A sum along the axes that both operands give to it."""
    return 2 * size(outputs[0]) * size([args["self"][axis] for axis in args["dims_self"]])


def along(argument: str) -> Flops:
    """A sum along one axis, of which the operands broadcast."""

    def flops(args: Args, outputs: Sequence[Shape]) -> int:
        return 2 * size(outputs[0]) * size([args[argument][args["dim"]]])

    return flops


def solve(args: Args, outputs: Sequence[Shape]) -> int:
    """Two triangular ones; the factors of the matrix are not counted."""
    return 2 * size(outputs[0]) * size(args["A"][-1:])


def grouped_product(args: Args, outputs: Sequence[Shape]) -> int:
    """Every row meets the matrix of its group. Of two flat operands the groups cut the summed axis,
    and each makes a matrix: ``[groups, rows, columns]``."""
    a, b = args["self"], args["mat2"]
    flat = len(a) == len(b) == 2
    return 2 * size(outputs[0][-2:] if flat else outputs[0]) * size(a[-1:])


def convolution(args: Args, outputs: Sequence[Shape]) -> int:
    """Every output is a sum over one group's channels and the kernel; of a transposed one, every
    input is spread over them."""
    spread = args.get("transposed", False)
    return 2 * size(args["input"] if spread else outputs[0]) * size(args["weight"][1:])


def transposed_convolution(args: Args, outputs: Sequence[Shape]) -> int:
    """As the convolution that it is the transpose of."""
    return convolution({**args, "transposed": True}, outputs)


def bilinear(args: Args, outputs: Sequence[Shape]) -> int:
    """``x Wₒ`` for every output feature o, and the product of that with ``y``."""
    _, a, b = args["weight"]
    return 2 * size(outputs[0]) * size([a + 1, b])


def distances(args: Args, outputs: Sequence[Shape]) -> int:
    """Between all pairs of rows: as the product of the one with the other's transpose."""
    return 2 * size(outputs[0]) * size(args["x1"][-1:])


def triangular_solve(args: Args, outputs: Sequence[Shape]) -> int:
    """Half of the product with a square matrix."""
    return size(outputs[0]) * size(args["self"][-1:])


def attention(args: Args, outputs: Sequence[Shape]) -> int:
    """Scores of every query with every key, and as many sums of values. Of fewer key heads than
    query heads, each serves several; a causal mask saves nothing here."""
    return 2 * size(args["key"][-2:-1]) * (size(args["query"]) + size(outputs[0]))


def recurrence(args: Args, outputs: Sequence[Shape]) -> int:
    """Every matrix of every layer and direction (input, hidden state, projection) meets the state
    of every step: 2 · 4 · h · (in + h) for a step of an LSTM. Packed sequences lie as
    ``[steps, features]``."""
    steps = size(args["data" if "data" in args else "input"][:-1])
    return 2 * steps * sum(size(shape) for shape in args["params"] if len(shape) == 2)


def cell(args: Args, outputs: Sequence[Shape]) -> int:
    """One step of one layer."""
    return 2 * size(args["input"][:-1]) * (size(args["w_ih"]) + size(args["w_hh"]))


def einsum(args: Args, outputs: Sequence[Shape]) -> int:
    """Two operands at a time, from the left or along the given path, as torch does. What only one
    of two has, and nothing later needs, is summed before; a product without a sum counts as an
    elementwise one, 0."""
    terms, out, sizes = _subscripts(args["equation"], args["tensors"])
    path = list(args.get("path") or [])
    total = 0
    while len(terms) > 1:
        i, j = sorted((path.pop(0), path.pop(0)) if path else (0, 1))
        b, a = terms.pop(j), terms.pop(i)
        kept = out.union(*terms)
        inner = (a & b) - kept
        if inner:
            total += 2 * size([sizes[letter] for letter in (a | b) & kept | inner])
        terms.append((a | b) & kept)
    return total


def _subscripts(
    equation: str, shapes: Sequence[Shape]
) -> tuple[list[frozenset[Any]], frozenset[Any], dict[Any, int]]:
    """The names of every operand's axes and of the output's, and their sizes. An ellipsis stands
    for numbered axes, counted from the last."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    sizes: dict[Any, int] = {}
    terms = []
    for text, shape in zip(left.split(","), shapes, strict=True):
        head, dots, tail = text.partition("...")
        hidden = len(shape) - len(head) - len(tail) if dots else 0
        names = [*head, *range(-hidden, 0), *tail]
        for name, length in zip(names, shape, strict=True):
            sizes[name] = max(length, sizes.get(name, 1))
        terms.append(frozenset(names))
    letters = left.replace(",", "").replace(".", "")
    once = {name for name in letters if letters.count(name) == 1}
    out = {*right.replace(".", "")} if arrow else once
    if "..." in right or not arrow:
        out |= {name for name in sizes if isinstance(name, int)}
    return terms, frozenset(out), sizes
