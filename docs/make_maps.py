"""Write ``maps.md``: which new units a space can have, by the operations that it passes through.

Each row is a network of a few layers, asked with ``net2net.spaces``; the operations that a row
stands for are those of the table of traits (``net2net.ops``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.infer.new_units.follow import follow
from net2net.infer.new_units.holds import Enlarged, Put
from net2net.infer.spaces import Kind, Space
from net2net.ops import OpTraits, Reduction, Zero, kinds

TARGET = Path(__file__).with_name("maps.md")

HEAD = """# Operations and kinds of new units

What a space can grow by depends on the operations that it passes through. Each row is what
`net2net.spaces` says of a network of a few layers: a layer makes 8 units, the operation works on
them, a weight reads them. `make docs` writes this page from the code; a test checks that it is
current.

- **copy**: copies, which share what is read of their original. **random**: units that nobody reads
  yet. **zero**: units that are zero where they are read, so that they can be read at random
  ([`Kind`](../src/net2net/infer/spaces.py)).
- *any*: by one unit; *by 2*: in such steps; *multiples*: to whole multiples of its size; –: not at
  all.
- **held**: what the rows that make new units of kind *random* hold:
  [drawn numbers, zeros, or the mean](../src/net2net/infer/new_units/holds.py) of the other rows.

A space that passes several operations can have what all of them allow. What a
[method](methods.md) asks for and a space cannot have is replaced by the nearest that it can.

"""

SHOWN = 8
"""Operations of a row that are named."""

Code = Callable[[Any, Tensor], Tensor]


class Net(nn.Module):
    """A stem of 8 units, what is done with them, and who reads them."""

    def __init__(self, code: Code, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.stem, self.other, self.own = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)
        self.scale = nn.Parameter(torch.ones(8))
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self, x)


@dataclass(frozen=True)
class Family:
    """A row.

    Attributes:
        name: what is done.
        operations: names of the table, or what traits they have; empty: no operation of its own.
        code: a network of such.
        layers: its layers besides those of every ``Net``.
        inputs: what it runs on.
    """

    name: str
    operations: str | Callable[[OpTraits], object]
    code: Code
    layers: dict[str, nn.Module]
    inputs: Tensor

    @property
    def named(self) -> list[str]:
        """Its operations.

        Raises:
            ValueError: one is not in the table.
        """
        if not isinstance(self.operations, str):
            return kinds(self.operations)
        names = self.operations.split()
        if unknown := set(names) - set(kinds(lambda _: True)):
            raise ValueError(f"the table of operations has no {', '.join(sorted(unknown))}")
        return names


def _function(one: OpTraits) -> bool:
    """Elementwise, of one operand, and more than a copy of it."""
    several = one.sums or one.multiplies or one.joins or one.zero in {Zero.ALL, Zero.ANY}
    return one.elementwise and not several and not one.moves


ROW, PICTURE, WORDS = (
    torch.zeros(5, 3),
    torch.zeros(2, 3, 6, 6),
    torch.zeros(2, 4, dtype=torch.long),
)
SEQUENCE = torch.zeros(2, 5, 3)


def row(
    name: str, operations: str | Callable[[OpTraits], object], code: Code, inputs: Tensor = ROW,
    **layers: nn.Module,
) -> Family:  # fmt: skip
    """A family, with its layers by name."""
    return Family(name, operations, code, layers, inputs)


def between(function: Callable[[Tensor], Tensor]) -> Code:
    """A function of the units, between who makes and who reads them."""
    return lambda m, x: m.head(function(m.stem(x)))


def beside(function: Callable[[Tensor], Tensor]) -> Code:
    """A function over the units that leaves one number, which scales what is read of them."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = m.stem(x)
        return m.head(h) * function(h)

    return code


def stream(m: Any, x: Tensor) -> Tensor:
    """Pre-norm: norms read the stream, and a branch adds to it."""
    h = m.stem(x)
    h = h + m.own(m.first(h))
    return m.head(m.second(h))


def post_norm(m: Any, x: Tensor) -> Tensor:
    """Norms make the stream."""
    h = m.first(m.stem(x))
    return m.head(m.second(h + m.own(h)))


def attention(m: Any, x: Tensor) -> Tensor:
    """Four heads of two features."""
    q, k, v = (one(x).unflatten(-1, (-1, 2)).transpose(1, 2) for one in (m.stem, m.other, m.v))
    return m.head(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def halves(m: Any, x: Tensor) -> Tensor:
    """One half of the units is a gate for the other."""
    a, b = m.stem(x).chunk(2, dim=-1)
    return m.four(a * torch.sigmoid(b))


def convolution(groups: int) -> dict[str, nn.Module]:
    """Layers of a convolution in groups, between two that are in none."""
    return {
        "stem": nn.Conv2d(3, 8, 1), "mid": nn.Conv2d(8, 8, 3, groups=groups),
        "head": nn.Conv2d(8, 2, 1),
    }  # fmt: skip


FAMILIES = [
    row("weights that read them", lambda one: one.weight, between(lambda h: h)),
    row("a sum with others", lambda one: one.elementwise and one.sums,
        lambda m, x: m.head(m.stem(x) + m.other(x))),
    row("a sum with a number", "", between(lambda h: h + 1)),
    row("a product with a parameter", "mul div", lambda m, x: m.head(m.stem(x) * m.scale)),
    row("a product with others", "mul", lambda m, x: m.head(m.stem(x) * m.other(x))),
    row("a function with f(0) = 0 and a slope there",
        lambda one: _function(one) and one.zero is Zero.FIRST and not one.flat, between(F.gelu)),
    row("a function with f(0) = 0 and none",
        lambda one: _function(one) and one.zero is Zero.FIRST and one.flat, between(F.relu)),
    row("any other function", lambda one: _function(one) and one.zero is None,
        between(torch.sigmoid)),
    row("other places and shapes", lambda one: one.passes and not one.elementwise,
        lambda m, x: m.wide(m.stem(x.transpose(1, 3)).transpose(1, 3).flatten(1)), PICTURE,
        wide=nn.Linear(288, 2)),
    row("concatenation", "cat concat concatenate stack hstack vstack",
        lambda m, x: m.wide(torch.cat([m.stem(x), m.other(x)], -1)), wide=nn.Linear(16, 2)),
    row("halves cut by position", "chunk split split_with_sizes tensor_split narrow slice", halves,
        four=nn.Linear(4, 2)),
    row("rows of a table", "", lambda m, x: m.head(m.stem(x)), WORDS, stem=nn.Embedding(9, 8)),
    row("averages over pixels", "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d"
        " adaptive_avg_pool2d adaptive_avg_pool3d pad",
        lambda m, x: m.head(F.avg_pool2d(m.stem(x), 2)), PICTURE, **convolution(1)),
    row("maxima over pixels", "max_pool1d max_pool2d max_pool3d adaptive_max_pool2d",
        lambda m, x: m.head(F.max_pool2d(m.stem(x), 2)), PICTURE, **convolution(1)),
    row("convolution of single channels", "conv1d conv2d conv3d",
        lambda m, x: m.head(m.mid(m.stem(x))), PICTURE, **convolution(8)),
    row("convolution in groups", "conv1d conv2d conv3d", lambda m, x: m.head(m.mid(m.stem(x))),
        PICTURE, **convolution(2)),
    row("batch norm", "batch_norm instance_norm", lambda m, x: m.head(m.norm(m.stem(x))),
        norm=nn.BatchNorm1d(8)),
    row("group norm", "group_norm", lambda m, x: m.head(m.norm(m.stem(x))),
        norm=nn.GroupNorm(4, 8)),
    row("layer norm, pre-norm", "layer_norm", stream, first=nn.LayerNorm(8),
        second=nn.LayerNorm(8)),
    row("layer norm behind GELU", "layer_norm", lambda m, x: m.head(m.norm(F.gelu(m.stem(x)))),
        norm=nn.LayerNorm(8)),
    row("layer norm behind a convolution of single channels", "layer_norm",
        lambda m, x: m.last(m.norm(m.mid(m.stem(x)).movedim(1, -1))), PICTURE,
        norm=nn.LayerNorm(8), last=nn.Linear(8, 2), **convolution(8)),
    row("layer norm, post-norm", "layer_norm", post_norm, first=nn.LayerNorm(8),
        second=nn.LayerNorm(8)),
    row("RMS norm, pre-norm", "rms_norm", stream, first=nn.RMSNorm(8), second=nn.RMSNorm(8)),
    row("RMS norm behind GELU", "rms_norm", lambda m, x: m.head(m.norm(F.gelu(m.stem(x)))),
        norm=nn.RMSNorm(8)),
    row("RMS norm, post-norm", "rms_norm", post_norm, first=nn.RMSNorm(8), second=nn.RMSNorm(8)),
    row("the mean over them", lambda one: one.reduces is Reduction.MEAN,
        beside(lambda h: h.mean(-1, keepdim=True))),
    row("the sum over them", lambda one: one.reduces is Reduction.SUM,
        beside(lambda h: h.sum(-1, keepdim=True))),
    row("the maximum over them", lambda one: one.reduces is Reduction.EXTREME,
        beside(lambda h: h.amax(-1, keepdim=True))),
    row("their variance", lambda one: one.reduces is Reduction.VARIANCE,
        beside(lambda h: h.var(-1, keepdim=True))),
    row("their norm", lambda one: one.reduces is Reduction.NORM,
        beside(lambda h: torch.linalg.vector_norm(h, dim=-1, keepdim=True))),
    row("a sum over them of products with others", "mm bmm matmul einsum",
        lambda m, x: m.last(m.stem(x) @ m.other(x).T), last=nn.Linear(5, 2)),
    row("softmax over something else", "softmax", lambda m, x: m.head(m.stem(x).softmax(1)),
        SEQUENCE),
    row("softmax over them", "softmax cumsum sort topk argmax", between(lambda h: h.softmax(-1))),
    row("heads of attention", "scaled_dot_product_attention", attention, SEQUENCE,
        v=nn.Linear(3, 8)),
    row("a recurrent layer", "lstm gru rnn_tanh rnn_relu",
        lambda m, x: m.head(m.stem(x)[0]), SEQUENCE, stem=nn.LSTM(3, 8, batch_first=True)),
    row("numbers in the code, one for each", "", between(lambda h: h * torch.arange(8.0))),
    row("the model's output", "", lambda m, x: m.stem(x)),
]  # fmt: skip


def space_of(family: Family) -> Space:
    """The space of the units that the stem makes."""
    torch.manual_seed(0)
    return net2net.spaces(Net(family.code, family.layers).eval(), family.inputs)["stem"]


def page() -> str:
    """The whole document."""
    lines = ["| what they pass | such as | copy | random | zero | held | why not |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for family in FAMILIES:
        space, named = space_of(family), family.named
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        cells = [
            family.name, " ".join(f"`{one}`" for one in named[:SHOWN]) + more,
            *(step(space, kind) for kind in Kind), held(space), why(space),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return HEAD + "\n".join(lines) + "\n"


def step(space: Space, kind: Kind) -> str:
    """In what steps it grows by a kind of units."""
    by = space.kinds.get(kind)
    return "–" if by is None else {1: "any", space.size: "multiples"}.get(by, f"by {by}")


def held(space: Space) -> str:
    """What makes new units holds for them."""
    if Kind.RANDOM not in space.kinds:
        return ""
    (group,) = space.groups
    found = follow(space.inference, Enlarged(group.key, group.size, 1, group.size + 1)).positions
    put = {one.put for axis, one in found.items() if axis.name == space.lead and not one.reads}
    return " ".join(sorted(one.value for one in put)).replace(Put.MEAN, "the mean")


def why(space: Space) -> str:
    """What forbids what it cannot have."""
    if space.reason:
        return space.reason
    copies = (group.no_copies or group.equal_copies for group in space.groups)
    said = {"copies": next((one for one in copies if one), None)}
    said |= {kind: space.why_not(kind) for kind in Kind if kind not in {Kind.COPY, *space.kinds}}
    reasons: dict[str, list[str]] = {}
    for kind, reason in said.items():
        if reason:
            reasons.setdefault(reason, []).append(kind)
    return "; ".join(f"*{', '.join(which)}*: {reason}" for reason, which in reasons.items())


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
