"""Which layers become two, and whether an inner width holds what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from net2net.apply.split_layer import SplitLayer
from net2net.errors import DepthError, WidthError
from net2net.factorize.pairs import gain_of
from net2net.identity.blocks import LAYERS
from net2net.plan.globs import matching
from net2net.recipe.factor import Factor, spectrum
from net2net.trace.meta_copy import named_tensors


@dataclass(frozen=True)
class Split:
    """A layer that becomes two.

    Attributes:
        rank: of its weight (of the group that has most).
        left_out: what the two are not of the weight, ‖W − W₂W₁‖ / ‖W‖ (Frobenius).
    """

    edit: SplitLayer
    factor: Factor
    rank: int
    left_out: float

    @property
    def note(self) -> str:
        """What its report says."""
        said = f"layers; inner units: {self.edit.inner}, rank: {self.rank}"
        return f"{said}, left out: {self.left_out:.3g}" if self.left_out else said


def splits(
    model: nn.Module, widths: Mapping[str, int], activation: str | None, *, exact: bool
) -> list[Split]:
    """What globs ask for.

    Raises:
        UnknownModuleError: a glob matches nothing.
        DepthError: it matches no layer that can be split, or no such activation can be between.
        WidthError: an inner width is none, or (``exact``) is less than the rank.
    """
    if not isinstance(widths, Mapping) or not widths:
        raise DepthError(
            f"widths is {widths!r:.40}. Give a dict from globs of layers to how many units stand "
            "between the two that each becomes."
        )
    gain = None if activation is None else gain_of(activation)
    asked: dict[str, int] = {}
    for glob, inner in widths.items():
        for path in _layers(model, glob):
            if asked.setdefault(path, inner) != inner:
                raise WidthError(
                    f"two globs give '{path}' inner widths, {asked[path]!r} and {inner!r}. "
                    "Name each layer once."
                )
    return [_split(model, path, n, activation or "", gain, exact) for path, n in asked.items()]


def _layers(model: nn.Module, glob: str) -> list[str]:
    """The linear and convolution layers that a glob means."""
    modules = dict(model.named_modules())
    matched = [path for path in matching(model, glob) if path in modules]
    found = [path for path in matched if isinstance(modules[path], LAYERS)]
    if not found:
        kinds = sorted({type(modules[path]).__name__ for path in matched})
        raise DepthError(
            f"'{glob}' matches {', '.join(kinds)}, and linear and convolution layers have factors. "
            "Name such a layer."
        )
    return found


def _split(
    model: nn.Module, path: str, inner: int, activation: str, gain: float | None, exact: bool
) -> Split:
    layer: Any = model.get_submodule(path)
    _check_layer(model, path, layer)
    groups = getattr(layer, "groups", 1)
    if type(inner) is not int or inner < 1 or inner % groups:
        raise WidthError(
            f"the inner width of '{path}' is {inner!r:.40}. Give a number of units"
            f"{f', a multiple of its {groups} groups' if groups > 1 else ''}."
        )
    factor = Factor(second=False, groups=groups, gain=gain)
    try:
        known = spectrum(layer.weight, groups)
    except RuntimeError as error:
        raise DepthError(
            f"the weight of '{path}' has no singular values: {error}. Check it for NaN."
        ) from error
    kept, needed = inner // groups // factor.units, max(known.ranks)
    lost = known.left_out(kept) if kept < needed else 0.0
    if lost and exact:
        least = needed * groups * factor.units
        raise WidthError(
            f"'{path}' has rank {needed}{f' in each of {groups} groups' if groups > 1 else ''}, "
            f"and {inner} inner units{' in pairs' if activation else ''} hold {kept}. "
            f"Give {least} or more, or pass exact=False, which leaves out {lost:.3g} of the weight "
            "(‖W − W₂W₁‖ / ‖W‖, Frobenius)."
        )
    return Split(SplitLayer(path, inner, activation), factor, needed, lost)


def _check_layer(model: nn.Module, path: str, layer: Any) -> None:
    """Raises:
    DepthError: it cannot be taken apart.
    """
    kind = next(kind for kind in LAYERS if isinstance(layer, kind))
    names = {id(tensor) for _, tensor in named_tensors(model)}
    why = ""
    if type(layer).forward is not kind.forward:
        why = f"is a {type(layer).__name__} with a forward of its own. Choose another layer"
    elif id(layer.weight) not in names:
        why = "computes its weight. Remove the parametrization, or choose another layer"
    elif layer.weight.is_meta:
        why = "is on meta, without values. Give it its weights"
    elif layer._forward_hooks or layer._forward_pre_hooks:
        why = "has hooks, which neither of the two would have. Remove them"
    if why:
        raise DepthError(f"'{path}' {why}.")
