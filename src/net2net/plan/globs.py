"""What a glob of the user's names: modules, bare parameters, or attributes of the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from net2net.errors import UnknownModuleError
from net2net.infer.inference import Inference
from net2net.infer.size_uses import SizeUse, attributes, by_attribute, sized_by
from net2net.infer.spaces import Space, Spaces
from net2net.infer.units import NO_UNIT, UnitIds
from net2net.trace.traced_ints import Origin


def name_attributes(model: nn.Module, globs: Iterable[str]) -> bool:
    """Whether some of these globs name attributes."""
    return not all(_found(model, glob) for glob in globs)


@dataclass(frozen=True)
class Width:
    """A width that a user names: how many units it counts, how many of these belong to no space
    that can grow (all, if nothing says how many)."""

    size: int
    staying: int


def named(
    spaces: Spaces, inference: Inference, model: nn.Module, glob: str
) -> Iterator[tuple[str, list[tuple[Width, Space]]]]:
    """What a glob names: a module and the spaces that it makes, or an attribute and the spaces that
    it counts; and its width in each."""
    if sizes := named_attributes(inference, model, glob):
        found = counted(spaces, inference)
        for name, origin in sizes.items():
            yield name, found.get(origin, [])
        return
    for path in matching(model, glob):
        made = _made_at(spaces, inference, path)
        yield path, [(_width(space, inference, path), space) for space in made]


def counted(spaces: Spaces, inference: Inference) -> dict[Origin, list[tuple[Width, Space]]]:
    """Attributes that code reads as sizes: the spaces that they count, and their value in each."""
    uses = by_attribute(use for use in spaces.size_uses if use.size.attribute_times)
    return {origin: _counted(spaces, inference, origin, own) for origin, own in uses.items()}


def _counted(
    spaces: Spaces, inference: Inference, origin: Origin, uses: Iterable[SizeUse]
) -> list[tuple[Width, Space]]:
    found: dict[str, tuple[Width, Space]] = {}
    for use in uses:
        size = use.size.values[origin]
        staying = int(inference.stays(use.units).sum())
        if staying and size < use.size:
            staying = size  # nothing says which part of each of the pieces on the axis
        for space in _spaces_on(spaces, inference, [use.units[use.units != NO_UNIT]]):
            known = found[space.name][0].staying if space.name in found else staying
            width = Width(size, min(staying, known))
            found[space.name] = (width, space)
    return list(found.values())


def _width(space: Space, inference: Inference, path: str) -> Width:
    """All that a module makes on the axis where it makes units of a space: what else is there
    cannot grow."""
    size, staying = space.made_by(path), 0
    axis = space.axis_of(path)
    if axis in inference.makers:
        other = len(inference.ids(inference.numbers[axis])) - space.axes[axis]
        staying = other // space.gates.get(axis, 1)
    return Width(size + staying, staying)


def named_attributes(inference: Inference, model: nn.Module, glob: str) -> dict[str, Origin]:
    """Attributes that a glob names, if it names no module and no parameter."""
    if not isinstance(glob, str) or _found(model, glob):
        return {}
    return {n: o for n, o in attributes(inference).items() if fnmatchcase(n, glob)}


def why_attributes_stay(inference: Inference, model: nn.Module, glob: str) -> dict[str, str]:
    """Attributes that a glob names, with why units stay that lie on an axis which they count."""
    groups = list(inference.groups.values())
    found: dict[str, str] = {}
    for name, origin in named_attributes(inference, model, glob).items():
        numbers = (n for ids in sized_by(inference, origin) for n in inference.groups_on(ids))
        why = next((fixed for n in numbers if (fixed := groups[n].fixed)), None)
        if why is not None:
            found[name] = why
        elif not any(len(ids) for ids in sized_by(inference, origin)):
            found[name] = "the code divides by it, so it follows what it divides, which can grow"
    return found


def _found(model: nn.Module, glob: str) -> list[str]:
    """Module paths that match a glob; else parameters that do (such as no layer owns)."""
    found = [path for path, _ in model.named_modules() if path and fnmatchcase(path, glob)]
    return found or [name for name, _ in model.named_parameters() if fnmatchcase(name, glob)]


def matching(model: nn.Module, glob: str) -> list[str]:
    """Module paths that match a glob.

    Raises:
        UnknownModuleError: none does; the message names near ones.
    """
    if not isinstance(glob, str):
        raise UnknownModuleError(
            f"{glob!r} is no module glob. Give a dict from module globs (str) to a factor or width."
        )
    found = _found(model, glob)
    if not found:
        paths = [path for path, _ in model.named_modules() if path]
        near = get_close_matches(glob, paths, n=3, cutoff=0.4)
        raise UnknownModuleError(
            f"no module matches '{glob}'."
            + (f" Near matches: {', '.join(near)}." if near else "")
            + " Module paths are those of model.named_modules(); an attribute that the code reads "
            "as a size can be named too."
        )
    return found


def _made_at(spaces: Spaces, inference: Inference, path: str) -> list[Space]:
    """The spaces of the units that a module puts out, unless the table calls another so; of those,
    the ones that it makes, if it makes any. For a bare parameter, those it makes."""
    blocks = [
        ids[ids != NO_UNIT]
        for trace, tensor in inference.outputs_of.get(path, ())
        for ids in inference.ids_of(trace, tensor)
    ]
    put_out = _spaces_on(spaces, inference, blocks)
    shown = [space for space in spaces.growable if space.name == path]
    if shown and shown[0] not in put_out:
        return shown

    def makes(space: Space) -> bool:
        return any(owns(path, axis.name) for axis in inference.makers & space.axes.keys())

    return [one for one in put_out if makes(one)] or put_out or [s for s in spaces if makes(s)]


def _spaces_on(spaces: Spaces, inference: Inference, blocks: Iterable[UnitIds]) -> list[Space]:
    """The spaces that these units belong to."""
    keys = list(inference.groups)
    numbers = [number for ids in blocks for number in inference.groups_on(ids)]
    found = [spaces.of_group[keys[n]] for n in numbers if keys[n] in spaces.of_group]
    return list({space.name: space for space in found}.values())


def owns(path: str, tensor: str) -> bool:
    """Whether a tensor is this one, or inside the module of this name."""
    return tensor == path or tensor.startswith(f"{path}.")
