"""measure: everything that makes one model count, on one model, in this process."""

from __future__ import annotations

import math
import re
import time
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import net2net
from net2net import analysis
from net2net.apply.module import with_tensors
from net2net.errors import InputError, Net2NetError, VerificationError, is_out_of_memory
from net2net.infer.spaces import Space, Spaces
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Inputs, Trace, split_inputs, tensors_of
from net2net.verify import verify
from net2net_lab.zoo.depth import deepened
from net2net_lab.zoo.randomise import randomise
from net2net_lab.zoo.records import FACTOR, METHOD, OK, Measurement
from net2net_lab.zoo.subject import NotBuiltError, Subject, private, run

MOST_FIXED = 6
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
OF_ROUNDING = 5e-6
"""Where the code casts what it computes to float32, whose last bits are then others."""

PLACES = re.compile(r"(?<![\w./])/\S*?/(?:site-packages|src)/")
"""Where libraries lie on this machine, which is nobody else's business."""


class _Failure(Exception):
    """A condition that does not hold: which, and how one sees it."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(stage, reason)
        self.stage, self.reason = stage, reason


def measure(subject: Subject, factor: float = FACTOR, method: str = METHOD) -> Measurement:
    """Widen a model and check everything that has to hold then. Never raises on account of
    the model: what goes wrong is the result."""
    found = Measurement(note=subject.note)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _measure(subject, factor, method, found)
    except _Failure as failure:
        return found.fail(failure.stage, failure.reason)
    except NotBuiltError as error:
        return found.fail("build", str(error))
    except Net2NetError as error:
        return found.fail("limit" if out_of_memory(error) else "widen", describe(error))
    except Exception as error:
        if out_of_memory(error):
            return found.fail("limit", f"{describe(error)}{_where(error)}")
        return found.fail("widen", f"crash: {describe(error)}{_where(error)}")
    found.status = OK
    return found


def _measure(subject: Subject, factor: float, method: str, found: Measurement) -> None:
    teacher, inputs = _precise(randomise(subject.model.eval()), subject.inputs)
    _warm_up()
    found.export_seconds = _export_seconds(teacher, inputs)
    _, (done,), _ = analysis.traced(teacher, inputs)
    found.operations = len(done.ops)
    failure: Exception | None = None
    try:
        _check_widened(teacher, inputs, factor, method, done, found)
    except NotBuiltError:
        raise
    except (_Failure, Net2NetError) as error:
        failure = error
    try:  # a model that does not grow wider may grow deeper
        _check_depth(teacher, inputs, done, found)
    except (_Failure, Net2NetError) as error:
        found.deepened, found.not_deeper = "", describe(error)
        failure = failure or error
    if failure is not None:
        raise failure


def _check_widened(
    teacher: nn.Module, inputs: Inputs, factor: float, method: str, done: Trace, found: Measurement
) -> None:
    begin = time.perf_counter()
    grown = net2net.widen(teacher, factor, inputs, method=method, verify=False)
    found.seconds = round(time.perf_counter() - begin, 3)
    found.spaces, found.parameters = len(grown.report.rows), grown.report.parameters
    table = net2net.spaces(teacher, inputs)
    found.fixed, found.rounded = _fixed(table), _rounded(table, factor)
    loaded = _loaded(teacher, grown)
    _check_function(teacher, grown, loaded, inputs, found, rounds=_rounds(table))
    found.reached = reached = _reached(teacher, grown, done)
    _check_size(table, grown, reached, factor, found)
    _check_classes(teacher, loaded)
    _check_gradients(teacher, loaded, inputs)


def _precise(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
    """The model in float64 if it runs in that, else in float32; refused if it computes nothing."""
    for dtype in (torch.float64, torch.float32):

        def cast(item: Any, dtype: torch.dtype = dtype) -> Any:
            floating = isinstance(item, Tensor) and item.is_floating_point()
            return item.to(dtype) if floating else item

        converted = tree_map(cast, inputs)
        model = model.to(dtype)
        try:
            outputs = tensors_of(run(private(model), converted))
        except Exception as error:
            failure = NotBuiltError(f"it does not run: {describe(error)}")
            continue
        floating = [tensor for _, tensor in outputs if tensor.is_floating_point()]
        if not floating or not all(tensor.isfinite().all() for tensor in floating):
            failure = NotBuiltError("with random weights its outputs are not finite")
            continue  # what is finite in float32: masks are float64's least number in float32
        if not any(tensor.any() for tensor in floating):
            raise NotBuiltError("with random weights its outputs are all zero")
        return model, converted
    raise failure


def _warm_up() -> None:
    """What a process does only once should not count as the model's time."""
    tiny, inputs = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), torch.ones(1, 2)
    net2net.widen(tiny, FACTOR, inputs, verify=False)
    torch.export.export(tiny, (inputs,), strict=False)


def _export_seconds(model: nn.Module, inputs: Inputs) -> float | None:
    args, kwargs = split_inputs(inputs)
    model = private(model)
    begin = time.perf_counter()
    try:
        torch.export.export(model, args, kwargs, strict=False)
    except Exception:  # export raises anything; that it cannot is what is recorded
        return None
    return round(time.perf_counter() - begin, 3)


def _fixed(table: Spaces) -> list[str]:
    """The largest spaces that cannot grow, each with the reason; kernels never do."""
    fixed = [space for space in table if space.reason and "has a kernel" not in space.reason]
    fixed.sort(key=lambda space: -space.size * len(space.axes))
    return [f"{space.name} ({space.size}): {space.reason}" for space in fixed[:MOST_FIXED]]


def _rounded(table: Spaces, factor: float) -> list[str]:
    """Spaces of which nothing larger is as near to the factor as what they are."""
    return [s.name for s in table.growable if _nearest(s, factor) <= s.size]


def _nearest(space: Space, factor: float) -> int:
    """The admissible size that is nearest to what the factor asks for."""
    return math.floor(space.size / space.step * factor + 0.5) * space.step


def _rounds(table: Spaces) -> bool:
    """Whether the code itself casts hidden units to float32, whatever its parameters are."""
    inference = table[0].inference
    return any(
        op.args.get("dtype") == torch.float32 and any(values[ref.id].parts for ref in op.inputs)
        for trace, values in zip(inference.traces, inference.values, strict=True)
        for op in trace.ops
    )


def _check_function(
    teacher: nn.Module, grown: net2net.Growth, student: nn.Module, inputs: Inputs,
    found: Measurement, *, rounds: bool,
) -> None:  # fmt: skip
    least = OF_ROUNDING if rounds else 0.0
    weights = _name(next(teacher.parameters()).dtype)
    _compare(teacher, student, inputs, found, max(TOLERANCE[weights], least))
    if found.dtype != weights:  # how exact the plan is shows without the weights' rounding
        wide = private(teacher).to(torch.float64)
        _compare(wide, grown.plan.apply(wide), inputs, found, least)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _compare(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, found: Measurement, least: float
) -> None:
    """Note how far they differ, and refuse more than rounding explains, or ``least``."""
    try:
        parity = verify(private(teacher), private(student), inputs)
    except (InputError, VerificationError) as error:
        raise _Failure("function", f"the student: {describe(error)}") from error
    found.difference = parity.max_rel
    found.dtype = _name(parity.dtype)
    if not parity.max_rel <= max(TOLERANCE.get(found.dtype, 0.0), least):
        raise _Failure("function", f"the student's output {parity.worst or '0'} differs: {parity}")


def _reached(teacher: nn.Module, grown: net2net.Growth, done: Trace) -> tuple[int, int]:
    """Parameters, before and after, that the model reads on these inputs: of a part that they do
    not reach (what sees images, where they are text) the graph says nothing."""
    read = {done.names.get(ref.id) for op in done.ops for ref in op.inputs}
    before, after = [
        sum(p.numel() for name, p in model.named_parameters() if name in read)
        for model in (teacher, grown.model)
    ]
    return before, after


def _check_size(
    table: Spaces, grown: net2net.Growth, reached: tuple[int, int], factor: float,
    found: Measurement,
) -> None:  # fmt: skip
    names = {row.name for row in grown.report.rows if row.new > row.old} | {*found.rounded}
    stayed = [s.name for s in table.growable if s.name not in names and not s.unread]
    if stayed:
        noted = [note for note in grown.report.notes if any(f"'{name}'" in note for name in stayed)]
        why = "; ".join(noted or stayed)
        raise _Failure("size", f"{len(stayed)} spaces could grow and did not: {why}")
    before, after = reached
    least = min([factor, *(max(1.0, _nearest(s, factor) / s.size) for s in table.growable)])
    if after < least * before:
        fixed = "; ".join(found.fixed) or "none is fixed"
        raise _Failure("size", f"parameters × {after / before:.2f} only. Fixed spaces: {fixed}")


def _loaded(teacher: nn.Module, grown: net2net.Growth) -> nn.Module:
    """The student's state in another copy, whose tensors had no values before, and which is what
    all further checks are made on: what the state leaves out raises there."""
    state = grown.model.state_dict(keep_vars=True)  # so that what is tied stays tied
    emptied = {
        name: tensor.detach().to("meta") for name, tensor in named_tensors(teacher) if name in state
    }
    try:
        second = grown.plan.apply(with_tensors(teacher, emptied))
    except RuntimeError:  # units without a source are drawn from the teacher's values
        second = grown.plan.apply(teacher)
    try:
        second.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise _Failure("state", f"load_state_dict: {error}") from error
    again = second.state_dict()
    different = [name for name in state if not torch.equal(state[name], again[name])]
    if different:
        raise _Failure("state", f"not equal after loading: {', '.join(different)}")
    return second


def _check_classes(teacher: nn.Module, student: nn.Module) -> None:
    """Of the model and of everything in it, for a read-out may be around it."""
    before, after = [
        {path: type(part).__name__ for path, part in model.named_modules()}
        for model in (teacher, student)
    ]
    if before != after:
        changed = sorted(path for path, _ in before.items() ^ after.items())
        raise _Failure("class", f"modules of another class: {', '.join(changed)}")


def _check_depth(teacher: nn.Module, inputs: Inputs, done: Trace, found: Measurement) -> None:
    try:
        found.deepened, found.not_deeper = deepened(teacher, inputs, done)
    except VerificationError as error:
        raise _Failure("depth", describe(error)) from error


def _check_gradients(teacher: nn.Module, student: nn.Module, inputs: Inputs) -> None:
    try:
        expected = _gradients(teacher, inputs)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise NotBuiltError(f"the teacher itself cannot be trained: {describe(error)}") from error
    try:
        reached = _gradients(student, inputs)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise _Failure("gradient", describe(error)) from error
    if not expected:
        raise NotBuiltError("no parameter has a gradient")
    missing = [name for name in expected if name not in reached]
    if missing:
        raise _Failure("gradient", f"no gradient in the student: {', '.join(missing)}")
    broken = [name for name, finite in reached.items() if not finite and expected.get(name)]
    if broken:
        raise _Failure("gradient", f"not finite in the student: {', '.join(broken)}")


def _gradients(model: nn.Module, inputs: Inputs) -> dict[str, bool]:
    """Parameters that a random linear functional of the outputs has a gradient for, and whether
    that is finite. No two gradients are in memory at a time."""
    model = private(model).requires_grad_()
    found: dict[str, bool] = {}

    def note(name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None
        if parameter.grad.numel():
            largest = torch.linalg.vector_norm(parameter.grad, float("inf"))  # takes no memory
            found[name] = bool(largest.isfinite())
        parameter.grad = None

    for name, parameter in model.named_parameters():
        if parameter.is_floating_point():
            hook = partial(note, name)
            parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
    args, kwargs = split_inputs(inputs)
    torch.manual_seed(0)
    outputs = [tensor for _, tensor in tensors_of(model.eval()(*args, **kwargs))]
    generator = torch.Generator().manual_seed(1)
    functional = [
        (tensor * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)).sum()
        for tensor in outputs
        if tensor.requires_grad and tensor.is_floating_point()
    ]
    if functional:
        torch.stack([part.double() for part in functional]).sum().backward()  # type: ignore[no-untyped-call]
    return found


def describe(error: BaseException) -> str:
    """An error in one line; the library's own errors are sentences already."""
    text = PLACES.sub("", " ".join(str(error).split()))
    named = isinstance(error, Net2NetError)
    kind = type(error).__name__
    return f"{kind}: {text}" if named or text else kind


def _where(error: BaseException) -> str:
    """The line that raised, for a crash has no other place."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return ""
    code = last.tb_frame.f_code
    return f" ({PLACES.sub('', code.co_filename)}:{last.tb_lineno})"


def out_of_memory(error: Exception) -> bool:
    """Whether the memory limit was met, or an error quotes one that says so."""
    return is_out_of_memory(error) or "MemoryError" in str(error)
