"""Configurations that say how many blocks a stack has: set so that they build the longer one.

Which number counts the blocks, the class itself tells: it is built on ``meta`` with one changed
that is as large as the stack, and its tensors have to be the student's. Lists with an item for
every block (``layer_types``), or with the numbers of some (``cross_attention_layers``), follow
where it is not built otherwise. What else the class makes of them (rates of stochastic depth,
numbers that inner configurations repeat) is as in the model that it builds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice, product
from typing import Any

from torch import nn

from net2net.apply.attributes import SetAttribute, get_attribute
from net2net.apply.builds import build, fields, sizes_of
from net2net.apply.extend_list import ExtendList

Values = dict[str, Any]
"""Fields of a configuration → their values."""

_BUILDS = 60
"""How many changes are tried for one stack: each takes a model."""


def depth_settings(
    teacher: Any, student: nn.Module, path: str, edits: Sequence[ExtendList]
) -> Iterator[list[SetAttribute]]:
    """Ways to set the configuration of the module at a path so that its class builds the student's
    tensors, and all that the class makes of it.

    Args:
        teacher, student: the module in both; the student's has its blocks already.
        edits: as seen from the module.
    """
    kind, config = type(teacher), teacher.config
    before = build(kind, config, {})
    wanted = sizes_of(student, set())
    if before is None or wanted is None or sizes_of(before, set()) != sizes_of(teacher, set()):
        return
    stacks = {edit.at: len(dict(teacher.get_submodule(edit.at)._modules)) for edit in edits}

    def chosen(rest: Sequence[ExtendList]) -> Iterator[Values]:
        if not rest:
            yield {}
            return
        edit, *others = rest
        for one in _options(kind, config, edit, stacks[edit.at], wanted, before):
            for more in chosen(others):
                yield one | more

    for values in chosen(edits):
        after = build(kind, config, values)
        if after is None or sizes_of(after, set()) != wanted:
            continue
        said = [SetAttribute(path, f"config.{name}", value) for name, value in values.items()]
        yield [*said, *_implied((before, after), (teacher, student), path, edits)]


def _implied(
    built: tuple[nn.Module, nn.Module], models: tuple[nn.Module, nn.Module], path: str,
    edits: Sequence[ExtendList],
) -> Iterator[SetAttribute]:  # fmt: skip
    """Numbers that the class keeps in its modules, and in their own configurations, where they are
    not the student's, and were the teacher's: as built from the teacher's configuration and from
    the student's."""
    (olds, teachers), (news, students) = (
        (dict(one.named_modules()), dict(model.named_modules()))
        for one, model in zip(built, models, strict=True)
    )
    for name, part in news.items():
        origin = name
        for edit in edits:
            origin = edit.origin(origin)
        four = (olds.get(origin), teachers.get(origin), part, students.get(name))
        if any(one is None for one in four):
            continue
        where = ".".join(filter(None, (path, name)))
        for key in [*_numbers(part), *(_said(part) if name else ())]:
            old, was, new, now = (get_attribute(one, key) for one in four)
            if old == was and type(new) is type(now) and new != now:
                yield SetAttribute(where, key, new)


def _numbers(part: nn.Module) -> list[str]:
    return [
        name for name, value in vars(part).items()
        if type(value) in (int, float) and not name.startswith("_")
    ]  # fmt: skip


def _said(part: Any) -> list[str]:
    """Fields of a module's own configuration."""
    if not hasattr(getattr(part, "config", None), "from_dict"):
        return []
    return [
        f"config.{name}"
        for name in fields(part.config, lambda value: type(value) in (int, list, tuple))
    ]


def _options(
    kind: type[nn.Module], config: Any, edit: ExtendList, blocks: int, wanted: Mapping[str, int],
    before: nn.Module,
) -> Iterator[Values]:  # fmt: skip
    """Changes that bring a stack's own tensors, the fewest first."""
    now = _own(sizes_of(before, set()) or {}, edit.at)
    goal = _own(wanted, edit.at)
    numbers = fields(config, lambda value: type(value) is int and value == blocks)
    single = [[], *([name] for name in numbers)]
    lists = list(_lists(config, edit, blocks))
    more = [{}, {k: v for one in lists for k, v in one.items()}, *lists]
    changes = (
        {**dict.fromkeys(names, len(edit.blocks)), **follow}
        for some, follows in ((single, more), (combinations(numbers, 2), more[:2]))
        for follow, names in product(follows, some)
        if (names or follow) and not any(name.rpartition(".")[0] in follow for name in names)
    )
    for values in islice(changes, _BUILDS):
        built = build(kind, config, values)
        if built is not None and _own(sizes_of(built, set()) or {}, edit.at) == goal != now:
            yield values


def _own(sizes: Mapping[str, int], at: str) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if name.startswith(f"{at}.")}


def _lists(config: Any, edit: ExtendList, blocks: int) -> Iterator[Values]:
    """Lists that may be about the blocks, as they are of more."""
    for name in fields(config, lambda value: type(value) in (list, tuple) and bool(value)):
        items = get_attribute(config, name)
        if not all(isinstance(item, (int, float, str)) for item in items):
            continue
        if len(items) == blocks:
            yield {name: [items[i] for i in edit.sources]}
        if all(type(i) is int and 0 <= i < blocks for i in items):
            yield {name: [place for place, i in enumerate(edit.sources) if i in items]}
