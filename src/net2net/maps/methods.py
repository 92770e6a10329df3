"""Growth methods by name: how the units are made that a teacher has not."""

from __future__ import annotations

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
        incoming: ``"copy"`` of a unit of the teacher's (paper, section 2.3); ``"random"``;
            ``"zero"``, so that the unit is zero where every operation maps zero to zero.
        outgoing: what readers hold for it: ``"share"`` of what they hold for the unit that it
            copies (paper, equation 2); ``"zero"``; ``"random"``.
        shares: of copies: ``"even"``; ``"uneven"``, drawn evenly from all that sum to one;
            ``"one_sided"``, one and zeros.
        norms: under layer and RMS norms: ``"pad"`` the stream with means or zeros, or ``"copy"`` it
            at whole multiples (padded elsewhere).
    """

    incoming: Literal["copy", "random", "zero"] = "copy"
    outgoing: Literal["share", "zero", "random"] = "share"
    shares: Literal["even", "uneven", "one_sided"] = "even"
    norms: Literal["pad", "copy"] = "copy"

    @property
    def exact(self) -> bool:
        """Whether the student computes what the teacher does."""
        return {"copy": "share", "random": "zero"}.get(self.incoming, self.outgoing) == (
            self.outgoing
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
    "fresh": Method("random", "zero", norms="pad"),
    "silent": Method("zero", "random", norms="pad"),
    "random_pad": Method("random", "random"),
    "auto": Method(),
})  # fmt: skip
"""``auto`` is what is known to serve best: at present ``replicate``."""


def method_of(given: str | Method) -> Method:
    """The growth method of this name, or the method itself.

    Raises:
        UnknownMethodError: there is none, or one of its fields has a value that it cannot have.
    """
    if isinstance(given, Method):
        _check(given)
        return given
    if not isinstance(given, str) or given not in METHODS:
        raise UnknownMethodError(
            f"there is no growth method {given!r:.80}. Choose one of: {', '.join(METHODS)}; or "
            "give a net2net.Method."
        )
    return METHODS[given]


def _check(method: Method) -> None:
    allowed = {
        "incoming": ("copy", "random", "zero"), "outgoing": ("share", "zero", "random"),
        "shares": ("even", "uneven", "one_sided"), "norms": ("pad", "copy"),
    }  # fmt: skip
    for name, values in allowed.items():
        if (value := getattr(method, name)) not in values:
            raise UnknownMethodError(
                f"{name} of the method is {value!r:.80}. Choose one of: {', '.join(values)}."
            )
    if (method.outgoing == "share") != (method.incoming == "copy"):
        raise UnknownMethodError(
            f"units that are {method.incoming} cannot go out as {method.outgoing}: copies share, "
            "and nothing else does. Choose another outgoing."
        )


def name_of(given: str | Method) -> str:
    """How a plan and a report call a method."""
    if isinstance(given, str):
        return given
    named = next((name for name, one in METHODS.items() if one == given), None)
    return named or f"{given.incoming}/{given.outgoing}"
