"""What is asked of a growth from outside Python, and the growth that it makes of a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from torch import nn

from net2net.deepen.deepen import deepen
from net2net.deepen.how import WHOLE, Order
from net2net.errors import DepthError, InputError, WidthError
from net2net.finish import check
from net2net.growth import Growth
from net2net.hf.budget import Budget, budget_numbers
from net2net.hf.grow import grow
from net2net.hf.numbers import nested, width_numbers, without_weights
from net2net.hf.proportion import Proportion, proportion
from net2net.maps.methods import AUTO, method_of
from net2net.plan.widths import Widths
from net2net.report import Report
from net2net.trace.trace import Inputs
from net2net.transfer.longer import NewOutputs
from net2net.widen.widen import widen

log = logging.getLogger("net2net")


@dataclass(frozen=True)
class Wish:
    """A growth as options and recipes say it. Widths come first, then depths.

    Attributes:
        widths: a factor for all, or by glob, as for ``widen``.
        depths: by the glob of a stack (or a layer), as for ``deepen``; or one for every list of
            blocks.
        numbers: of the configuration, those of one inside it with dots.
        budget: or how large the student is to be.
        multiple_of: for sizes that factors or a budget lead to; None: 1 and 64.
        method, seed: as for ``widen``.
        order, copy: of new blocks, as for ``deepen``.
        exact: keep the function, unless the method says otherwise.
        new_outputs: what makes outputs that numbers add, as for ``grow``.
    """

    widths: Widths | None = None
    depths: Mapping[str, int | float] | float = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    multiple_of: int | None = None
    method: str = AUTO
    seed: int = 0
    order: Order = "spread"
    copy: str = "neighbour"
    exact: bool = True
    new_outputs: NewOutputs | None = None

    def __post_init__(self) -> None:
        """Raises:
        InputError: nothing is asked for, or what does not go together.
        """
        ways = [self.widths is not None, bool(self.numbers), self.budget is not None]
        if sum(ways) > 1 or (self.budget is not None and self.depths):
            raise InputError(
                "widths, numbers of the configuration and a budget are three ways to say how large "
                "the student is to be, and several were given. Give one of them (a budget decides "
                "the depth as well)."
            )
        if not any(ways) and not self.depths:
            raise InputError(
                "nothing was asked for. Give widths (--width 1.5), depths (--depth STACK=4), "
                "numbers of the configuration (--set hidden_size=1024) or a budget (--params 6e9)."
            )
        if self.new_outputs is not None and not self.numbers:
            raise InputError(
                "new outputs were asked for, and no number of the configuration that adds any. "
                "Give one (--set vocab_size=50304), or leave out new_outputs."
            )


class Resolved(NamedTuple):
    """A wish without a budget, or one factor for all; and how widths grow together, if that was
    asked for."""

    wish: Wish
    widths: Proportion | None


def resolved(model: nn.Module, wish: Wish) -> Resolved:
    """The same with numbers of the configuration in place of a budget, or of one factor for all.
    Models without a configuration are as they are.

    Raises:
        InputError: a budget, or numbers, for a model that has no configuration of transformers.
        WidthError, NotGrowableError: no numbers do it.
    """
    if not hasattr(getattr(model, "config", None), "from_dict"):
        if wish.budget is not None or wish.numbers:
            raise InputError(
                f"{type(model).__name__} has no configuration of transformers whose numbers could "
                "change. Give widths (--width 1.5) or depths (--depth STACK=4)."
            )
        return Resolved(wish, None)
    if wish.budget is None and (wish.widths is None or isinstance(wish.widths, Mapping)):
        return Resolved(wish, None)
    loaded = any(not tensor.is_meta for tensor in model.parameters())
    bare = without_weights(model) if loaded else model
    together = proportion(bare, wish.multiple_of or (1 if wish.budget is None else 64))
    if wish.budget is not None:
        found = budget_numbers(bare, wish.budget, together)
    else:
        assert wish.widths is not None and not isinstance(wish.widths, Mapping)
        found = _all_widths(bare, float(wish.widths), together)
    log.info("the configuration: %s", ", ".join(f"{n}={v}" for n, v in found.items()))
    return Resolved(replace(wish, widths=None, budget=None, numbers=found), together)


def _all_widths(bare: nn.Module, factor: float, together: Proportion) -> dict[str, int]:
    """All in one proportion, the nearest; where that is none but 1, each on its own.

    Raises:
        WidthError: nothing grows.
    """
    if factor < 1:
        raise WidthError(f"the factor {factor:g} is smaller than 1. Net2Net only grows.")
    steps = together.nearest(factor)
    found = together.numbers(steps) if steps else width_numbers(bare, factor, together.multiple_of)
    if not found:
        raise WidthError(
            f"no width of {type(bare).__name__} that its configuration can say is near {factor:g} "
            "times what it is. Ask for more, or give numbers (--set hidden_size=1024)."
        )
    return found


def _by_stack(
    model: nn.Module, depths: Mapping[str, int | float] | float
) -> Mapping[str, int | float]:
    """One depth for each list of blocks, the outermost, if one is given for all.

    Raises:
        DepthError: there is no such list.
    """
    if isinstance(depths, Mapping):
        return depths
    found: list[str] = []
    for path, part in model.named_modules():
        if isinstance(part, nn.ModuleList) and not any(path.startswith(f"{o}.") for o in found):
            found.append(path)
    if not found:
        raise DepthError(
            f"{type(model).__name__} has no list of blocks. Name what is to be deeper: "
            "--depth STACK=4."
        )
    return dict.fromkeys(found, depths)


def grown(model: nn.Module, inputs: Inputs, wish: Wish, *, verify: bool = True) -> Growth:
    """The student that was wished for; of a model on ``meta`` one there, with ``verify=False``.

    Raises:
        Net2NetError: as ``resolved``, ``widen``, ``grow`` and ``deepen``.
    """
    wish, _ = resolved(model, wish)
    in_a_folder = hasattr(getattr(model, "config", None), "from_dict")
    options: dict[str, Any] = {"method": wish.method, "seed": wish.seed, "exact": wish.exact}
    steps: list[Growth] = []
    if wish.numbers:
        numbers = nested(wish.numbers)
        steps.append(grow(
            model, inputs, verify=verify and not wish.depths, new_outputs=wish.new_outputs,
            **options, **numbers,
        ))  # fmt: skip
    elif wish.widths is not None:
        steps.append(widen(
            model, wish.widths, inputs, multiple_of=wish.multiple_of or 1,
            verify=verify and not wish.depths, loadable=in_a_folder, **options,
        ))  # fmt: skip
    if wish.depths:
        wider = steps[0].model if steps else model
        steps.append(deepen(
            wider, _by_stack(wider, wish.depths), inputs, order=wish.order, copy=wish.copy,
            exact=wish.exact and wish.copy not in WHOLE, seed=wish.seed,
            verify=verify and not steps,
        ))  # fmt: skip
    if len(steps) == 1:
        return steps[0]
    both = _together(*steps)
    if not verify:
        return both
    exact = wish.exact and wish.copy not in WHOLE and method_of(wish.method).exact
    parity = check(model, both.model, inputs, must_match=exact, outputs=both.outputs)
    return replace(both, report=replace(both.report, parity=parity))


def _together(wider: Growth, deeper: Growth) -> Growth:
    """Two growths in a row as one."""
    first, second = wider.report, deeper.report
    report = Report(
        action=f"{first.action}, then {second.action}",
        asked=f"{first.asked}, {second.asked}",
        rows=(*first.rows, *second.rows),
        stayed=(*first.stayed, *second.stayed),
        parameters=(first.parameters[0], second.parameters[1]),
        bytes=(first.bytes[0], second.bytes[1]),
        flops=(first.flops[0], second.flops[1]),
        parity=None,
        warnings=(*first.warnings, *second.warnings),
        notes=tuple(dict.fromkeys((*first.notes, *second.notes))),
    )
    return replace(wider, model=deeper.model, plan=wider.plan.then(deeper.plan), report=report)
