"""Running statistics of new units are measured where batches are given."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net import InputError, Plan
from tests.helpers import Written, noise, randomise, refused


def network(width: int = 1) -> nn.Module:
    """``width`` times as wide."""
    a, b = 4 * width, 5 * width

    def code(m: nn.Module, x: Tensor) -> Tensor:
        h = F.relu(m.n1(m.c1(x)))  # type: ignore[operator]
        h = F.relu(m.n2(m.c2(h)))  # type: ignore[operator]
        return m.head(h.mean((2, 3)))  # type: ignore[operator, no-any-return]

    return randomise(
        Written(code, c1=nn.Conv2d(3, a, 3), n1=nn.BatchNorm2d(a), c2=nn.Conv2d(a, b, 3),
                n2=nn.BatchNorm2d(b), head=nn.Linear(b, 2))
    )  # fmt: skip


X = noise(6, 3, 8, 8)


@pytest.mark.parametrize("verb", ["widen", "transfer"])
def test_new_units_have_the_statistics_that_they_see(verb: str) -> None:
    teacher = network()
    if verb == "widen":
        growth = net2net.widen(teacher, 2.0, X, method="fresh", calibrate=[X])
    else:
        growth = net2net.transfer(teacher, network(2), X, method="fresh", calibrate=[X])
    seen: dict[str, Tensor] = {}
    model = growth.model
    for name in ("n1", "n2"):
        part = model.get_submodule(name)
        part.register_forward_pre_hook(lambda part, args, name=name: seen.update({name: args[0]}))
    model(X)
    for name, old in (("n1", 4), ("n2", 5)):
        norm, rows = model.get_submodule(name), seen[name].transpose(0, 1).flatten(1)
        torch.testing.assert_close(norm.running_mean[old:], rows.mean(1)[old:])
        torch.testing.assert_close(norm.running_var[old:], rows.var(1, correction=0)[old:])
        assert torch.equal(norm.running_mean[:old], teacher.get_submodule(name).running_mean)
    assert growth.report.parity is not None and growth.report.parity.exact


def test_the_plan_holds_them(tmp_path: object) -> None:
    teacher = network()
    growth = net2net.widen(teacher, 2.0, X, method="fresh", calibrate=[X, 2 * X])
    growth.plan.save(f"{tmp_path}/plan.json")
    again = Plan.load(f"{tmp_path}/plan.json").apply(teacher)
    for name, tensor in growth.model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    student = network(2)
    growth = net2net.transfer(teacher, student, X, calibrate=iter([X, 2 * X]))
    again = Plan.from_json(growth.plan.to_json()).apply(teacher, student=student)
    for name, tensor in growth.model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_copies_have_those_of_what_they_copy() -> None:
    with_batches, without = (
        net2net.widen(network(), 2.0, X, method="replicate", calibrate=batches).model.state_dict()
        for batches in ([X], None)
    )
    assert all(torch.equal(with_batches[name], without[name]) for name in without)


@pytest.mark.parametrize(
    ("batches", "words"),
    [([], "no batches"), (X, "list of batches"), (3, "list of batches"), ([X[:, :2]], "batch of")],
)
def test_batches_that_are_none(batches: object, words: str) -> None:
    teacher = network()
    with refused(InputError, words, teacher=teacher):
        net2net.widen(teacher, 2.0, X, method="fresh", calibrate=batches)  # type: ignore[arg-type]
    with refused(InputError, words, teacher=teacher):
        net2net.transfer(teacher, network(2), X, calibrate=batches)  # type: ignore[arg-type]
