"""deepen: insert layers that are identities (Net2DeeperNet, paper section 2.4).

h = φ(W x) becomes φ(U φ(W x)) with U = I, which is the same if φ(φ(v)) = φ(v). The new layer stands
*before* the teacher's own activation, behind a copy of it: W, [φ, U, norm], φ. So it does not
matter how the model calls its activation. On top of a module that ends in no layer (a
concatenation, a sum), a block of the caller's own stands: see ``attach``. What is followed is
replaced by a ``Sequential`` of itself and the new ones: the names of ``trunk.3`` in the state dict
then start with ``trunk.3.0``, those of the first new one with ``trunk.3.1``, and no others change.

A stack of residual blocks gets more of them, which copy their neighbours and add nothing yet: see
``stacks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from net2net.analysis import analyse, check_also
from net2net.deepen.both import in_longer, together
from net2net.deepen.how import How, Order
from net2net.deepen.layers import DEEPEST, with_layers
from net2net.deepen.made import Depths, Made
from net2net.deepen.stacks import stacks_of, with_stacks
from net2net.errors import DepthError
from net2net.finish import check, count_parameters
from net2net.growth import Growth, references
from net2net.identity.insertion import KINDS
from net2net.infer.branches import branch_notes
from net2net.infer.inference import Inference
from net2net.report import Report
from net2net.stages import stage
from net2net.trace.flops import flops
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs
from net2net.verify import Parity


def deepen(
    model: nn.Module,
    depths: Depths,
    inputs: Inputs,
    *,
    order: Order = "spread",
    copy: str = "neighbour",
    kind: str = "identity",
    exact: bool = True,
    seed: int = 0,
    calibrate: Iterable[Inputs] | None = None,
    verify: bool = True,
    also: Sequence[Inputs] = (),
) -> Growth:
    """Net2DeeperNet (paper, section 2.4): a deeper network that computes the same.

    Args:
        model: the teacher; never changed.
        depths: globs over module paths → how many identity layers to insert after each match. A
            match is a linear or convolution layer, or a module around such layers (a
            convolution–norm–activation block, a maxout). The new layer is of the same kind, with
            the kernel size, norm and activation of the one it follows. Or → a pair of how many
            and a function from a number of channels to a new block (linear or convolution layers
            that keep it, batch norms and activations in a ``Sequential``): these follow any
            module, whatever it ends in; of nested matches the outermost. Its weights are set to
            identities, and its activations have to keep what the module puts out, as ReLU does
            what comes from a ReLU. A glob of a stack (a ``ModuleList``, or a ``Sequential`` of
            residual blocks) → how many blocks to add (an int), or how many times as many it has (a
            float, ``1.5``): each copies a neighbour, and the last projection (or the gate, or the
            norm) of every branch that joins the stream is zero, so that the block returns what it
            is given and learns at once. Blocks that alternate are added in whole periods. What
            the code counts them by is set, in modules and configurations.
        order: of new blocks in a stack, each behind the one it copies: ``"spread"``; ``"top"``,
            behind the last, ``"bottom"``, behind the first, ``"middle"``; or the numbers of the
            blocks behind which they stand, a list.
        copy: what new blocks in a stack hold: ``"neighbour"``, its weights; ``"own"``, weights
            drawn anew like them; or, with ``exact=False``, whole blocks of a stack that is
            repeated, ``"stack"`` (as G_stack does), or of its first and last, ``"overlap"`` (depth
            up-scaling).
        kind: of new layers behind a layer: ``"identity"``, behind its activation φ, which has to be
            idempotent (φ(φ(v)) = φ(v)), and with its batch norm; ``"linear"``, an identity
            without φ and norm, for any φ; ``"residual"``, a branch of φ and a layer of zeros,
            added to what φ gets, for any φ too; ``"pair"``, two of the first kind, of a vertical
            and a horizontal kernel (paper, Figure 6), also on top of a module that ends in ReLUs.
        exact: refuse a stack whose blocks cannot return what they are given. ``False`` does the
            closest thing, and reports how far off that is.
        inputs: what the model runs on: a tensor, a tuple (positional) or a dict (keywords).
        seed: of random numbers that the model draws while calibrating, and of what is drawn.
        calibrate: batches, each like ``inputs``, on which mean and variance for a new batch norm
            are measured (the model runs in training mode, on a copy). Without them, the norm is
            an identity in evaluation mode only.
        verify: measure the difference, and raise if the function was not kept.
        also: further inputs, for code that branches on its input (the report says where): the
            student is verified on each.

    Raises:
        UnsupportedModelError, InputError: the model cannot be traced.
        UnknownModuleError: a glob matches no module.
        DepthError: no such layer can stand there (a sigmoid, tanh or GELU follows an identity; the
            new block's activation would change what it gets), or the student would not fit into
            memory.
        VerificationError: the student's outputs differ.
    """
    check_model(model)
    check_also(also)
    if type(seed) is not int:
        raise DepthError(f"seed is {seed!r}. Give an integer.")
    how = How(order, copy, exact)
    how.check()
    _check_kind(kind)
    _check_depths(depths)
    with stage("traced and inferred the teacher"):
        teacher = analyse(model, inputs, on_unknown="fix", also=also)
    stacks, layers = _stacks(model, teacher, depths)
    if kind != "identity" and not layers:
        raise DepthError(
            f"kind is {kind!r}, which new layers are, and all that depths name are stacks. "
            "Name layers as well, or leave kind out."
        )
    every = [inputs, *also]
    if stacks:
        with stage("made the stacks longer"):
            made = with_stacks(model, teacher, stacks, how, every, seed)
        if layers:
            asked = in_longer(model, made, layers, kind)
            known = analyse(made.student, inputs, on_unknown="fix", also=also)
            deeper = with_layers(made.student, known, asked, every, calibrate, seed, kind)
            made = together(made, deeper)
    else:
        made = with_layers(model, teacher, layers, every, calibrate, seed, kind)
    parity = None
    if verify:
        with stage("verified"):
            parity = _measured(model, made, every, must_match=exact)
    report = Report(
        action=f"deepened {type(model).__name__}",
        asked=", ".join(f"{glob} {_asked(asked)}" for glob, asked in depths.items()),
        rows=made.rows,
        stayed=made.stayed,
        parameters=(count_parameters(model), count_parameters(made.student)),
        bytes=made.plan.summary().bytes,
        flops=(flops(teacher.traces[0]), flops(made.trace)),
        parity=parity,
        notes=(*made.notes, *branch_notes(teacher)),
    )
    return Growth(made.student, made.plan, report, _parameters=references(model))


def _check_depths(depths: Any) -> None:
    if not isinstance(depths, Mapping):
        raise DepthError(
            f"depths is a {type(depths).__name__}. "
            "Give a dict from module globs to how many identity layers to insert."
        )


def _asked(asked: object) -> str:
    if isinstance(asked, tuple) and len(asked) == 2:
        asked = asked[0]
    return f"× {asked:g}" if isinstance(asked, float) else f"+ {asked}"


def _check_kind(kind: object) -> None:
    if not isinstance(kind, str) or kind not in KINDS:
        raise DepthError(f"kind is {kind!r:.40}. Give one of {', '.join(map(repr, KINDS))}.")


def _stacks(
    model: nn.Module, teacher: Inference, depths: Depths
) -> tuple[dict[str, int | float], Depths]:
    """The stacks among what is to be deepened, and how many blocks each gets; and the rest.

    Raises:
        DepthError: what is asked for makes no sense.
    """
    found: dict[str, int | float] = {}
    others = {}
    for glob, asked in depths.items():
        paths = [] if isinstance(asked, tuple) else stacks_of(model, teacher, glob)
        if not paths:
            others[glob] = asked
        for path in paths:
            found[path] = _checked(glob, asked)
    return found, others


def _checked(glob: str, asked: Any) -> int | float:
    """Raises:
    DepthError: it is no number of blocks, and no factor.
    """
    whole = type(asked) is int and 0 <= asked <= DEEPEST
    if not whole and not (type(asked) is float and 1 <= asked <= DEEPEST):
        raise DepthError(
            f"the depth of '{glob}' is {asked!r:.40}. Give a number of blocks to add (an int, up "
            f"to {DEEPEST:,}), or how many times as many there will be (a float from 1.0 on)."
        )
    number: int | float = asked
    return number


def _measured(
    model: nn.Module, made: Made, inputs: Sequence[Inputs], *, must_match: bool
) -> Parity:
    """The worst parity of all inputs.

    Raises:
        DepthError, VerificationError: the student is not exact, and has to be.
    """
    in_stacks = made.places is not None
    parity = check(
        model, made.student, inputs[0], must_match=must_match and not in_stacks, also=inputs[1:],
        outputs=made.outputs, places=made.places,
    )  # fmt: skip
    if must_match and not parity.exact:
        raise DepthError(
            f"the deeper student does not compute the teacher's function: {parity}. Its code may "
            "count the blocks, or a block may end in a rectifier that others do not. Widen the "
            "model instead, or pass exact=False."
        )
    return parity
