"""What is typed: sizes, widths, numbers of a configuration, types."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from net2net.errors import InputError
from net2net.hf.quantity import quantity


class Quantity(click.ParamType[float]):
    """``6e9``, ``24GB``."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """As a float."""
        try:
            return quantity(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


def widths_of(given: Iterable[str]) -> Any:
    """One factor, or widths by glob; None if nothing is given."""
    words = list(given)
    if not words:
        return None
    if len(words) == 1 and "=" not in words[0]:
        return float(_number(words[0], "--width"))
    return _by_glob(words, "--width", "one factor for all, or a glob for each")


def depths_of(given: Iterable[str]) -> dict[str, int | float] | float:
    """How many blocks more, or how many times as many, for all lists or by the glob of one."""
    words = list(given)
    if len(words) == 1 and "=" not in words[0]:
        return _number(words[0], "--depth")
    return _by_glob(words, "--depth", "one number for all, or a stack for each: model.layers=4")


def numbers_of(given: Iterable[str]) -> dict[str, Any]:
    """Numbers of the configuration by name, with dots for those of one inside it."""
    result: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise click.BadParameter(f"'{one}' is not NAME=VALUE", param_hint="--set")
        try:
            result[name] = json.loads(text)
        except json.JSONDecodeError:
            result[name] = text
    return result


def _by_glob(given: Iterable[str], option: str, wanted: str) -> dict[str, int | float]:
    named = [one.rpartition("=") for one in given]
    if any(not glob for glob, _, _ in named):
        raise click.BadParameter(f"give {wanted}", param_hint=option)
    return {glob: _number(number, option) for glob, _, number in named}


def _number(text: str, option: str) -> int | float:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise click.BadParameter(f"'{text}' is no number", param_hint=option) from None
