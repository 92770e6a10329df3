"""The paper's equations, literally: what the fast path is tested against.

Chen, Goodfellow, Shlens (ICLR 2016), sections 2.3 and 2.4, one element at a time. A dense layer is
``h = φ(Wᵀ x + b)`` with ``W`` of [inputs, outputs], as in the paper; a convolution's kernel is
[outputs, inputs, height, width], as in torch. Indices count from 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def random_map(n: int, q: int, rng: np.random.Generator) -> list[int]:
    """g(j) = j for j ≤ n, and a random sample from {1, …, n} for j > n."""
    return [j if j < n else int(rng.integers(n)) for j in range(q)]


def copies(g: Sequence[int], unit: int) -> int:
    """|{x : g(x) = unit}|."""
    return sum(1 for source in g if source == unit)


def wider_dense(
    weight: Array, bias: Array, following: Array, g: Sequence[int]
) -> tuple[Array, Array, Array]:
    """Equation 2: U[k, j] = W[k, g(j)] for this layer, U[j, h] = W[g(j), h] / |{x : g(x) = g(j)}|
    for the following one."""
    inputs, outputs, q = weight.shape[0], following.shape[1], len(g)
    wide, wide_bias, wide_following = np.empty((inputs, q)), np.empty(q), np.empty((q, outputs))
    for j in range(q):
        wide_bias[j] = bias[g[j]]
        for k in range(inputs):
            wide[k, j] = weight[k, g[j]]
        for h in range(outputs):
            wide_following[j, h] = following[g[j], h] / copies(g, g[j])
    return wide, wide_bias, wide_following


def wider_conv(
    kernel: Array, bias: Array, following: Array, g: Sequence[int]
) -> tuple[Array, Array, Array]:
    """The same on channels; kernels are copied whole."""
    wide = np.stack([kernel[source] for source in g])
    wide_bias = np.stack([bias[source] for source in g])
    wide_following = np.stack([following[:, source] / copies(g, source) for source in g], axis=1)
    return wide, wide_bias, wide_following


def wider_batch_norm(values: Array, g: Sequence[int]) -> Array:
    """Scale, shift, mean and variance come from the same unit as the unit itself."""
    return np.array([values[source] for source in g])


def flattened_map(g: Sequence[int], pixels: int) -> list[int]:
    """The map of a dense layer behind the flattened channels × pixels of a widened convolution:
    all pixels of a channel are that channel's."""
    return [source * pixels + pixel for source in g for pixel in range(pixels)]


def concatenated_map(maps: Sequence[Sequence[int]], sizes: Sequence[int]) -> list[int]:
    """The map of a consumer of a concatenation: its producers' maps, with offsets."""
    result: list[int] = []
    for index, g in enumerate(maps):
        result += [sum(sizes[:index]) + source for source in g]
    return result


def deeper_dense(n: int) -> tuple[Array, Array]:
    """U = I, and no bias."""
    weight = np.zeros((n, n))
    for unit in range(n):
        weight[unit, unit] = 1
    return weight, np.zeros(n)


def deeper_conv(channels: int, height: int, width: int) -> tuple[Array, Array]:
    """A kernel that is 1 in its centre for its own channel, and 0 elsewhere."""
    kernel = np.zeros((channels, channels, height, width))
    for channel in range(channels):
        kernel[channel, channel, (height - 1) // 2, (width - 1) // 2] = 1
    return kernel, np.zeros(channels)


def deeper_batch_norm(mean: Array, variance: Array, eps: float) -> tuple[Array, Array]:
    """Scale and shift that undo the normalisation: γ = √(σ² + ε), β = μ."""
    return np.sqrt(variance + eps), mean
