"""``net2net plan``: plans as files."""

from __future__ import annotations

from pathlib import Path

import click

from net2net.cli.options import FILE
from net2net.errors import FolderError
from net2net.files import write_whole
from net2net.hf.source import tensors_in
from net2net.plan.plan import Plan


@click.group()
def plan() -> None:
    """Plans: what a growth does to every tensor, as plain data."""


@plan.command()
@click.argument("file", type=FILE)
def show(file: Path) -> None:
    """Print the plan in FILE, which Plan.save wrote."""
    click.echo(str(Plan.load(file)))


@plan.command()
@click.argument("file", type=FILE)
@click.argument("source", type=FILE)
@click.argument("target", type=click.Path(path_type=Path))
def apply(file: Path, source: Path, target: Path) -> None:
    """Apply the plan in FILE to the state dict in SOURCE; write TARGET, a .safetensors file.

    Tensors that were tied in the model are written once for each name.
    """
    from safetensors.torch import save

    if target.exists():
        raise FolderError(f"'{target}' is there already. Choose another target.")
    made = Plan.load(file).apply(tensors_in(source))
    tensors = {name: tensor.clone().contiguous() for name, tensor in made.items()}
    write_whole(target, save(tensors, {"format": "pt"}))
    click.echo(f"{len(made)} tensors written to {target}")


@plan.command()
@click.argument("file", type=FILE)
def sign(file: Path) -> None:
    """Give the plan in FILE, edited by hand, a checksum of its own, if it is still a plan."""
    Plan.load(file, checked=False).save(file)
    click.echo(f"signed {file}")
