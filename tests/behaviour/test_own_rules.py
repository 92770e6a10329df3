"""A user's own operations: what docs/rules.md promises of rules and of the stub in the error."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import UnknownOperationError
from tests.helpers import assert_exact

pytestmark = pytest.mark.usefixtures("registry")

IMAGES = torch.linspace(-1, 1, 2 * 3 * 5 * 5).reshape(2, 3, 5, 5)


@torch.library.custom_op("net2net_own::gated", mutates_args=())
def gated(x: Tensor, gate: Tensor, sharpness: float) -> Tensor:
    return x * torch.sigmoid(sharpness * gate.reshape(-1, 1, 1) * x)


@gated.register_fake
def _(x: Tensor, gate: Tensor, sharpness: float) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("net2net_own::project", mutates_args=())
def project(x: Tensor, weight: Tensor) -> list[Tensor]:
    """Pixel by pixel: a product with the weight, and the largest channel."""
    return [torch.einsum("bihw,oi->bohw", x, weight), x.amax(1, keepdim=True)]


@project.register_fake
def _(x: Tensor, weight: Tensor) -> list[Tensor]:
    shape = (x.shape[0], weight.shape[0], *x.shape[2:])
    return [x.new_empty(shape), x.new_empty((shape[0], 1, *shape[2:]))]


@torch.library.custom_op("net2net_own::stacked", mutates_args=())
def stacked(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).prod(0)


@stacked.register_fake
def _(parts: list[Tensor]) -> Tensor:
    return torch.empty_like(parts[0])


@torch.library.custom_op("net2net_own::tanh", mutates_args=())
def own_tanh(x: Tensor) -> Tensor:
    """Called like an operation of torch, and another one."""
    return torch.tanh(x).square()


@own_tanh.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Gated(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        return gated(x, self.gate, 2.0)


class Project(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into))

    def forward(self, x: Tensor) -> Tensor:
        product, largest = project(x, self.weight)
        return product + largest


class Stacked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return stacked([x, x.tanh()])


def around(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), *middle, nn.Conv2d(8, 4, 1)).eval()


def stub(teacher: nn.Module) -> str:
    """The code that the error gives to paste."""
    with pytest.raises(UnknownOperationError) as caught:
        net2net.widen(teacher, 2.0, IMAGES)
    return dedent(str(caught.value).partition("\n\n")[2])


def pasted(code: str) -> None:
    exec(code, {"net2net": net2net})


def test_the_stub_completed_as_documented_makes_it_grow() -> None:
    teacher = around(Gated(8))
    code = stub(teacher)
    assert 'return site.pointwise([site["x"], site["gate"]])' in code
    pasted(code.replace('site["gate"]', '(site["gate"], [1])'))
    student: Any = net2net.widen(teacher, {"0": 13}, IMAGES).model
    assert student[1].gate.shape == (13,)
    assert_exact(teacher, student, IMAGES)


def test_the_stub_as_it_is_takes_lists_of_tensors() -> None:
    teacher = around(Stacked())
    pasted(stub(teacher))
    assert_exact(teacher, net2net.widen(teacher, 2.0, IMAGES).model, IMAGES)


def test_a_rule_with_two_outputs_a_product_and_a_maximum() -> None:
    teacher = around(Project(8, 8), nn.ReLU())

    @net2net.rule("net2net_own::project")
    def my_rule(site: Any) -> Any:
        x, weight = site["x"], site["weight"]
        return [
            site.contract([x, weight], ["bihw", "oi"], "bohw"),
            site.reduce(x, [1], True, "max"),
        ]

    grown = net2net.widen(teacher, 2.0, IMAGES)
    assert grown.model.get_submodule("1").weight.shape == (16, 16)
    assert_exact(teacher, grown.model, IMAGES)


def test_a_rule_that_pins_an_axis() -> None:
    teacher = around(Gated(8), nn.Conv2d(8, 8, 1))

    @net2net.rule("net2net_own::gated")
    def my_rule(site: Any) -> Any:
        value = site.pointwise([site["x"], (site["gate"], [1])])
        site.pin(value, 1, "does what it likes with channels")
        return value

    reason = net2net.spaces(teacher, IMAGES)["0"].reason
    assert reason is not None and "gated in '1' does what it likes with channels" in reason
    assert {row.name for row in net2net.widen(teacher, 2.0, IMAGES).report.rows} == {"2"}


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.einsum("bihw,oi->bohw", 2 * x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        return (
            2 * torch.einsum("bohw,oi->bihw", gradient, weight),
            2 * torch.einsum("bohw,bihw->oi", gradient, x),
        )


class Doubled(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = Doubling.apply(x, self.weight)
        return result


def test_an_autograd_function_needs_no_rule() -> None:
    teacher = around(Doubled(8, 8), nn.ReLU())
    grown = net2net.widen(teacher, 1.5, IMAGES)
    assert {row.name: row.new for row in grown.report.rows} == {"0": 12, "1": 12}
    assert_exact(teacher, grown.model, IMAGES)
    grown.model(IMAGES).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in grown.model.parameters())


def test_an_own_operation_that_is_called_like_one_of_torch() -> None:
    class Squared(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = own_tanh(x)
            return result

    net2net.rule("net2net_own::tanh")(lambda site: site["x"])
    teacher = nn.Sequential(nn.Linear(4, 6), Squared(), nn.Linear(6, 2)).double()
    x = torch.linspace(-1, 1, 8).double().reshape(2, 4)
    deeper = net2net.deepen(teacher, {"0": 1}, x)
    assert_exact(teacher, deeper.model, x)
