"""What the tests share: models with random statistics, and what every growth must pass."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import net2net
from net2net import Growth, Net2NetError, Plan

EXACT = 1e-12
"""Largest relative difference in float64 that counts as the same function."""


# -- models ----------------------------------------------------------------------------------------


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """In place: every parameter and every running statistic is redrawn, so nothing is neutral
    (no bias 0, no scale 1, no mean 0). Returns the model in float64, in evaluation mode."""
    rng = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, std: float) -> None:
        tensor.copy_(torch.randn(tensor.shape, generator=rng, dtype=torch.float64) * std)

    def uniform(tensor: Tensor) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=rng, dtype=torch.float64) + 0.5)

    model = model.double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("weight") and parameter.ndim < 2:
            uniform(parameter)  # a norm's scale, PReLU's slope
        elif parameter.ndim < 2:
            normal(parameter, 0.5)
        else:
            normal(parameter, (parameter[0].numel() or 1) ** -0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            normal(buffer, float(torch.rand((), generator=rng)) + 0.1)
        elif name.endswith("running_var"):
            uniform(buffer)
    return model


def image_model() -> nn.Module:
    """A small convolutional network, for inputs of [batch, 3, 8, 8]."""
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 5),
            nn.ReLU(),
            nn.Linear(5, 3),
        )
    )


class Written(nn.Module):
    """Layers by name, and the code of their ``forward``: ``code(model, x)``."""

    def __init__(self, code: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.code = code
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.code(self, x)


def between(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """What a function makes of 8 hidden units; for inputs of [batch, 3]."""

    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(function(model.stem(x)))

    return randomise(Written(code, stem=nn.Linear(3, 8), head=nn.Linear(8, 2)))


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Sequential:
    """Convolution, norm, activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def noise(*shape: int, seed: int = 1) -> Tensor:
    """An input in float64, the same on every call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def image(channels: int = 3) -> Tensor:
    return noise(2, channels, 6, 6)


def tokens(*shape: int, below: int, seed: int = 1) -> Tensor:
    """Random indices."""
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(seed))


def another(inputs: Any, seed: int = 7) -> Any:
    """Other values of the same shapes; indices stay."""

    def redraw(item: Any) -> Any:
        floating = isinstance(item, Tensor) and item.is_floating_point()
        return noise(*item.shape, seed=seed) if floating else item

    return tree_map(redraw, inputs)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, also those that the state dict leaves out."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors(model).items()}


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    """Both hold the same tensors, bit for bit, in the same order."""
    left, right = tensors(a), tensors(b)
    return list(left) == list(right) and all(
        x.dtype == y.dtype and x.shape == y.shape and torch.equal(x, y)
        for x, y in zip(left.values(), right.values(), strict=True)
    )


def memory(model: nn.Module) -> set[int]:
    """Addresses of all storages of the model."""
    found = {tensor.untyped_storage().data_ptr() for tensor in tensors(model).values()}
    return found - {0}


class Snapshot:
    """A model as it was: tensors (values and identity), flags, plain attributes, hooks."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.values = {name: tensor.detach().clone() for name, tensor in tensors(model).items()}
        self.identity = {name: id(tensor) for name, tensor in tensors(model).items()}
        self.facts = self._facts()

    def _facts(self) -> list[Any]:
        return [
            (
                path,
                id(part),
                part.training,
                [p.requires_grad for p in part.parameters(recurse=False)],
                {
                    name: copy.copy(value)
                    for name, value in vars(part).items()
                    if isinstance(value, (int, float, str, tuple, list))
                },
                len(part._forward_hooks) + len(part._forward_pre_hooks),
            )
            for path, part in self.model.named_modules()
        ]

    def check(self) -> None:
        now = tensors(self.model)
        assert {name: id(tensor) for name, tensor in now.items()} == self.identity
        for name, tensor in now.items():
            assert torch.equal(tensor, self.values[name]), f"the teacher's {name} was changed"
        assert self._facts() == self.facts, "the teacher's modules were changed"


@contextmanager
def untouched(*models: nn.Module) -> Iterator[None]:
    """Nothing in here changes these models."""
    before = [Snapshot(model) for model in models]
    yield
    for one in before:
        one.check()


@contextmanager
def refused(error: type[Net2NetError], *words: str, teacher: nn.Module) -> Iterator[None]:
    """This fails with this error, whose message holds these words (regular expressions) and ends
    with what to do; and the teacher is as it was."""
    with untouched(teacher), pytest.raises(error) as caught:
        yield
    message = str(caught.value)
    for word in words:
        assert re.search(word, message), f"'{word}' is not in: {message}"
    assert len(re.findall(r"\.(?=\s|$)", message)) >= 2 or "\n" in message, f"no advice: {message}"


def gap(teacher: nn.Module, student: nn.Module, x: Tensor) -> float:
    """Relative difference in training mode."""
    with torch.no_grad():
        old, new = teacher.train()(x), student.train()(x)
    return float((old - new).abs().max() / old.abs().max())


# -- what every growth must be ---------------------------------------------------------------------


def assert_exact(teacher: nn.Module, student: nn.Module, inputs: Any) -> None:
    """The same function: on these inputs, and on other values of the same shapes."""
    for batch in (inputs, another(inputs)):
        parity = net2net.verify(teacher, student, batch)
        assert parity.outputs > 0
        assert parity.dtype == torch.float64
        assert parity.max_rel <= EXACT, str(parity)


def assert_growth(growth: Growth, teacher: nn.Module) -> None:
    """What holds for every growth, exact or not, apart from the function."""
    student = growth.model
    assert type(student) is type(teacher)
    assert not memory(teacher) & memory(student), "teacher and student share memory"
    assert len(memory(student)) == len([t for t in tensors(student).values() if t.numel()])
    old_flags = {path: part.training for path, part in teacher.named_modules()}
    new_flags = {path: part.training for path, part in student.named_modules()}
    assert all(new_flags.get(path, flag) == flag for path, flag in old_flags.items())
    wanted = {name: p.requires_grad for name, p in teacher.named_parameters()}
    given = {name: p.requires_grad for name, p in student.named_parameters()}
    assert all(given.get(name, flag) == flag for name, flag in wanted.items())
    assert {p.dtype for p in student.parameters()} == {p.dtype for p in teacher.parameters()}
    assert all(p.is_leaf for p in student.parameters())
    assert growth.report.parameters == tuple(
        sum(p.numel() for p in model.parameters()) for model in (teacher, student)
    )
    assert str(growth.report) and str(growth.plan)
    # the plan does it again, bit for bit, also from JSON, on a copy of the teacher
    plan = Plan.from_json(growth.plan.to_json())
    assert plan.to_json() == growth.plan.to_json()
    again = plan.apply(copy.deepcopy(teacher))
    assert same_bits(again, student)
    assert repr(again) == repr(student)
    again.load_state_dict(student.state_dict())


def widen(
    teacher: nn.Module, widths: Any, inputs: Any, *, exact: bool = True, **options: Any
) -> Growth:
    """``net2net.widen``, by copies unless told, with everything checked that must hold for any
    growth."""
    with untouched(teacher):
        growth = net2net.widen(teacher, widths, inputs, **{"method": "replicate", **options})
        assert_growth(growth, teacher)
        assert list(tensors(growth.model)) == list(tensors(teacher))
        predicted = growth.plan.parameters  # buffers included
        assert predicted == sum(tensor.numel() for tensor in tensors(growth.model).values())
        if exact:
            assert_exact(teacher, growth.model, inputs)
    return growth


def deepen(
    teacher: nn.Module, depths: Any, inputs: Any, *, exact: bool = True, **options: Any
) -> Growth:
    """``net2net.deepen``, with everything checked that must hold for any growth."""
    with untouched(teacher):
        growth = net2net.deepen(teacher, depths, inputs, exact=exact, **options)
        assert_growth(growth, teacher)
        if exact:
            assert_exact(teacher, growth.model, inputs)
    return growth


# -- cases: a network at several widths ------------------------------------------------------------

Width = Callable[[int], int]


@dataclass(frozen=True)
class Case:
    """A network that its author could have written at any width.

    ``build(n)`` makes it with ``n(8)`` for a layer 8 wide; ``spaces``: every space that must be
    able to grow, by the module that makes it first, with its size in the teacher (at width 1);
    ``at``: the one to grow alone; ``step``: the grain of its sizes.
    """

    build: Callable[[Width], nn.Module]
    inputs: Callable[[], Any]
    spaces: Mapping[str, int]
    at: str
    step: int = 1
    only: tuple[float, ...] = (2.0, 1.5)
    extra: dict[str, Any] = field(default_factory=dict)

    def model(self, factor: float = 1.0) -> nn.Module:
        torch.manual_seed(0)
        return randomise(self.build(lambda size: int(Fraction(factor) * size)))


Build = TypeVar("Build", bound=Callable[..., nn.Module])


class Cases(dict[str, Case]):
    """Filled by decorators; ``tests`` says what must hold for each."""

    def add(
        self, inputs: Callable[[], Any], spaces: Mapping[str, int], at: str = "", **options: Any
    ) -> Callable[[Build], Build]:
        """Register a function under its own name."""
        return lambda build: self.net(build.__name__, inputs, spaces, at, **options)(build)

    def net(
        self, name: str, inputs: Callable[[], Any], spaces: Mapping[str, int], at: str = "",
        **options: Any,
    ) -> Callable[[Build], Build]:  # fmt: skip
        """Register a module class, built as ``cls(n)``."""

        def register(build: Build) -> Build:
            self.put(name, build, inputs, spaces, at, **options)
            return build

        return register

    def put(
        self, name: str, build: Callable[[Width], nn.Module], inputs: Callable[[], Any],
        spaces: Mapping[str, int], at: str = "", **options: Any,
    ) -> None:  # fmt: skip
        assert name not in self, name
        self[name] = Case(build, inputs, spaces, at or next(iter(spaces)), **options)

    def tests(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """``check_whole`` and ``check_alone`` of all that is registered so far, for pytest."""
        whole = [
            pytest.param(case, factor, id=f"{name}-{factor:g}")
            for name, case in self.items()
            for factor in case.only
        ]
        alone = [
            pytest.param(case, how, id=f"{name}-{how}")
            for name, case in self.items()
            for how in [*(f"{factor:g}" for factor in case.only), "int"]
        ]

        @pytest.mark.parametrize(("case", "factor"), whole)
        def test_whole(case: Case, factor: float) -> None:
            check_whole(case, factor)

        @pytest.mark.parametrize(("case", "how"), alone)
        def test_alone(case: Case, how: str) -> None:
            check_alone(case, how)

        return test_whole, test_alone


def check_whole(case: Case, factor: float) -> None:
    """By a factor: every space grows, and the student is what its class builds at that width."""
    teacher, inputs = case.model(), case.inputs()
    growth = widen(teacher, factor, inputs)
    grown = {row.name: (row.old, row.new) for row in growth.report.rows}
    assert grown == {name: (n, int(n * factor)) for name, n in case.spaces.items()}
    built = case.model(factor)
    assert shapes(growth.model) == shapes(built)
    assert repr(growth.model) == repr(built)
    built.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, built, inputs)


def check_alone(case: Case, how: str) -> None:
    """One layer, by a factor or to a width: this space grows, and no other."""
    teacher, inputs = case.model(), case.inputs()
    size = case.spaces[case.at]
    width: float | int = size + case.step if how == "int" else float(how)
    new = width if isinstance(width, int) else int(size * width)
    growth = widen(teacher, {case.at: width}, inputs)
    assert [(row.name, row.old, row.new) for row in growth.report.rows] == [(case.at, size, new)]
