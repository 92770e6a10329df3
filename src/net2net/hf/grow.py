"""grow: a larger model by its own configuration."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

from torch import nn

from net2net.errors import WidthError
from net2net.growth import Growth
from net2net.hf.changed import built
from net2net.hf.examples import example_inputs
from net2net.maps.methods import Method
from net2net.plan.steepest import Loss
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs
from net2net.transfer.longer import NewOutputs
from net2net.transfer.stacks import Depth
from net2net.transfer.transfer import transfer


def grow(
    model: nn.Module,
    inputs: Inputs | None = None,
    *,
    method: str | Method = "auto",
    depth: Depth = "spread",
    exact: bool = True,
    noise: float = 0.0,
    loss: Loss | None = None,
    new_outputs: NewOutputs | None = None,
    seed: int = 0,
    verify: bool = True,
    **target: Any,
) -> Growth:
    """A larger model of transformers, said by its configuration, that computes the same.

        grown = net2net.grow(gpt2, n_embd=1024, n_head=16, n_layer=24)

    The student is built from the changed configuration and gets its weights by ``transfer``, so it
    is saved and loaded as any model of its class. Features that it returns grow with it, and
    ``Growth.outputs`` says what each repeats; or new ones are added, as ``new_outputs`` says:

        grown = net2net.grow(gpt2, vocab_size=50304, new_outputs="mean")

    Args:
        model: the teacher, with a configuration of transformers; never changed.
        inputs: what it runs on. None: ``net2net.hf.example_inputs`` makes some.
        method, depth, exact, noise, loss, new_outputs, seed, verify: as for ``transfer``.
        target: the configuration's own numbers, under its own names (``hidden_size=1024``). A
            dict changes a configuration inside it (``text_config={"hidden_size": 1024}``). Lists
            with an entry for every layer follow the number of layers.

    Raises:
        InputError: the model has no such configuration, or runs on nothing that can be made.
        UnsupportedModelError: it cannot be traced.
        WidthError: the configuration has no such number, or its class builds nothing from it;
            which numbers near it would do.
        TransferError: the student cannot compute what the teacher does.
    """
    check_model(model)
    if not target:
        raise WidthError(
            "nothing was asked of the configuration. Give some of its numbers: hidden_size=1024."
        )
    student = built(model, target)
    given = made_inputs(model) if inputs is None else inputs
    grown = transfer(
        model, student, given, method=method, depth=depth, exact=exact, noise=noise, loss=loss,
        seed=seed, verify=verify, outputs="grow" if new_outputs is None else "keep",
        new_outputs=new_outputs,
    )  # fmt: skip
    asked = ", ".join(f"{name}={value!r}" for name, value in target.items())
    return replace(grown, report=replace(grown.report, asked=asked))


def made_inputs(model: nn.Module) -> dict[str, Any]:
    """Examples, without caches, of which a deeper student has more."""
    made = example_inputs(model)
    if "use_cache" in inspect.signature(model.forward).parameters:
        made["use_cache"] = False
    return made
