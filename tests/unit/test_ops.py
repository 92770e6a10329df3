"""The table of operations: its traits tried on numbers, its FLOPs against torch's own count, and
that it is the only one."""

import ast
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

import net2net
from net2net.infer import rules
from net2net.ops import OpTraits, Zero, kinds, traits
from net2net.trace.flops import flops
from net2net.trace.trace import trace

from ..helpers import noise

aten = torch.ops.aten

# -- traits on numbers -----------------------------------------------------------------------------

ARGS: dict[str, tuple[Any, ...]] = {
    "clamp": (0.7, 2.0), "clamp_min": (0.7,), "clamp_max": (-0.7,), "threshold": (0.7, 3.0),
    "fake_quantize_per_tensor_affine": (0.05, 3, -200, 200), "dropout": (0.5, False),
    "feature_dropout": (0.5, False), "to": (torch.float64,),
    "type_as": (torch.zeros(1, dtype=torch.float64),), "fill": (3.0,),
}  # fmt: skip
"""What operations of one operand need besides."""

OTHERS = frozenset("bitwise_not imag _conj softsign".split())
"""Not of real numbers, or not torch's operation: Softsign is written out."""

GRID = torch.cat([torch.linspace(-7.3, 7.1, 97, dtype=torch.float64), torch.zeros(1)])


def operands(kind: str) -> int:
    """How many tensors an operation takes."""
    packet = getattr(aten, kind if hasattr(aten, kind) else f"{kind}__")
    return max(
        sum(
            "Tensor" in str(a.type) and not a.has_default_value()
            for a in getattr(packet, overload)._schema.arguments
        )
        for overload in packet.overloads()
        if "out" not in overload
    )


def elementwise(count: int) -> list[str]:
    """Elementwise operations that draw nothing, of so many operands."""
    found = kinds(lambda one: one.elementwise and (one.constant or one.moves))
    return [
        kind
        for kind in found
        if kind not in OTHERS and (1 if kind in ARGS else operands(kind)) == count
    ]


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.allclose(a, b, 1e-12, 1e-12, equal_nan=True)


@pytest.mark.parametrize("kind", elementwise(1))
def test_an_elementwise_operation_does_what_its_row_says(kind: str) -> None:
    known = traits(kind)
    grid = GRID if kind != "nan_to_num" else torch.cat([GRID, torch.tensor([torch.nan])])

    def done(x: Tensor) -> Tensor:
        result: Tensor = getattr(aten, kind)(x.clone(), *ARGS.get(kind, ()))
        return result

    out = done(grid)
    number = out.is_floating_point()
    assert known.moves == same(out, grid)
    assert known.rearranges == known.moves
    assert (known.zero is Zero.FIRST) == (not done(torch.zeros_like(grid)).any())
    assert known.keeps_scale == (
        number and same(done(3 * grid), 3 * out) and same(done(grid / 4), out / 4)
    )
    assert known.idempotent == (number and same(done(out), out))
    if number and known.zero is Zero.FIRST and kind not in {"detach", "angle", "zero"}:
        assert known.flat == (not _has_slope(done))
    if known.linear:
        assert same(done(grid + grid.roll(1)), out + out.roll(1))
    if known.degree is not None:
        positive = grid[grid > 0]
        assert same(done(3 * positive), 3**known.degree * done(positive))


def _has_slope(function: Callable[[Tensor], Tensor]) -> bool:
    """Whether it has a slope at zero, as autograd sees it."""
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    made = function(x)
    if not made.requires_grad:
        return False
    made.sum().backward()
    assert x.grad is not None
    return bool(x.grad) and bool(x.grad.isfinite())


def test_most_elementwise_operations_are_tried() -> None:
    assert len(elementwise(1)) > 75 and len(elementwise(2)) > 30


FIRSTS = [kind for kind in elementwise(2) if traits(kind).zero is not None]


@pytest.mark.parametrize("kind", FIRSTS)
def test_an_operation_of_two_operands_is_zero_where_its_row_says(kind: str) -> None:
    def zero(*operands: Tensor) -> bool:
        more = (0.3,) if kind == "lerp" else ()
        return not getattr(aten, kind)(*operands, *more).any()

    other, nothing = GRID[:97], torch.zeros(97, dtype=torch.float64)
    held = {
        Zero.ANY: zero(nothing, other) and zero(other, nothing),
        Zero.FIRST: zero(nothing, other),
        Zero.ALL: zero(nothing, nothing),
    }
    first = next(rule for rule in (Zero.ANY, Zero.FIRST, Zero.ALL) if held[rule])
    assert traits(kind).zero is first


SCALED = [kind for kind in elementwise(2) if traits(kind).scaled is not None]


@pytest.mark.parametrize("kind", SCALED)
def test_an_operation_of_two_operands_is_scaled_where_its_row_says(kind: str) -> None:
    x, y = GRID[:97], GRID[:97].roll(13)
    function = getattr(aten, kind)
    first, second, both = (
        same(function(a * x, b * y), 3 * function(x, y)) for a, b in ((3, 1), (1, 3), (3, 3))
    )
    held = {
        (True, True, False): Zero.ANY,
        (True, False, False): Zero.FIRST,
        (False, False, True): Zero.ALL,
    }
    assert traits(kind).scaled is held[first, second, both]


X = torch.arange(1.0, 97.0, dtype=torch.float64).sin().reshape(2, 4, 3, 4)
ROWS = torch.tensor([2, 0])

CALLS: dict[str, tuple[Any, ...]] = {
    "view": ([8, 12],), "view_as": (torch.empty(8, 12),), "reshape": ([8, 12],),
    "reshape_as": (torch.empty(8, 12),), "flatten": (1,), "unflatten": (1, [2, 2]),
    "_unsafe_view": ([8, 12],), "permute": ([3, 0, 2, 1],), "transpose": (1, 2),
    "swapaxes": (1, 2), "swapdims": (1, 2), "unsqueeze": (1,), "expand": ([5, 2, 4, 3, 4],),
    "expand_as": (torch.empty(5, 2, 4, 3, 4),), "broadcast_to": ([5, 2, 4, 3, 4],),
    "repeat": ([2, 1, 1, 1],), "tile": ([2, 1],), "repeat_interleave": (2, 1), "slice": (1, 1, 3),
    "mT": (), "movedim": (0, 2), "moveaxis": (0, 2), "squeeze": (), "flip": ([1],),
    "roll": ([1], [2]), "unfold": (3, 2, 1), "as_strided": ([3, 2], [2, 1]), "diagonal": (),
    "narrow": (1, 1, 2), "select": (1, 2), "index": ([ROWS % 2, ROWS],),
    "index_select": (1, ROWS), "gather": (1, ROWS.expand(2, 1, 3, 2)),
    "take_along_dim": (ROWS.expand(2, 4, 3, 2), -1), "chunk": (2, 1), "split": (3, 1),
    "split_with_sizes": ([1, 3], 1), "tensor_split": (3, 1), "unbind": (1,),
    "channel_shuffle": (2,), "native_channel_shuffle": (2,), "pixel_shuffle": (2,),
    "reflection_pad1d": ([1, 1],), "reflection_pad2d": ([1, 1, 1, 1],),
    "reflection_pad3d": ([1] * 6,), "replication_pad1d": ([1, 1],),
    "replication_pad2d": ([1, 1, 1, 1],), "replication_pad3d": ([1] * 6,),
    "upsample_nearest2d": ([6, 8],), "_upsample_nearest_exact2d": ([6, 8],),
    "max_pool2d": ([2, 2],), "max_pool2d_with_indices": ([2, 2],), "adaptive_max_pool2d": ([2, 2],),
    "amax": ([1],), "amin": ([1],), "pixel_unshuffle": (2,),
}  # fmt: skip
"""Arguments after the first operand, of what moves elements."""

OTHER_INPUTS: dict[str, Tensor] = {
    "t": X[0, 0], "numpy_T": X[0, 0], "reflection_pad1d": X[0], "replication_pad1d": X[0],
    "pixel_unshuffle": X.repeat(1, 1, 2, 1), "reflection_pad3d": X.repeat(1, 1, 2, 1),
}  # fmt: skip

JOINS = "cat concat concatenate stack hstack vstack".split()


PLACES = frozenset(
    "flip roll chunk split split_with_sizes tensor_split unbind pixel_shuffle pixel_unshuffle"
    " channel_shuffle native_channel_shuffle".split()
)
"""What changes places along an axis, or makes several tensors."""


def moving() -> list[str]:
    """All that move elements; of those for maps of several dimensions, one if the others are alike
    (of complex numbers, none)."""
    found = kinds(lambda one: one.moves and not one.elementwise)
    return [
        kind
        for kind in found
        if kind in CALLS or not ("1d" in kind or "3d" in kind or kind == "view_as_real")
    ]


def numbers(result: Any) -> Tensor:
    """All that an operation makes, in one row, without indices."""
    pieces = [x for x in tree_flatten(result)[0] if x.is_floating_point()]
    return torch.cat([x.reshape(-1) for x in pieces])


@pytest.mark.parametrize("kind", moving())
def test_an_operation_that_moves_elements_does_what_its_row_says(kind: str) -> None:
    known, x = traits(kind), OTHER_INPUTS.get(kind, X)

    def done(x: Tensor, other: Tensor = X) -> Tensor:
        operands = [x, other] if kind in JOINS else x.contiguous()
        return numbers(getattr(aten, kind)(operands, *CALLS.get(kind, ())))

    out, by = (
        done(x),
        torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).double() + 0.1,
    )
    nothing = torch.zeros_like(x)
    assert {*out.tolist()} <= {*X.reshape(-1).tolist()}
    once = torch.equal(out.sort().values, x.reshape(-1).sort().values)
    assert known.rearranges == (once and kind not in PLACES)
    assert known.keeps_scale == same(done(by * x), done(by) * out)
    assert known.zero is (Zero.ALL if done(nothing).any() else Zero.FIRST)
    assert not done(nothing, nothing).any()
    assert known.constant == (len(done(torch.ones_like(x)).unique()) == 1)


REDUCED: list[tuple[str, tuple[Any, ...]]] = [
    ("sum", ([1],)), ("mean", ([1],)), ("prod", (1,)), ("max", (1,)), ("min", (1,)),
    ("nansum", ([1],)), ("var", ([1],)), ("std", ([1],)), ("norm", ()), ("linalg_norm", ()),
    ("linalg_vector_norm", ()), ("cumsum", (1,)), ("cumprod", (1,)), ("sort", ()), ("topk", (2,)),
    ("msort", ()), ("median", ()), ("tril", ()), ("triu", ()), ("glu", ()), ("softmax", (1,)),
    ("im2col", ([2, 2], [1, 1], [0, 0], [1, 1])), ("avg_pool2d", ([2, 2],)),
    ("adaptive_avg_pool2d", ([2, 2],)), ("_adaptive_avg_pool2d", ([2, 2],)),
    ("upsample_bilinear2d", ([6, 8], False)), ("upsample_bicubic2d", ([6, 8], False)),
    ("_upsample_bilinear2d_aa", ([6, 8], False)), ("_upsample_bicubic2d_aa", ([6, 8], False)),
    ("pad", ([1, 1],)), ("constant_pad_nd", ([1, 1],)), ("layer_norm", ([4],)),
    ("rms_norm", ([4],)), ("group_norm", (2,)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "more"), REDUCED, ids=[kind for kind, _ in REDUCED])
def test_a_sum_over_elements_does_what_its_row_says(kind: str, more: tuple[Any, ...]) -> None:
    known, function = traits(kind), getattr(aten, kind)
    assert (known.zero is not None) == (not numbers(function(torch.zeros_like(X), *more)).any())
    if known.constant:
        assert len(numbers(function(torch.ones_like(X), *more)).unique()) == 1
    other = torch.rand(X.shape, generator=torch.Generator().manual_seed(0)).double()
    both = numbers(function(X + 2 * other, *more))
    sums = numbers(function(X, *more)) + 2 * numbers(function(other, *more))
    assert not known.linear or same(both, sums)


@pytest.mark.parametrize("kind", kinds(lambda one: one.shaped))
def test_an_operation_takes_no_values_of_what_shapes_it(kind: str) -> None:
    x, like = torch.randn(1, 4), torch.randn(1, 4)
    made = [getattr(torch.Tensor, kind)(x, one) for one in (like, torch.randn(1, 4))]
    assert torch.equal(made[0], x) and torch.equal(made[1], x)


@pytest.mark.parametrize("kind", kinds(lambda one: one.chooses))
def test_an_operation_that_chooses_tells_places(kind: str) -> None:
    x = torch.randn(5, 7)
    made = getattr(torch, kind)(x, *([2] if kind == "topk" else []), dim=1)
    places = made if kind == "argmax" else made[-1]
    best = x.argsort(dim=1, descending=True)[:, : 2 if kind == "topk" else 1]
    assert torch.equal(places.reshape(best.shape), best)


def test_operations_of_a_users_own_library_have_no_traits() -> None:
    assert traits("mylib::relu") == traits("unheard_of") == OpTraits()


# -- FLOPs -----------------------------------------------------------------------------------------


class Calls(nn.Module):
    """A function of the inputs, and the weights that it needs."""

    def __init__(self, function: Callable[..., Any], **weights: Tensor | nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, item in weights.items():
            setattr(self, name, nn.Parameter(item) if isinstance(item, Tensor) else item)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def counted(function: Callable[..., Any], *inputs: Tensor, **weights: Any) -> int:
    model = Calls(function, **weights).double()
    return flops(trace(net2net.trace.meta_copy.meta_copy(model), inputs))


def torch_counts(function: Callable[..., Any], *inputs: Tensor, **weights: Any) -> int:
    model = Calls(function, **weights).double()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return int(counter.get_total_flops())


W = torch.zeros


def conv(kind: type[nn.Module], ndim: int, *channels: int, **options: Any) -> Any:
    return (lambda m, x: m.f(x)), (noise(2, channels[0], *[7] * ndim),), {
        "f": kind(*channels, **options)
    }  # fmt: skip


Case = tuple[Callable[..., Any], tuple[Tensor, ...], dict[str, Any]]

KNOWN: dict[str, Case] = {
    "linear": (lambda m, x: m.f(x), (noise(2, 5, 3),), {"f": nn.Linear(3, 4)}),
    "linear of a vector": (lambda m, x: m.f(x), (noise(3),), {"f": nn.Linear(3, 4, bias=False)}),
    "mm": (lambda m, x: torch.mm(x, m.w), (noise(5, 3),), {"w": W(3, 4)}),
    "matmul": (lambda m, x: x @ m.w, (noise(2, 5, 3),), {"w": W(2, 3, 4)}),
    "addmm": (lambda m, x: torch.addmm(m.b, x, m.w), (noise(5, 3),), {"b": W(4), "w": W(3, 4)}),
    "bmm": (lambda m, x: torch.bmm(x, m.w), (noise(2, 5, 3),), {"w": W(2, 3, 4)}),
    "baddbmm": (
        lambda m, x: torch.baddbmm(m.b, x, m.w), (noise(2, 5, 3),), {"b": W(4), "w": W(2, 3, 4)},
    ),
    "conv1d": conv(nn.Conv1d, 1, 3, 4, kernel_size=3, dilation=2),
    "conv2d": conv(nn.Conv2d, 2, 3, 4, kernel_size=3, stride=2, padding=1),
    "conv3d": conv(nn.Conv3d, 3, 3, 4, kernel_size=2),
    "grouped": conv(nn.Conv2d, 2, 6, 12, kernel_size=3, groups=3),
    "depthwise": conv(nn.Conv2d, 2, 6, 6, kernel_size=3, groups=6),
    "by the general name": (
        lambda m, x: torch.convolution(x, m.w, None, [2, 2], [0, 0], [1, 1], False, [0, 0], 2),
        (noise(2, 6, 7, 7),), {"w": W(4, 3, 3, 3)},
    ),
    "transposed, by the general name": (
        lambda m, x: torch.convolution(x, m.w, None, [2, 2], [0, 0], [1, 1], True, [0, 0], 2),
        (noise(2, 6, 7, 7),), {"w": W(6, 2, 3, 3)},
    ),
    "transposed 1d": conv(nn.ConvTranspose1d, 1, 3, 4, kernel_size=3, stride=2),
    "transposed 2d": conv(nn.ConvTranspose2d, 2, 4, 6, kernel_size=3, stride=2, groups=2),
    "transposed 3d": conv(nn.ConvTranspose3d, 3, 3, 4, kernel_size=2),
    "einsum": (
        lambda m, x: torch.einsum("bti,oi->bto", x, m.w), (noise(2, 5, 3),), {"w": W(4, 3)},
    ),
    "einsum of three": (
        lambda m, x: torch.einsum("bti,hio,od->bhtd", x, m.w, m.v), (noise(2, 5, 3),),
        {"w": W(2, 3, 4), "v": W(4, 6)},
    ),
    "einsum with an ellipsis": (
        lambda m, x: torch.einsum("...i,oi->...o", x, m.w), (noise(2, 5, 3),), {"w": W(4, 3)},
    ),
    "einsum without an arrow": (
        lambda m, x: torch.einsum("ti,io", x, m.w), (noise(5, 3),), {"w": W(3, 4)},
    ),
    "einsum that sums one operand first": (
        lambda m, x: torch.einsum("tij,io->to", x, m.w), (noise(5, 3, 6),), {"w": W(3, 4)},
    ),
    "einsum of batches": (
        lambda m, x: torch.einsum("bhqd,bhkd->bhqk", x, x + m.w), (noise(2, 3, 5, 4),),
        {"w": W(4)},
    ),
    "recurrent": (lambda m, x: m.f(x)[0], (noise(5, 2, 3),), {"f": nn.LSTM(3, 4)}),
    "gated": (lambda m, x: m.f(x)[0], (noise(5, 2, 3),), {"f": nn.GRU(3, 4, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("case", KNOWN.values(), ids=KNOWN)
def test_flops_are_what_torch_counts(case: Case) -> None:
    function, inputs, weights = case
    ours, torchs = (count(function, *inputs, **weights) for count in (counted, torch_counts))
    assert ours == torchs > 0


def test_every_contraction_and_recurrence_with_a_rule_has_its_flops() -> None:
    """Looking rows up is no arithmetic, nor is laying them side by side."""
    ruled = {
        name.removeprefix("aten::")
        for name, rule in rules._RULES.items()
        if rule.__module__ in {rules.contract.__name__, rules.recurrent.__name__}
    }
    packing = {"_pack_padded_sequence", "_pad_packed_sequence"}
    lookups = {"embedding", "embedding_bag"}
    assert {name for name in ruled if not traits(name).contracts} == packing | lookups


def attend(gqa: bool) -> Callable[..., Any]:
    return lambda m, q, k, v: F.scaled_dot_product_attention(q + m.w, k, v, enable_gqa=gqa)


@pytest.mark.parametrize("heads", [4, 2])
def test_flops_of_attention_are_those_of_its_two_products(heads: int) -> None:
    q, k, v = noise(2, 4, 5, 8), noise(2, heads, 7, 8), noise(2, heads, 7, 6)
    whole = [x.repeat_interleave(4 // heads, 1) for x in (k, v)]

    def written(m: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ((q + m.w) @ k.mT).softmax(-1) @ v

    expected = torch_counts(written, q, *whole, w=W(8))
    assert counted(attend(heads < 4), q, k, v, w=W(8)) == expected
    assert expected == 2 * (2 * 4 * 5 * 7 * 8) + 2 * (2 * 4 * 5 * 7 * 6)


RECURRENT = {"lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3), "rnn": (nn.RNN, 1)}


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 3])
def test_flops_of_recurrent_layers(kind: str, directions: int, layers: int) -> None:
    build, gates = RECURRENT[kind]
    inside, hidden, steps, batch = 3, 5, 7, 2
    layer = build(inside, hidden, layers, bidirectional=directions == 2)
    read = [inside, *[directions * hidden] * (layers - 1)]
    each = sum(2 * gates * hidden * (size + hidden) for size in read)
    expected = steps * batch * directions * each
    assert counted(lambda m, x: m.f(x)[0], noise(steps, batch, inside), f=layer) == expected


def test_flops_of_a_projected_lstm() -> None:
    layer = nn.LSTM(3, 6, proj_size=2)
    expected = 7 * 4 * (2 * 4 * 6 * (3 + 2) + 2 * 6 * 2)
    assert counted(lambda m, x: m.f(x)[0], noise(7, 4, 3), f=layer) == expected


def test_flops_of_packed_sequences_are_those_of_their_steps() -> None:
    def packed(m: Any, x: Tensor) -> Tensor:
        return m.f(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7, 4])))[0].data

    assert counted(packed, noise(7, 2, 3), f=nn.LSTM(3, 5)) == (7 + 4) * 2 * 4 * 5 * (3 + 5)


@pytest.mark.parametrize(
    ("cell", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)], ids=str
)
def test_flops_of_cells(cell: type[nn.Module], gates: int) -> None:
    made = counted(lambda m, x: m.f(x), noise(2, 3), f=cell(3, 5))
    assert made == 2 * (2 * gates * 5 * (3 + 5))


PLAIN: dict[str, tuple[int, Case]] = {
    "vector": (2 * 5 * 3, (lambda m, x: torch.mv(x, m.w), (noise(5, 3),), {"w": W(3)})),
    "vdot": (2 * 3, (lambda m, x: torch.vdot(x, m.w), (noise(3),), {"w": W(3)})),
    "dot": (2 * 3, (lambda m, x: torch.dot(x, m.w), (noise(3),), {"w": W(3)})),
    "addmv": (
        2 * 5 * 3,
        (lambda m, x: torch.addmv(m.b, x, m.w), (noise(5, 3),), {"b": W(5), "w": W(3)}),
    ),
    "addbmm": (
        2 * 2 * 5 * 3 * 4,
        (lambda m, x: torch.addbmm(m.b, x, m.w), (noise(2, 5, 3),), {"b": W(4), "w": W(2, 3, 4)}),
    ),
    "bilinear": (  # x W for each of 4 features, then the product with y
        7 * (4 * (2 * 3 * 5) + 4 * (2 * 5)),
        (lambda m, x, y: m.f(x, y), (noise(7, 3), noise(7, 5)), {"f": nn.Bilinear(3, 5, 4)}),
    ),
    "distances": (
        2 * 5 * 7 * 3, (lambda m, x: torch.cdist(x, m.w), (noise(5, 3),), {"w": W(7, 3)}),
    ),
    "a triangle": (
        2 * 4 * (3 * 3),
        (
            lambda m, x: torch.linalg.solve_triangular(x, m.w, upper=False), (noise(2, 3, 3),),
            {"w": W(3, 4)},
        ),
    ),
    "rows looked up": (0, (lambda m, x: m.f(x.long()), (noise(5) * 0,), {"f": nn.Embedding(9, 4)})),
    "bags": (0, (lambda m, x: m.f(x.long()), (noise(2, 5) * 0,), {"f": nn.EmbeddingBag(9, 4)})),
    "in place": (
        2 * (2 * 5 * 3 * 4),
        (lambda m, x: (x @ m.w).addmm_(x, m.w), (noise(5, 3),), {"w": W(3, 4)}),
    ),
    "a product without a sum": (
        0, (lambda m, x: torch.einsum("ti,i->ti", x, m.w), (noise(5, 3),), {"w": W(3)}),
    ),
    "a norm": (0, (lambda m, x: m.f(x), (noise(5, 4),), {"f": nn.LayerNorm(4)})),
}  # fmt: skip


@pytest.mark.parametrize(("expected", "case"), PLAIN.values(), ids=PLAIN)
def test_flops_that_torch_does_not_count(expected: int, case: Case) -> None:
    function, inputs, weights = case
    assert counted(function, *inputs, **weights) == expected


GROUPED = {
    "rows": ((24, 8), (3, 8, 16)),
    "columns": ((3, 24, 8), (8, 48)),
    "batches": ((3, 24, 8), (3, 8, 16)),
    "sums": ((24, 48), (48, 16)),
}


@pytest.mark.parametrize("case", GROUPED)
def test_flops_of_grouped_products_are_those_of_their_groups(case: str) -> None:
    a, b = (torch.zeros(shape, dtype=torch.bfloat16) for shape in GROUPED[case])
    cut = a.shape[-2] if case == "rows" else 48
    ends = None if case == "batches" else torch.tensor([cut // 3, 2 * cut // 3, cut]).int()
    arguments = {"self": tuple(a.shape), "mat2": tuple(b.shape)}
    out = torch.ops.aten._grouped_mm(
        a.to("meta"), b.to("meta"), ends.to("meta") if ends is not None else None
    )
    pieces = {
        "rows": [(8, 8, 16)] * 3,
        "columns": [(24, 8, 16)] * 3,
        "batches": [(24, 8, 16)] * 3,
        "sums": [(24, 16, 16)] * 3,
    }[case]
    formula = traits("_grouped_mm").flops
    assert formula is not None
    assert formula(arguments, [tuple(out.shape)]) == sum(2 * prod(piece) for piece in pieces)


# -- the only table --------------------------------------------------------------------------------

SOURCES = Path(net2net.__file__).parent
LAB = Path(__file__).parents[2] / "lab" / "src"

NAMES = {
    name.removeprefix("aten::").partition(".")[0].rstrip("_")
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("aten::")
}


def words(node: ast.AST) -> Iterator[str]:
    """Text in a literal: the members of a tuple, list or set, the keys of a dict, and what is cut
    into words or may be (a string with a name)."""
    match node:
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            yield from (
                x.value for x in items if isinstance(x, ast.Constant) and isinstance(x.value, str)
            )
        case ast.Dict(keys=items):
            yield from (
                x.value for x in items if isinstance(x, ast.Constant) and isinstance(x.value, str)
            )
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="split")):
            yield from text.split()
        case ast.Assign(value=ast.Constant(value=str(text))):
            yield from text.split()


def tables(source: str) -> list[int]:
    """The lines at which a literal names three operations or more, and hardly anything else."""
    found = []
    for node in ast.walk(ast.parse(source)):
        every = list(words(node))
        named = [word for word in every if word.removeprefix("aten::").rstrip("_") in NAMES]
        if len(named) >= 3 and 2 * len(named) > len(every):
            found.append(getattr(node, "lineno", 0))
    return found


@pytest.mark.parametrize(
    "text",
    [
        'NORMS = frozenset("batch_norm layer_norm group_norm".split())',
        'if kind in {"add", "sub", "cat"}: pass',
        'ROWS = {"linear": 0, "addmm": 1, "conv1d": 0}',
        'CLAMPS = ("clamp", "clamp_min", "aten::clamp_max")',
        'LATER = """relu relu_ gelu"""',
    ],
)
def test_a_table_is_found(text: str) -> None:
    assert tables(text) == [1]


OTHER_WORDS = {SOURCES / "maps" / "methods.py", SOURCES / "transfer" / "longer.py"}
"""Files that say what new units and rows hold: zero, mean, random."""


def test_no_other_table_names_operations() -> None:
    rules = SOURCES / "infer" / "rules"
    files = [*SOURCES.rglob("*.py"), *LAB.rglob("*.py")]
    found = {
        f"{file}:{line}"
        for file in files
        if file not in {SOURCES / "ops.py", *OTHER_WORDS} and rules not in file.parents
        for line in tables(file.read_text())
    }
    assert len(files) > 100 and not found
