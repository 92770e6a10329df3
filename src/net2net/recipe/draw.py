"""Numbers drawn at random, addressable by tensor and row.

The rows of a tensor are drawn in blocks, each from a generator of its own, so that a block of rows
is the same whether the whole tensor is made or those rows alone, whatever else grows, on every
platform. They are drawn in float32, whatever the type of the weights: no weight begins with more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**16
"""About how many numbers one generator draws."""

RUN = 128
"""How many blocks are drawn at once: fewer need less memory, but find the other cores still waiting
for more of what torch has just done."""

Law = Callable[[int, Sequence[str], NDArray[np.int64], Sequence[int], int], NDArray[np.float32]]
"""``normal`` or ``uniform``."""


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers for one space, or one block of a tensor."""
    words = [seed % 2**32, *(byte for name in names for byte in name.encode())]
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(words)))


def normal(
    seed: int, names: Sequence[str], rows: NDArray[np.int64], row_shape: Sequence[int],
    threads: int = 1,
) -> NDArray[np.float32]:  # fmt: skip
    """Standard normal numbers ``[len(rows), *row_shape]``: those of these rows of a tensor.

    Args:
        names: what is drawn for: the tensor, the axis.
        rows: which rows, in any order.
        row_shape: the shape of one row.
        threads: how many draw neighbouring rows; the numbers are the same for any.
    """
    return _drawn(np.random.Generator.standard_normal, seed, names, rows, row_shape, threads)


def uniform(
    seed: int, names: Sequence[str], rows: NDArray[np.int64], row_shape: Sequence[int],
    threads: int = 1,
) -> NDArray[np.float32]:  # fmt: skip
    """As ``normal``, but spread evenly between −1 and 1."""
    numbers = _drawn(np.random.Generator.random, seed, names, rows, row_shape, threads)
    numbers *= 2
    numbers -= 1
    return numbers


def runs(rows: NDArray[np.int64], row_shape: Sequence[int]) -> list[slice]:
    """Which rows to draw at once, so that few numbers lie in memory and none is drawn twice."""
    if not len(rows):
        return []
    many = _each(row_shape) * RUN
    ends = [*np.flatnonzero(np.diff(rows // many)) + 1, len(rows)]
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def _each(row_shape: Sequence[int]) -> int:
    """Rows of a block."""
    return max(1, BLOCK // max(1, math.prod(row_shape)))


def _drawn(
    law: Callable[..., object], seed: int, names: Sequence[str], rows: NDArray[np.int64],
    row_shape: Sequence[int], threads: int,
) -> NDArray[np.float32]:  # fmt: skip
    each = _each(row_shape)
    result = np.empty((len(rows), *row_shape), np.float32)
    ends = [*np.flatnonzero(np.diff(rows) != 1) + 1, len(rows)] if len(rows) else []
    if len(ends) != 1:
        blocks = rows // each
        for block in np.unique(blocks):
            here = blocks == block
            inside = rows[here] - block * each
            drawn = np.empty((int(inside.max()) + 1, *row_shape), np.float32)
            law(generator(seed, *names, str(block)), dtype=np.float32, out=drawn)
            result[here] = drawn[inside]
        return result
    first = int(rows[0])

    def draw(block: int) -> None:
        rng, begin = generator(seed, *names, str(block)), block * each
        if begin < first:
            head = np.empty((first - begin, *row_shape), np.float32)
            law(rng, dtype=np.float32, out=head)
        law(rng, dtype=np.float32, out=result[max(0, begin - first) : begin + each - first])

    # neighbours, as rows mostly are: drawn where they belong
    every = range(first // each, int(rows[-1]) // each + 1)
    if threads == 1 or len(every) == 1:
        for block in every:
            draw(block)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(draw, every))
    return result
