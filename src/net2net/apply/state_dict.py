"""Apply to a state dict: names and tensors in, names and tensors out, no module needed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from net2net.apply.fingerprint import Fingerprint, shapes_of
from net2net.errors import PlanError
from net2net.recipe.run import Read


def checked_state(
    state: Mapping[str, Tensor], known: Fingerprint, whose: str, advice: str
) -> Mapping[str, Tensor]:
    """A state dict by the first names of tied tensors.

    Raises:
        PlanError: it is not of the model that the plan was made for.
    """
    found = {known.ties.get(name, name): tensor for name, tensor in state.items()}
    passing = {name for name, spec in known.tensors.items() if not spec.persistent}
    shapes = shapes_of(found) | {name: known.shapes[name] for name in passing}
    known.check(shapes, whose, advice)
    return found


def grown_state(known: Fingerprint, make: Read) -> dict[str, Tensor]:
    """The student's state dict; tied names share a tensor.

    Raises:
        PlanError: a tensor is made from one that state dicts do not hold.
    """
    result = {}
    for name, spec in known.tensors.items():
        if spec.persistent:
            try:
                result[name] = make(name, None)
            except KeyError as error:
                raise PlanError(
                    f"'{name}' is made from {error}, which the state dict does not hold. "
                    "Apply the plan to the model."
                ) from error
    for name, first in known.ties.items():
        if first in result:
            result[name] = result[first]
    return result
