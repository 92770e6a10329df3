"""widen: the whole way, trace → infer → plan → apply → verify."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from torch import nn

from net2net.apply.exported_graph import Export
from net2net.errors import GraphMismatchError, StudentRunError, VerificationError, WidthError
from net2net.finish import count_parameters
from net2net.growth import Growth, references
from net2net.infer.inference import Inference
from net2net.maps.methods import Method, name_of, resolve_auto
from net2net.plan.calibrated import listed
from net2net.plan.globs import name_attributes
from net2net.plan.steepest import Loss, check_loss
from net2net.plan.widths import MultipleOf, Widths
from net2net.report import Report
from net2net.trace.flops import flops
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs
from net2net.verify import NEARLY, Parity
from net2net.widen import told
from net2net.widen.attempt import Wider
from net2net.widen.graph_instead import graph_instead
from net2net.widen.made import Made, Maker
from net2net.widen.request import Request, check_request
from net2net.widen.student import attempted, find_student


def widen(
    model: nn.Module,
    widths: Widths,
    inputs: Inputs,
    *,
    multiple_of: MultipleOf = 1,
    method: str | Method = "auto",
    exact: bool = True,
    balanced: bool = True,
    noise: float = 0.0,
    calibrate: Iterable[Inputs] | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    verify: bool = True,
    on_unknown: str = "raise",
    outputs: str = "keep",
    also: Sequence[Inputs] = (),
    loadable: bool = False,
) -> Growth:
    """Net2WiderNet (paper, section 2.3, equation 2): a wider network that computes the same.

    Args:
        model: the teacher; never changed.
        widths: a factor for every space that can grow (``2`` as well as ``2.0``), or a dict from
            globs over module paths to a factor (a float: ``{"0": 2.0}`` is twice as wide) or a new
            width (an int: ``{"0": 2}`` is 2 wide). The space that the module *makes* grows, with
            all that is tied to it. A factor goes to the nearest admissible size. Attention grows
            by whole heads. A glob can also name an attribute that the code reads as a size
            (``"*.attn.num_heads"``); that of what lies inside heads (``"*.attn.head_dim"``) lets
            their number be, and makes them larger. Heads of keys that queries share: two widths of
            which one lets its own be (``{"*.q_proj": 1.5, "*.k_proj": 1.0}``, or the other way
            round) say which grow alone. Where a size is
            written into the model's code, one factor for all leaves the spaces that meet it as
            they are; spaces asked for by name grow in a graph of the model that ``torch.export``
            makes, a ``torch.fx.GraphModule``, and the report says so.
        inputs: what the model runs on: a tensor, a tuple (positional) or a dict (keywords).
        multiple_of: what sizes that factors lead to are multiples of (8 or 64 suits most hardware),
            for every space or by glob.
        method: how new units are made: a name in ``net2net.METHODS`` (print it), or a
            ``net2net.Method``. ``"auto"`` is what served best in the race:
            ``"fresh"``, units at random that nobody reads yet (copies with ``noise``, sampled, or
            where outputs grow); ``"replicate"`` copies units and divides what reads them;
            ``"random_pad"`` is the paper's baseline, which does not keep the function. A space that
            cannot have such units gets the nearest that keep what is computed, and the report says
            so.
        exact: keep what is computed, unless ``method`` or ``noise`` says otherwise. An ε that is
            written into the code and would have to change (an RMS norm behind a GELU) stays if the
            outputs are measured to change by 1e-6 of their size at most; the report says so.
            ``False``: a space that would grow by whole multiples only has any width, by new units
            that change what is computed as little as they can; the report names them, and the
            difference that was measured.
        balanced: deal copies out evenly; ``False`` samples them as in the paper.
        noise: standard deviation of the noise on the weights of all but the first copy of each
            unit, relative to the weights' own standard deviation. Breaks symmetry, and exactness.
        calibrate: batches, each like ``inputs``, on which running means and variances of new units
            behind batch norms are measured. Without, those of random units are the means of the
            teacher's, which nothing reads until their readers learn to.
        loss: for ``method="gradmax"``: a function of a model that returns its loss, on batches that
            the function knows (``lambda model: cross_entropy(model(x), labels)``). It is called
            with the student in evaluation mode, up to 30 times, and differentiated twice.
        seed: of the random map and the noise. The same seed gives the same student everywhere.
        verify: measure the difference. Where the function was not kept, find the spaces to blame:
            one factor for all leaves them as they are; those asked for by name are an error.
        on_unknown: operations without a rule leave the spaces that they touch as they are.
            ``"raise"``: and raise where such a space was asked for by name. ``"fix"``: then as
            well it counts as one that cannot grow.
        outputs: ``"keep"``, or ``"grow"`` where the model ends in features that may grow as well:
            ``Growth.outputs`` then says which of the teacher's values each position repeats.
        also: further inputs, for code that branches on its input (the report says where): all that
            any of them reaches grows, and the student is verified on each.
        loadable: only widths that the model's configuration can say, so that a saved student is
            loaded by its class (``save_pretrained``, ``from_pretrained``): factors go to the
            nearest, other integers are an error.

    Raises:
        UnsupportedModelError, InputError: the model cannot be traced.
        UnknownOperationError: an operation on what was asked for has no rule.
        UnknownModuleError, WidthError, NotGrowableError: the widths cannot be had.
        GraphMismatchError: the student's code does not follow its new sizes.
        VerificationError: the student's outputs differ.
    """
    check_model(model)
    method = resolve_auto(method, copies=noise or not balanced or outputs == "grow")
    request = Request(
        widths, method, balanced, noise, seed, verify, on_unknown, outputs == "grow", also,
        multiple_of, None if calibrate is None else listed(calibrate), exact, loadable, loss,
    )  # fmt: skip
    check_request(request, outputs)
    check_loss(loss, request.way)
    made, notes = _made(model, inputs, request)
    wider = made.wider
    report = Report(
        action=f"widened {type(model).__name__} by {name_of(method)}",
        asked=str(request),
        rows=told.rows(wider),
        stayed=told.stayed(wider, request),
        parameters=(count_parameters(model), count_parameters(made.student)),
        bytes=made.plan.summary().bytes,
        flops=(flops(wider.teacher.traces[0]), flops(wider.student.traces[0])),
        parity=made.parity,
        warnings=told.warnings(wider, request),
        notes=notes + told.notes(wider, request, made.plan, made.parity),
    )
    return Growth(made.student, made.plan, report, wider.outputs, references(model))


def _made(model: nn.Module, inputs: Inputs, request: Request) -> tuple[Made, tuple[str, ...]]:
    """The student, and what to say of it. Where an ε that is written into the code changes more
    than it may, one in which no such has to change.

    Raises:
        Net2NetError: there is none, or it computes something else.
    """
    wider, export, notes = prepared(model, inputs, request)
    maker = Maker(model, inputs, request, export)
    if not (wider.left and request.measures_eps):
        return maker.whole(wider), notes
    try:
        return maker.measured(wider), notes
    except (StudentRunError, VerificationError) as error:
        try:
            return _made(model, inputs, replace(request, nearly=False))
        except WidthError as refused:
            raise WidthError(f"{refused} {_too_far(error)}".strip()) from error


def _too_far(error: StudentRunError | VerificationError) -> str:
    """What was measured where an ε stayed."""
    if not isinstance(error, VerificationError) or not isinstance(error.parity, Parity):
        return ""
    return (
        "(As ε is written into the code, it makes a relative difference of "
        f"{error.parity.max_rel:.2g}, and up to {NEARLY:g} is let pass.)"
    )


def prepared(
    model: nn.Module, inputs: Inputs, request: Request
) -> tuple[Wider, Export | None, tuple[str, ...]]:
    """The student that is possible; if only a graph of the model can be it, how to make that, and
    what to say of it."""
    attempt = attempted(model, inputs, request)
    try:
        return find_student(attempt), None, ()
    except GraphMismatchError as error:
        try:
            return _in_a_graph(model, inputs, request, error, attempt.teacher)
        except GraphMismatchError:
            attempt.check_runnable(error)
            raise


def _in_a_graph(
    model: nn.Module, inputs: Inputs, request: Request, error: GraphMismatchError,
    found: Inference,
) -> tuple[Wider, Export, tuple[str, ...]]:  # fmt: skip
    """The student that a graph of the model makes possible. ``found``: of the model."""
    # Most of it grows without the spaces that meet there: that is the user's choice. And a
    # graph has none of the attributes, takes one branch, and is built from no configuration.
    named = isinstance(request.widths, Mapping) and not request.also and not request.loadable
    if not named or name_attributes(model, request.widths):  # type: ignore[arg-type]
        raise error
    graph, export, notes = graph_instead(model, inputs, error, found)
    return find_student(attempted(graph, inputs, request)), export, notes
