"""verify: what it measures, in which type, and what it refuses to compare."""

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import InputError, VerificationError
from tests.helpers import image_model, noise, randomise, refused, untouched


class Plus(nn.Module):
    """The input and an offset of its own: the difference to another is known."""

    def __init__(self, *offsets: float) -> None:
        super().__init__()
        self.register_buffer("offset", torch.tensor(offsets or (0.0,), dtype=torch.float64))

    def forward(self, x: Tensor) -> Any:
        return x + self.offset


def ones(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.float64)


def test_equal_models() -> None:
    teacher = image_model()
    parity = net2net.verify(teacher, copy.deepcopy(teacher), noise(2, 3, 8, 8))
    assert (parity.max_abs, parity.max_rel, parity.outputs) == (0, 0, 1)
    assert parity.exact and parity.dtype == torch.float64


def test_the_largest_difference_absolute_and_relative() -> None:
    parity = net2net.verify(Plus(1.0), Plus(1.5), 3 * ones(2, 3))
    assert parity.max_abs == 0.5
    assert parity.max_rel == 0.5 / 4.0
    assert not parity.exact
    assert (
        "0.5 absolute" in str(parity)
        and "0.125 relative" in str(parity)
        and "float64" in str(parity)
    )


def test_differences_do_not_cancel() -> None:
    """One check sums signed errors; +1 and −1 are not the same."""
    parity = net2net.verify(Plus(0.0, 0.0), Plus(1.0, -1.0), ones(4, 2))
    assert parity.max_abs == 1 and not parity.exact


def test_one_wrong_element_among_many_counts() -> None:
    student = Plus(*[0.0] * 999, 1e-3)
    parity = net2net.verify(Plus(*[0.0] * 1000), student, ones(64, 1000))
    assert parity.max_abs == pytest.approx(1e-3, rel=1e-9)
    assert not parity.exact


def test_every_output_counts_by_its_own_scale() -> None:
    """A large output does not hide a small one that is wrong."""

    class Two(Plus):
        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"large": [1e6 * x], "small": 1e-3 * (x + self.offset)}

    parity = net2net.verify(Two(0.0), Two(0.1), ones(2, 2))
    assert parity.outputs == 2
    assert parity.max_abs == pytest.approx(1e-4)
    assert parity.max_rel == pytest.approx(0.1)
    assert "small" in parity.worst


@pytest.mark.parametrize("order", [("right", "wrong"), ("wrong", "right")], ids="-".join)
def test_the_worst_output_counts_wherever_it_is(order: tuple[str, str]) -> None:
    class Two(Plus):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            outputs = {"right": x, "wrong": x + self.offset}
            return {name: outputs[name] for name in order}

    parity = net2net.verify(Two(0.0), Two(1.0), ones(2, 2))
    assert (parity.max_abs, parity.max_rel) == (1, 1)
    assert "wrong" in parity.worst


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_models_of_other_types_are_compared_in_float64(dtype: torch.dtype) -> None:
    teacher = image_model().to(dtype)
    student = net2net.widen(teacher, 2.0, noise(2, 3, 8, 8).to(dtype), verify=False).model
    parity = net2net.verify(teacher, student, noise(2, 3, 8, 8).to(dtype))
    assert parity.dtype == torch.float64
    assert parity.max_rel <= 1e-12 and parity.exact
    assert next(teacher.parameters()).dtype == next(student.parameters()).dtype == dtype


class Single(nn.Module):
    """Runs in one type only, as a hand-written kernel does."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("expected float32")
        return self.head(self.a(x).relu())


def test_where_float64_does_not_run_it_says_so() -> None:
    teacher = Single()
    growth = net2net.widen(teacher, 1.5, torch.randn(4, 6))
    parity = growth.report.parity
    assert parity is not None
    assert parity.dtype == torch.float32 and "float32" in str(parity)
    assert parity.max_rel < parity.tolerance and parity.exact


class Normed(Single):
    """A layer norm among them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        return self.head(self.norm(0.3 * self.a(x)).relu())


def test_code_that_computes_no_number_in_float64() -> None:
    class Large(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            h: Tensor = super().forward(x)
            return h * torch.tensor(torch.finfo(h.dtype).max).float().double().to(h.dtype) / 1e38

    parity = net2net.verify(one := Large(3, 4), copy.deepcopy(one), torch.randn(2, 3))
    assert parity.dtype == torch.float32 and parity.exact


@pytest.mark.parametrize("seed", range(3))
def test_where_float64_does_not_run_another_epsilon_is_not_taken_for_rounding(seed: int) -> None:
    """What rounding explains is measured: far less than the largest that it may be."""
    teacher = randomise(Normed(), seed).float()
    student = copy.deepcopy(teacher)
    student.norm.eps += 1e-5
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(seed))
    parity = net2net.verify(teacher, student, x)
    assert parity.dtype == torch.float32 and parity.tolerance < 1e-5
    assert 1e-6 < parity.max_rel < 2e-4 and not parity.exact


@pytest.mark.parametrize("method", ["replicate", "fresh", "uneven"])
@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_where_float64_does_not_run_students_are_exact_by_what_is_measured(
    factor: float, method: str
) -> None:
    teacher = randomise(Normed()).float()
    parity = net2net.widen(teacher, factor, torch.randn(5, 6), method=method).report.parity
    assert parity is not None and parity.exact and parity.tolerance < 1e-5


class Odd(Single):
    """Has no outputs with other roundings."""

    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        if x.dtype == torch.float32 and not torch.equal(self.a.weight, self.kept):
            raise ValueError("other weights")
        return made


def test_where_nothing_can_be_measured_the_most_that_rounding_may_be_is_allowed() -> None:
    teacher = Odd()
    teacher.kept = teacher.a.weight.detach().clone()
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.head.weight *= 1 + 2e-6
    assert net2net.verify(teacher, student, torch.randn(5, 6)).tolerance == 1e-4


class Cast(Single):
    """Types that are written into the code."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.a(x.float()).to(torch.float32).relu().type(torch.float32))


def test_casts_in_the_code_do_not_hide_differences() -> None:
    """In float64 all the way, so that a difference far below float32's rounding shows."""
    teacher = Cast()
    student = copy.deepcopy(teacher)
    assert net2net.verify(teacher, student, torch.randn(4, 6)).dtype == torch.float64
    growth = net2net.widen(teacher, 2.0, torch.randn(4, 6))
    assert growth.report.parity is not None and growth.report.parity.max_rel <= 1e-12


def test_where_memory_does_not_allow_float64_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("net2net.verify")  # ``net2net.verify`` is the function
    monkeypatch.setattr(module, "_fits", lambda *models: False)
    teacher = image_model().float()
    student = net2net.widen(teacher, 3.0, torch.randn(2, 3, 8, 8), verify=False).model
    parity = net2net.verify(teacher, student, torch.randn(2, 3, 8, 8))
    assert parity.dtype == torch.float32 and parity.exact


def test_tolerances_still_tell_right_from_wrong() -> None:
    """A hundredth of a weight's own deviation is no rounding, in any type."""
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        teacher = image_model().to(dtype)
        student = copy.deepcopy(teacher)
        with torch.no_grad():
            student[8].weight[0] += 0.5 * student[8].weight.std()
        assert not net2net.verify(teacher, student, noise(2, 3, 8, 8).to(dtype)).exact


# -- nothing is changed ----------------------------------------------------------------------------


def test_both_models_are_untouched_and_run_in_evaluation_mode() -> None:
    teacher = image_model().train()
    student = copy.deepcopy(teacher)
    student[1].running_mean += 0.1  # in training mode it would not be read
    with untouched(teacher, student):
        parity = net2net.verify(teacher, student, noise(2, 3, 8, 8))
    assert parity.max_abs > 1e-3


def test_random_numbers_in_forward_are_the_same_for_both() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.randn_like(x) * torch.rand(1, dtype=x.dtype)

    parity = net2net.verify(Noisy(), Noisy(), ones(3, 2))
    assert parity.max_abs == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_inputs_that_are_written_to(dtype: torch.dtype) -> None:
    """The user's tensor stays, and the student gets what the teacher got."""

    class InPlace(Plus):
        def forward(self, x: Tensor) -> Tensor:
            return x.add_(1).mul_(2) + self.offset

    x = ones(2, 2).to(dtype)
    assert net2net.verify(InPlace(0.0), InPlace(0.0), x).max_abs == 0
    assert torch.equal(x, torch.ones_like(x))
    assert net2net.verify(InPlace(0.0), InPlace(1.0), x).max_abs == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_weights_that_forward_writes_to(dtype: torch.dtype) -> None:
    """A norm constraint applied in ``forward`` reaches copies only."""

    class Clamped(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.weight.clamp_(-0.1, 0.1)
            return super().forward(x)

    teacher = randomise(nn.Sequential(Clamped(6, 8), nn.ReLU(), nn.Linear(8, 3))).to(dtype)
    x = noise(4, 6).to(dtype)
    with untouched(teacher, student := copy.deepcopy(teacher)):
        net2net.verify(teacher, student, x)
        net2net.spaces(teacher, x)


# -- outputs of all kinds --------------------------------------------------------------------------


def test_indices_and_booleans_are_compared() -> None:
    class Classes(Plus):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return (x + self.offset).argmax(1), x + self.offset > 0

    x = noise(8, 2)
    assert net2net.verify(Classes(0.0, 0.0), Classes(0.0, 0.0), x).exact
    assert not net2net.verify(Classes(0.0, 0.0), Classes(0.0, 100.0), x).exact


def test_complex_outputs() -> None:
    class Spectrum(Plus):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x + self.offset)

    assert net2net.verify(Spectrum(0.0), Spectrum(0.0), noise(2, 8)).exact
    assert net2net.verify(Spectrum(0.0), Spectrum(1.0), noise(2, 8)).max_abs == pytest.approx(8)


def test_equal_infinities_are_equal() -> None:
    """Masked logits."""

    class Masked(Plus):
        def forward(self, x: Tensor) -> Tensor:
            return (x + self.offset).masked_fill(x > 0, -torch.inf)

    x = noise(4, 5)
    assert net2net.verify(Masked(0.0), Masked(0.0), x).exact
    assert net2net.verify(Masked(0.0), Masked(0.1), x).max_abs == pytest.approx(0.1)


def test_zero_outputs() -> None:
    class Zero(Plus):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0 + self.offset

    assert net2net.verify(Zero(0.0), Zero(0.0), ones(2, 2)).exact
    assert not net2net.verify(Zero(0.0), Zero(1e-15), ones(2, 2)).exact


def test_empty_outputs_do_not_disturb() -> None:
    class Empty(Plus):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [x + self.offset, x[:0]]

    assert net2net.verify(Empty(0.0), Empty(1.0), ones(2, 2)).max_abs == 1


def compared(one: Callable[[Tensor], Any], two: Callable[[Tensor], Any]) -> Any:
    class Function(nn.Module):
        def __init__(self, function: Callable[[Tensor], Any]) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Tensor) -> Any:
            return self.function(x)

    return net2net.verify(Function(one), Function(two), ones(2, 3))


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        (lambda x: x, lambda x: x[:1], r"\(2, 3\).*\(1, 3\)"),
        (lambda x: x, lambda x: x[:, :1], r"\(2, 3\).*\(2, 1\)"),
        (lambda x: (x, x), lambda x: x, "2 tensors.*1"),
        (lambda x: {"a": x}, lambda x: {"b": x}, "different places"),
        (lambda x: x, lambda x: x * torch.nan, "not finite"),
        (lambda x: x, lambda x: x / 0, "not finite"),
        (lambda x: x / 0, lambda x: x, "not finite"),
    ],
    ids=["batch", "features", "number", "names", "nan", "infinity", "infinite_teacher"],
)
def test_what_cannot_be_compared(one: Any, two: Any, words: str) -> None:
    with pytest.raises(VerificationError, match=words):
        compared(one, two)


@pytest.mark.parametrize(
    "output", [lambda x: None, lambda x: "text", lambda x: [], lambda x: x * torch.nan],
    ids=["none", "text", "empty_list", "all_nan"],
)  # fmt: skip
def test_nothing_to_compare_is_not_the_same(output: Any) -> None:
    """Where nothing was measured, nothing was verified."""
    with pytest.raises((VerificationError, InputError)):
        compared(output, output)


def test_inputs_that_do_not_run() -> None:
    teacher = image_model()
    with refused(InputError, "does not run", teacher=teacher):
        net2net.verify(teacher, copy.deepcopy(teacher), noise(2, 5, 8, 8))


@pytest.mark.parametrize(
    "inputs", [noise(4, 6), (noise(4, 6),), [noise(4, 6)], {"input": noise(4, 6)}]
)
def test_all_ways_to_give_inputs(inputs: Any) -> None:
    teacher = randomise(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    growth = net2net.widen(teacher, 2.0, inputs)
    assert net2net.verify(teacher, growth.model, inputs).max_rel <= 1e-12
    assert net2net.deepen(teacher, {"0": 1}, inputs).report.parity is not None
    assert len(net2net.spaces(teacher, inputs)) > 0


def test_inputs_that_ask_for_gradients_get_none() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    x = noise(4, 6).requires_grad_()
    growth = net2net.widen(teacher, 2.0, x)
    assert growth.report.parity is not None and growth.report.parity.exact
    assert x.grad is None
