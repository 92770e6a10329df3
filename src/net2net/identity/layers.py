"""What makes one layer, or one norm, return what it is given (paper, section 2.4): the fills of
their tensors, for layers seen as modules (``insertion.py``) and in traces (``fills.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from net2net.recipe.fill import Constant, Eye, Fill, Undo, Values

NORM_TENSORS = ("running_mean", "running_var", "num_batches_tracked", "weight", "bias")
"""What the tensors of a batch norm are to it."""


def tap_of(
    kernel: Sequence[int], stride: Sequence[int], padding: str | Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, ...] | None:  # fmt: skip
    """The tap of a kernel that reads where the layer writes; None: there is none, or the layer
    changes the size of the map.

    A kernel of 3 that pads 1 reads at tap 1; one of 4 that pads "same" (1 before, 2 behind) too.
    """
    found = []
    for axis, (size, step) in enumerate(zip(kernel, dilation, strict=True)):
        around = step * (size - 1)
        if padding == "same":
            before = around // 2
        else:
            before = 0 if isinstance(padding, str) else padding[axis]
            if 2 * before != around:
                return None
        if stride[axis] != 1 or before % step:
            return None
        found.append(before // step)
    return tuple(found)


def layer_fills(
    weight: str, bias: str | None, tap: tuple[int, ...], features: Sequence[int] | None = None
) -> dict[str, Fill]:
    """What lets row j of a layer repeat feature ``features[j]`` (None: feature j); by the names of
    its tensors."""
    found: dict[str, Fill] = {weight: Eye(None if features is None else tuple(features), tap)}
    if bias is not None:
        found[bias] = Constant(0.0)
    return found


def norm_fills(
    names: Mapping[str, str], eps: float, mean: Sequence[float] = (),
    variance: Sequence[float] = (),
) -> dict[str, Fill]:  # fmt: skip
    """What makes a batch norm undo itself: γ = √(σ² + ε), β = μ.

    Args:
        names: what a tensor is to the norm (of ``NORM_TENSORS``) → its name.
        mean, variance: μ and σ² of every feature; empty: 0 and 1.
    """
    undone = "weight" in names and "bias" in names and bool(mean)  # nothing else undoes a mean
    weight = Undo(eps, tuple(variance) if undone else None)
    zero: Fill = Values(tuple(mean)) if undone else Constant(0.0)
    one: Fill = Values(tuple(variance)) if undone else Constant(1.0)
    if "weight" not in names:
        one = Constant(1 - eps)  # nothing undoes what it does, so nothing is done
    known: dict[str, Fill] = {
        "running_mean": zero, "running_var": one, "num_batches_tracked": Constant(0),
        "weight": weight, "bias": zero,
    }  # fmt: skip
    return {name: known[role] for role, name in names.items()}
