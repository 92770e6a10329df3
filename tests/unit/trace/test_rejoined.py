"""Pieces that are put side by side again are written down as an axis that is moved."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from net2net.trace.trace import Op, Ref, trace
from tests.helpers import Written

X = torch.randn(2, 3, 4, 5, dtype=torch.float64)
RUN = {
    "aten::permute": lambda args: torch.permute(args["self"], args["dims"]),
    "aten::reshape": lambda args: torch.reshape(args["self"], args["shape"]),
}


def ops_of(code: Callable[[Tensor], object]) -> list[Op]:
    return trace(Written(lambda model, x: code(x)), X).ops


def names_of(code: Callable[[Tensor], object]) -> list[str]:
    return [op.kind for op in ops_of(code)]


def every(x: Tensor, axis: int) -> list[Tensor]:
    return [x.select(axis, place) for place in range(x.shape[axis])]


def from_behind(x: Tensor, axis: int) -> list[Tensor]:
    return [x.select(axis, place - x.shape[axis]) for place in range(x.shape[axis])]


@pytest.mark.parametrize("cut", [torch.unbind, every, from_behind])
@pytest.mark.parametrize("joined", [torch.cat, torch.stack])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("to", [0, 1, 2, -1])
def test_it_is_the_same_tensor(cut, joined, axis, to):
    def code(x: Tensor) -> Tensor:
        return joined(cut(x, axis), to)

    held: dict[int, Tensor] = {}
    for op in ops_of(code):
        args = {
            name: held.setdefault(item.id, X) if isinstance(item, Ref) else item
            for name, item in op.args.items()
        }
        held[op.result.id] = RUN[op.name](args)
    assert torch.equal(held[op.result.id], code(X))


@pytest.mark.parametrize(
    "code",
    [
        lambda x: torch.cat([*reversed(x.unbind(1))], -1),
        lambda x: torch.cat(x.unbind(1)[:2], -1),
        lambda x: torch.cat([*x.unbind(1), x[:, 0]], -1),
        lambda x: torch.cat([x[:, 0], x[:, 0], x[:, 0]], -1),
        lambda x: (torch.cat(pieces := x.unbind(1), -1), pieces[0]),
        lambda x: torch.cat(pieces := x.unbind(1), -1) * pieces[0].sum(),
        lambda x: torch.cat(pieces := x.unbind(1), -1) + pieces[0].shape[1],
        lambda x: torch.cat([one.tanh() for one in x.unbind(1)], -1),
    ],
)
def test_pieces_that_go_other_ways_are_told_apart(code):
    assert "permute" not in names_of(code)


def test_what_is_written_meanwhile_is_seen():
    def code(x: Tensor) -> Tensor:
        pieces = x.unbind(1)
        x.mul_(2)
        return torch.cat(pieces, -1)

    assert names_of(code) == ["mul", "permute", "reshape"]


def test_calls_begin_and_end_where_they_did():
    class Heads(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[:, place] for place in range(3)], -1).exp()

    found = trace(nn.Sequential(nn.Tanh(), Heads(), nn.Tanh()), X)
    ran = {call.path: [op.kind for op in found.ops[call.begin : call.end]] for call in found.calls}
    assert ran["1"] == ["permute", "reshape", "exp"]
    assert ran["0"] == ran["2"] == ["tanh"]
