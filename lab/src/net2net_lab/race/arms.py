"""Arms: the ways to the full network. A method, a way to be deeper, a state or a path is one small
entry; an arm names one of each, and when it grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import net2net
from net2net.optim.state import Policy
from net2net_lab.race.tasks import Task

NOISE = 0.02
"""On copies, as everywhere in the experiments."""

METHODS: dict[str, net2net.Method] = {
    **net2net.METHODS,
    "replicate+noise": net2net.Method(noise=NOISE),
}


@dataclass(frozen=True)
class State:
    """What the optimiser keeps where the network grows, as ``Growth.carry`` takes it."""

    policy: Policy
    rewarm: float = 1.0
    again: bool = False
    """Whether the rate warms up again, for everything."""


STATES: dict[str, State] = {
    "drop": State("drop", again=True),
    "own": State("own"),
    "own-1.3": State("own", rewarm=1.3),
    "scale": State("scale"),
}


@dataclass(frozen=True)
class Size:
    """Of a network on the way: parts of the full width and depth."""

    width: float = 1.0
    depth: Literal["full", "half", "one"] = "full"

    def blocks(self, full: int) -> int:
        return {"full": full, "half": full // 2, "one": 1}[self.depth]


FULL = Size()

PATHS: dict[str, tuple[Size, ...]] = {
    "scratch": (FULL,),
    "small": (Size(1 / 2),),
    "shallow": (Size(depth="half"),),
    "width": (Size(1 / 2), FULL),
    "width-1.37": (Size(1 / 1.37), FULL),
    "width-twice": (Size(1 / 4), Size(1 / 2), FULL),
    "one-deeper": (Size(depth="one"), FULL),
    "half-deeper": (Size(depth="half"), FULL),
    "both": (Size(1 / 2, "half"), FULL),
}
"""Sizes that the network has one after the other."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    "width": ("width", "width-1.37", "width-twice"),
    "depth": ("one-deeper", "half-deeper"),
    "both": ("both",),
}
"""Arms of these paths are compared with each other."""

DEEPER: dict[str, dict[str, Any]] = {
    **{f"zeroed-{order}": {"order": order} for order in ("spread", "top", "middle")},
    **{f"drawn-{order}": {"order": order, "copy": "own"} for order in ("spread", "top", "middle")},
    "stacked": {"copy": "stack", "exact": False},
}
"""Ways to make stacks of residual blocks longer, as ``deepen`` takes them."""

IDENTITY = "identity"
"""The one way where there are no residual blocks: layers that are identities."""


Stream = Literal["pad", "copy", ""]


@dataclass(frozen=True)
class Arm:
    """A way to the full network.

    Attributes:
        path: one of ``PATHS``.
        method: one of ``METHODS``, in depth of ``DEEPER``.
        norms: ``"pad"`` or ``"copy"``: the stream under layer norms; empty where that is no choice.
        state: one of ``STATES``.
        tau: the part of the run's steps before it has its last size.
    """

    path: str
    method: str = ""
    norms: Stream = ""
    state: str = ""
    tau: float = 0.0

    def __str__(self) -> str:
        at = f"τ={self.tau:g}" if self.tau else ""
        return " ".join(filter(None, (self.path, self.method, self.norms, self.state, at)))

    @property
    def question(self) -> str:
        """Empty for what does not grow."""
        return next((name for name, paths in QUESTIONS.items() if self.path in paths), "")

    @property
    def sizes(self) -> tuple[Size, ...]:
        return PATHS[self.path]

    @property
    def parts(self) -> tuple[float, ...]:
        """Of the run's steps, that it has each of its sizes for."""
        before = len(self.sizes) - 1
        return (*(self.tau / before for _ in range(before)), 1 - self.tau)

    @property
    def exact(self) -> bool:
        """Whether growing changes nothing of what is computed."""
        if self.method in METHODS:
            return METHODS[self.method].exact
        return DEEPER.get(self.method, {}).get("exact", True) is True

    @property
    def growth(self) -> net2net.Method:
        """Of the width."""
        method = METHODS[self.method]
        return replace(method, norms=self.norms) if self.norms else method

    def on(self, task: Task) -> Arm | None:
        """What it is on a task, where different arms can be the same; None if it is nothing."""
        if self.question == "depth" and not task.residual:
            return replace(self, method=IDENTITY)
        if self.question == "both" and not task.residual:
            return None
        return self if task.norms else replace(self, norms="")


SCRATCH, SMALL, SHALLOW = Arm("scratch"), Arm("small"), Arm("shallow")
"""Without growing: at full size; half as wide, or half as deep, for all FLOPs."""

REFERENCE = Arm("width", "replicate+noise", "", "drop", 0.4)
"""The paper's way: copies with noise, a fresh optimiser. What a new default has to beat."""

PADDED = Arm("width", "random_pad", "", "drop", 0.4)

BASELINES = (SCRATCH, SMALL, SHALLOW, REFERENCE, PADDED)
"""In every stage."""

TRIED_IN_ALL_STATES = ("replicate+noise", "pair", "fresh", "random_pad")

TAU = {"width": 0.4, "depth": 0.5, "both": 0.4}


def width_arms() -> Iterator[Arm]:
    """Every method, with the stream padded and copied, by the two main states; some by all."""
    for method, state in product(METHODS, STATES):
        if state in {"drop", "own"} or method in TRIED_IN_ALL_STATES:
            if state == "scale" and not can_scale(method):
                continue
            for norms in streams(method):
                yield Arm("width", method, norms, state, TAU["width"])


def streams(method: str) -> tuple[Stream, ...]:
    """What may be done under layer norms: new units that copy nothing, and are exact, may stand in
    the stream as well, or only inside of blocks."""
    one = METHODS[method]
    return ("pad", "copy") if one.exact and one.incoming != "copy" else ("",)


def can_scale(method: str) -> bool:
    """Whether there are copies, and their gradients are the teacher's times a number."""
    one = METHODS[method]
    return one.incoming == "copy" and one.shares == "even" and not one.pair


def depth_arms() -> Iterator[Arm]:
    """Every way from half of the blocks, and from one, where it does not matter which is copied;
    the main ones with a fresh optimiser as well."""
    for path, method in product(QUESTIONS["depth"], DEEPER):
        if path == "one-deeper" and method.endswith(("-top", "-middle")):
            continue
        for state in ("own", "drop") if method in {"zeroed-spread", "stacked"} else ("own",):
            yield Arm(path, method, "", state, TAU["depth"])


def both_arms() -> Iterator[Arm]:
    """Twice as wide and twice as deep at once."""
    for method in ("replicate+noise", "pair", "fresh"):
        yield Arm("both", method, streams(method)[0], "own", TAU["both"])


ARMS: tuple[Arm, ...] = tuple(
    dict.fromkeys((*BASELINES, *width_arms(), *depth_arms(), *both_arms()))
)


@dataclass(frozen=True)
class Family:
    """Arms that share a learning rate, and the one that it is tuned for."""

    name: str
    tuned: Arm


NEW = Family("new units", Arm("width", "fresh", "pad", "own", 0.4))
COPIES = Family("copies", Arm("width", "replicate+noise", "", "own", 0.4))
RANDOM = Family("random units", PADDED)
DEPTH = Family("depth", Arm("half-deeper", "zeroed-spread", "", "own", 0.5))
BOTH = Family("both", Arm("both", "fresh", "pad", "own", 0.4))


def family(arm: Arm) -> Family:
    """Whose learning rate an arm has."""
    if not arm.question:
        return Family(arm.path, Arm(arm.path))
    if arm.question != "width":
        return {"depth": DEPTH, "both": BOTH}[arm.question]
    method = METHODS[arm.method]
    if method.incoming == "copy":
        return COPIES
    return NEW if method.exact else RANDOM
