"""Growth methods by name: how the units are made that a teacher has not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from net2net.errors import UnknownMethodError
from net2net.tables import format_table, html_table


@dataclass(frozen=True)
class Method:
    """How new units are made, as data: what comes into them, and what they are worth to those who
    read them.

    A space that cannot bear that takes the nearest exact way, and the report says so.

    Attributes:
        incoming: ``"copy"`` of a unit of the teacher's (paper, section 2.3); ``"random"``, normal
            with the deviation of the teacher's weights; ``"initial"``, as the layer initialises
            itself (its ``reset_parameters``; where it has none, as ``"random"``); ``"zero"``, so
            that the unit is zero where every operation maps zero to zero.
        outgoing: what readers hold for it: ``"share"`` of what they hold for the unit that it
            copies (paper, equation 2); ``"zero"``; ``"random"``; ``"copy"`` of what they hold for
            some unit; ``"pair"``: new units are alike two by two, and read with opposite signs;
            ``"gradient"``: as large as ``"random"``, and such that the gradient of a loss with
            respect to what comes into new units, which is zero, is largest (GradMax, Evci et al.,
            2022).
        shares: of copies: ``"even"``; ``"uneven"``, drawn evenly from all that sum to one;
            ``"one_sided"``, one and zeros.
        pair: what one of two copies' readers get and the other's lose, as a fraction of the
            deviation of their weights.
        noise: on what makes all but the first copy of each unit, as such a fraction.
        rescale: ``"rms"``: what reads a space that grew is multiplied by √(old / new), so that the
            root mean square of what it makes of units at random stays.
        norms: under layer and RMS norms: ``"pad"`` the stream with means or zeros, or ``"copy"`` it
            at whole multiples (padded elsewhere).
        shrink: what every parameter of the student is multiplied by in the end (Ash and Adams,
            2020).
        perturb: what is added then: this times what its layer would be initialised with, where
            that is known; to other weights this times normal numbers of their deviation.

    Raises:
        UnknownMethodError: a field cannot have its value, or not beside the others.
    """

    incoming: Literal["copy", "random", "initial", "zero"] = "copy"
    outgoing: Literal["share", "zero", "random", "copy", "pair", "gradient"] = "share"
    shares: Literal["even", "uneven", "one_sided"] = "even"
    pair: float = 0.0
    noise: float = 0.0
    rescale: Literal["rms"] | None = None
    norms: Literal["pad", "copy"] = "copy"
    shrink: float = 1.0
    perturb: float = 0.0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def exact(self) -> bool:
        """Whether the student computes what the teacher does."""
        return self.exact_before_noise and not (self.noise or self.perturbs)

    @property
    def needs_loss(self) -> bool:
        """Whether new units depend on the gradient of a loss."""
        return self.outgoing == "gradient"

    @property
    def perturbs(self) -> bool:
        """Whether every parameter changes in the end."""
        return self.shrink != 1 or self.perturb != 0

    @property
    def exact_before_noise(self) -> bool:
        """Whether it would, were there no noise, and nothing shrunk or perturbed."""
        quiet = self.incoming in {"copy", "zero"} or self.outgoing in {"zero", "pair"}
        return quiet and self.rescale is None


def _check(method: Method) -> None:
    allowed = {
        "incoming": ("copy", "random", "initial", "zero"),
        "outgoing": ("share", "zero", "random", "copy", "pair", "gradient"),
        "shares": ("even", "uneven", "one_sided"), "norms": ("pad", "copy"),
        "rescale": (None, "rms"),
    }  # fmt: skip
    for name, values in allowed.items():
        if (value := getattr(method, name)) not in values:
            raise UnknownMethodError(
                f"{name} of the method is {value!r:.80}. "
                f"Choose one of: {', '.join(map(str, values))}."
            )
    for name in ("pair", "noise", "shrink", "perturb"):
        number = getattr(method, name)
        if type(number) not in (int, float) or not 0 <= number < math.inf:
            raise UnknownMethodError(
                f"{name} of the method is {number!r:.80}. Give 0 or a positive fraction."
            )
    for impossible, wrong, instead in _refusals(method):
        if impossible:
            raise UnknownMethodError(f"{wrong}. {instead}.")


def _refusals(method: Method) -> Iterator[tuple[bool, str, str]]:
    """What fields cannot be beside each other, why not, and what to do."""
    units = f"units that are {method.incoming}"
    out = f"cannot go out as {method.outgoing}"
    yield (
        (method.outgoing == "share") != (method.incoming == "copy"),
        f"{units} {out}: copies share, and nothing else does",
        "Choose another outgoing",
    )
    yield (
        method.needs_loss and method.incoming != "zero",
        f"{units} cannot go out by the gradient, which is linear in that only where they are zero",
        'Choose incoming="zero", or another outgoing',
    )
    yield (
        method.incoming == method.outgoing == "zero",
        f"{units} {out}: where two zeros meet, neither ever gets a gradient",
        'Choose outgoing="random", or incoming="random"',
    )
    for name, idle in (("shares", "even"), ("pair", 0)):
        given = getattr(method, name)
        yield (
            method.incoming != "copy" and given != idle,
            f"{name} of the method is {given!r}, which copies alone have, and {units} are none",
            'Leave it out, or choose incoming="copy"',
        )
    read = method.incoming in {"random", "initial"} and method.outgoing in {"random", "copy"}
    yield (
        method.rescale is not None and not read,
        f"rescale of the method is {method.rescale!r}, which is for random units that somebody "
        f"reads, and these are {method.incoming} and go out as {method.outgoing}",
        'Leave it out, or choose incoming="random" and outgoing="random"',
    )
    yield (
        method.norms == "pad" and not method.exact_before_noise,
        f"norms of the method is {method.norms!r}, which is to keep what is computed, and {units} "
        f"and go out as {method.outgoing} do not",
        'Leave it out, or choose outgoing="zero"',
    )


class Methods(dict[str, Method]):
    """The table of methods; prints as one."""

    def _table(self) -> list[tuple[str, ...]]:
        names = [field.name for field in fields(Method)]
        rows = [
            (name, *(str(getattr(one, field)) for field in names), "yes" if one.exact else "no")
            for name, one in self.items()
        ]
        return [("method", *names, "exact"), *rows]

    def __str__(self) -> str:
        return format_table(self._table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self._table())


METHODS = Methods({
    "replicate": Method(),
    "uneven": Method(shares="uneven"),
    "one_sided": Method(shares="one_sided"),
    "pair": Method(pair=0.5),
    "fresh": Method("initial", "zero", norms="pad"),
    "fresh_pair": Method("initial", "pair", norms="pad"),
    "silent": Method("zero", "random", norms="pad"),
    "gradmax": Method("zero", "gradient", norms="pad"),
    "random_pad": Method("random", "random"),
    "half_copy": Method("random", "copy"),
    "rms": Method("random", "random", rescale="rms"),
    "shrink_perturb": Method(shrink=0.6, perturb=0.01),
})  # fmt: skip

AUTO = "auto"
"""The method that the race chose (docs/race.md): ``fresh``."""


def method_of(given: str | Method) -> Method:
    """The growth method of this name, or the method itself.

    Raises:
        UnknownMethodError: there is none.
    """
    if isinstance(given, Method):
        return given
    if not isinstance(given, str) or given not in {AUTO, *METHODS}:
        raise UnknownMethodError(
            f"there is no growth method {given!r:.80}. Choose one of: "
            f"{', '.join([AUTO, *METHODS])}; or give a net2net.Method."
        )
    return METHODS[name_of(given)]


def resolve_auto(given: str | Method, *, copies: object) -> str | Method:
    """The method. ``copies``: something was asked for that only copies have (noise, a sample of
    units, outputs that repeat)."""
    return "replicate" if given == AUTO and copies else given


def name_of(given: str | Method) -> str:
    """How a plan and a report call a method."""
    if isinstance(given, str):
        return "fresh" if given == AUTO else given
    named = next((name for name, one in METHODS.items() if one == given), None)
    return named or f"{given.incoming}/{given.outgoing}"
