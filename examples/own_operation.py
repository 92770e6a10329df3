"""Grow a model of one's own, with an operation that torch cannot look into.

The operation is one of ``torch.library``: a scaled square of the rectified input, by one weight for
each feature. A rule says what it does to units; docs/rules.md has all that rules may say.
"""

import torch
from torch import Tensor, nn

import net2net


@torch.library.custom_op("example::scaled_square", mutates_args=())
def scaled_square(x: Tensor, scale: Tensor) -> Tensor:
    return x.relu().square() * scale


@scaled_square.register_fake
def _(x: Tensor, scale: Tensor) -> Tensor:
    return torch.empty_like(x)


class Block(nn.Module):
    """A residual block with the operation inside."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.rand(hidden) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.down(scaled_square(self.up(x), self.scale))
        return result


torch.manual_seed(0)
teacher = nn.Sequential(nn.Linear(3, 8), Block(8, 16), Block(8, 16), nn.Linear(8, 2))
x = torch.randn(5, 3)
try:
    net2net.widen(teacher, {"*.up": 2.0}, x)  # under one factor for all they would stay as they are
except net2net.UnknownOperationError as error:
    print(f"without a rule: {error}")


@net2net.rule("example::scaled_square")
def scaled_square_rule(site: net2net.OpSite) -> net2net.Value:
    """Each element alone; the scale lies on the last axis, as operands do by default."""
    return site.pointwise([site["x"], site["scale"]])


print(net2net.spaces(teacher, x))
grown = net2net.widen(teacher, {"0": 12, "*.up": 2.0}, x)  # the stream 12 wide, the rest doubled
print(grown.report)
