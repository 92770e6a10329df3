"""Options that several commands share, and ``--help`` that shows them in groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from net2net.cli.words import Quantity, depths_of, numbers_of, widths_of
from net2net.hf.budget import Budget, Kind
from net2net.hf.folder import Check
from net2net.hf.source import DTYPES, Options
from net2net.hf.wish import Wish
from net2net.maps.methods import AUTO, METHODS
from net2net.transfer.longer import NewOutputs

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

GROWTH, SOURCE, TARGET, OUTPUT = (
    "What to grow", "How to read the source", "How to write the target", "What to print"
)  # fmt: skip


CHECKS: dict[str, Check] = {"whole": True, "blocks": "blocks", "sampled": "sampled"}
"""What may stand behind ``--verify``."""


class Option(click.Option):
    """An option that knows its group."""

    def __init__(self, *names: Any, group: str = OUTPUT, **given: Any) -> None:
        super().__init__(*names, **given)
        self.group = group


class Grouped(click.Command):
    """A command whose help has its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The groups in the order of their first option, and the rest."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(one, "group", OUTPUT), []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


def option(*names: str, group: str, **given: Any) -> Callable[[Command], Command]:
    """An option of a group."""
    return click.option(*names, cls=Option, group=group, **given)


growth = _together(
    option(
        "--recipe", group=GROWTH, metavar="FILE|PRESET",
        help="A growth as a file (docs/howto-folders.md), or a way of growing by its name; other "
        "options go above what it says.",
    ),
    option(
        "--width", "widths", group=GROWTH, multiple=True, metavar="[GLOB=]WIDTH",
        help="A factor for all (1.5), or for modules (model.layers.*.mlp.up_proj=1.5); a whole "
        "number behind a glob is a width.",
    ),
    option(
        "--depth", "depths", group=GROWTH, multiple=True, metavar="[STACK=]DEPTH",
        help="Blocks to add to a stack (model.layers=4), or how many times as many (1.5).",
    ),
    option(
        "--set", "numbers", group=GROWTH, multiple=True, metavar="NAME=VALUE",
        help="A number of the configuration: hidden_size=1024, text_config.hidden_size=1024.",
    ),
    option(
        "--params", "parameters", group=GROWTH, type=Quantity(), metavar="NUMBER",
        help="The smallest growth with as many parameters (6e9, 7B), in width and depth alike.",
    ),
    option(
        "--memory", group=GROWTH, type=Quantity(), metavar="BYTES",
        help="The largest growth whose weights fit (24GB), in the type of --dtype.",
    ),
    option(
        "--flops", group=GROWTH, type=Quantity(), metavar="NUMBER",
        help="The smallest growth with as many forward FLOPs for each token (or sample).",
    ),
    option(
        "--multiple-of", group=GROWTH, type=click.IntRange(1), metavar="NUMBER",
        help="For sizes that a factor or a budget leads to (a budget's: 64).",
    ),
    option(
        "--method", group=GROWTH, default=AUTO,
        type=click.Choice([AUTO, *(n for n, one in METHODS.items() if not one.needs_loss)]),
        show_default=True, help="How new units are made.",
    ),
    option(
        "--new-outputs", group=GROWTH, type=click.Choice(get_args(NewOutputs)),
        help="What makes words or classes that --set adds (vocab_size=50304): zero rows, the mean "
        "of the others, or random ones like them.",
    ),
    option("--seed", group=GROWTH, default=0, show_default=True, help="Of what is drawn."),
)  # fmt: skip

reading = _together(
    option(
        "--class", "class_name", group=SOURCE, metavar="MODULE:ATTRIBUTE",
        help="Makes the model of a state dict, called without arguments.",
    ),
    option(
        "--inputs", group=SOURCE, type=FILE, metavar="FILE",
        help="What the model runs on: .safetensors by argument, or a tensor, tuple or dict in .pt.",
    ),
    option(
        "--trust-remote-code", group=SOURCE, is_flag=True,
        help="Run the code that the folder brings. It may do anything: read it first.",
    ),
)  # fmt: skip

dtype = option(
    "--dtype", group=TARGET, type=click.Choice(sorted(DTYPES)),
    help="Of the target's weights, if not the source's.",
)  # fmt: skip

as_json = option("--json", "as_json", group=OUTPUT, is_flag=True, help="Print JSON.")


def wish_of(given: dict[str, Any]) -> Wish:
    """What the growth options ask for.

    Raises:
        InputError: nothing, or what does not go together.
        BadParameter: several budgets.
    """
    kind, size = budget_of(given)
    return Wish(
        widths=widths_of(given["widths"]), depths=depths_of(given["depths"]),
        numbers=numbers_of(given["numbers"]),
        budget=None if kind is None else Budget(kind, size, DTYPES.get(given["dtype"])),
        multiple_of=given["multiple_of"], method=given["method"], seed=given["seed"],
        new_outputs=given["new_outputs"],
    )  # fmt: skip


def budget_of(given: dict[str, Any]) -> tuple[Kind | None, float]:
    """The budget among what was given.

    Raises:
        BadParameter: there are several.
    """
    kinds: tuple[Kind, ...] = ("parameters", "memory", "flops")
    asked = [kind for kind in kinds if given[kind] is not None]
    if len(asked) > 1:
        raise click.BadParameter("one budget at a time", param_hint="--params, --memory, --flops")
    return (asked[0], given[asked[0]]) if asked else (None, 0.0)


def check_of(given: dict[str, Any]) -> Check:
    """How the target is compared with the source."""
    return False if given["no_verify"] else CHECKS[given["verify"]]


def how_of(given: dict[str, Any]) -> Options:
    """How the target is written."""
    return Options(
        check_of(given), DTYPES.get(given["dtype"]), given["max_shard_size"], given["state"]
    )
