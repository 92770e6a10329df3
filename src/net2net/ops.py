"""ops: what the library knows of torch's operations, one row each, and the only table of them.

``traits("relu")`` is the row of ``aten::relu`` and ``aten::relu_``. An operation without a row, as
all of a user's own library (``mylib::relu``), has none of the traits: nothing is assumed of it.

To add an operation, put its name (as in ``torch.ops.aten``) into the row of its family whose traits
hold for it, or give it a row; ``tests/unit/test_ops.py`` tries elementwise ones on numbers. What
units its outputs have is another question, which its rule in ``infer/rules/`` answers; of an
elementwise operation, the row is the rule as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import partial
from typing import Any

from torch import nn

from net2net import op_flops as flops
from net2net.op_flops import Flops


class Reduction(StrEnum):
    """What is made of elements along an axis that goes."""

    SUM = "sum"
    MEAN = "mean"
    EXTREME = "max"
    """One of them, as told by their values: a maximum; or whether any is such."""
    VARIANCE = "var"
    """Or a deviation, its root; maybe the mean as well, as the second of two."""
    NORM = "norm"
    OTHER = "other"


class Zero(Enum):
    """Which operands have to be zero, so that the output is; or c times as large."""

    FIRST = "first"
    """The first: ``relu(0)`` is 0, ``0 / x`` as well."""
    ALL = "all"
    """All of them: ``0 + 0``, ``cat([0, 0])``."""
    ANY = "any"
    """One of them, besides what is added: ``0 · x``, ``0 @ x``."""


@dataclass(frozen=True)
class Weight:
    """The arguments of a layer: what it reads, its weight, and the axis of that which makes its
    features."""

    data: str
    weight: str
    axis: int


@dataclass(frozen=True)
class OpTraits:
    """What holds for an operation, in evaluation mode and with the arguments that it has by
    default.

    Attributes:
        elementwise: an element of the output is made of those at its place in the operands, which
            broadcast: ``gelu``, ``add``. Such operations share one rule.
        moves: every element of the output is an element of an operand: ``view``, ``cat``,
            ``max_pool2d``, ``dropout``; but not ``relu``, which also puts out zeros.
        rearranges: the elements of the output are those of the first operand, each once, with its
            axes in another order at the most: ``view``, ``transpose``, ``dropout``; but not
            ``flip``, ``slice``.
        keeps_scale: every element of the output is made of one element of the first operand, at a
            place that no values tell, and is c times as large if that is: ``relu``, ``view``; but
            not ``cat`` (other operands), ``max_pool2d`` (values tell the place), ``gelu``.
        sums: every element of the output is a sum (or difference) of those of its operands:
            ``add``, ``rsub``.
        joins: every element of the output is an element of one of its operands, or the sum of
            elements of several, at places that other arguments tell: ``cat``, ``where``,
            ``index_add``.
        multiplies: it is a product or a quotient of its two operands: ``mul``, ``div``.
        linear: every element of the output is a sum of elements of the first operand, with weights
            that no values tell: ``mean``, ``avg_pool2d``.
        degree: of operand c · x the output is c^degree times that of x, for every c > 0: of
            ``square`` 2. What keeps the scale has degree 1.
        reduces: what it makes of the elements along an axis that goes, or None.
        zero: the operands that have to be zero, so that the output is; None if none will do, as for
            ``sigmoid`` and ``softmax``.
        flat: where its operand is zero it has no slope, or an infinite one, so that what is zero
            stays zero in training: ``relu``, ``square``, ``sqrt``.
        partial: it is no number for some of its operand: ``sqrt``, ``log``. Said of elementwise
            operations of one operand.
        positive: it puts out nothing below zero: ``relu``, ``square``. Said of the same.
        scaled: the operands that have to be c times as large, so that the output is, for c > 0, of
            those that do more than keep scale: ``div``, ``add``, ``mul``; None if none will do.
        idempotent: done twice is done once, whatever its arguments: ``relu``, ``clamp``; not
            ``gelu``. Said of elementwise operations.
        constant: of operands that each hold one value everywhere it makes a tensor that does:
            ``sum``, ``expand``; not ``cat`` (zeros and ones), not what draws at random.
        constant_axes: axes along which all positions are the same (an expanded one) stay so, and
            its rule can tell which these are: ``permute``, ``slice``, ``add``.
        factory: the output holds one value everywhere, so that it fits any width, and of an operand
            it takes no more than the shape and the type: ``zeros``, ``full_like``.
        shaped: of all operands but the first it takes no more than the shape or the type:
            ``expand_as``.
        chooses: it tells at which places along an axis the largest elements are, in its last
            output: ``topk``.
        centres: what it normalises has no mean then: ``layer_norm``, not ``rms_norm``.
        normalises: subtracts a mean or divides by a deviation, and then scales and shifts each
            feature by ``weight`` and ``bias``: ``layer_norm``.
        hands_on: it is a layer that hands units on from one weight to the next, so that it is no
            news if it ties them: ``linear``, ``batch_norm``, ``prelu``.
        adds: the argument that is added to a product: ``"bias"``, and of ``addmm`` ``"self"``.
        weight: of layers that make features, where; of a transposed convolution they lie on axis 1.
        weighs: the argument that it makes weighted sums of, of attention: ``"value"``.
        module: the module that computes it, of elementwise activations: ``nn.ReLU``.
        flops: what it costs, of those that sum products.
    """

    elementwise: bool = False
    moves: bool = False
    rearranges: bool = False
    keeps_scale: bool = False
    sums: bool = False
    joins: bool = False
    multiplies: bool = False
    linear: bool = False
    degree: float | None = None
    reduces: Reduction | None = None
    zero: Zero | None = None
    flat: bool = False
    partial: bool = False
    positive: bool = False
    scaled: Zero | None = None
    idempotent: bool = False
    constant: bool = False
    constant_axes: bool = False
    factory: bool = False
    shaped: bool = False
    chooses: bool = False
    normalises: bool = False
    centres: bool = False
    hands_on: bool = False
    adds: str = ""
    weight: Weight | None = None
    weighs: str = ""
    module: type[nn.Module] | None = None
    flops: Flops | None = None

    @property
    def passes(self) -> bool:
        """The output holds elements of the first operand, whatever others say of shape, type and
        places: ``view``, ``index``, ``to``; not ``cat``."""
        return self.moves and self.keeps_scale

    @property
    def contracts(self) -> bool:
        """It sums products: ``linear``, attention, a recurrent layer."""
        return self.flops is not None


_TABLE: dict[str, OpTraits] = {}
_NONE = OpTraits()


def traits(kind: str) -> OpTraits:
    """The row of an operation, by torch's name without underscores at its end."""
    return _TABLE.get(kind, _NONE)


def kinds(having: Callable[[OpTraits], object]) -> list[str]:
    """The operations whose traits are such."""
    return [kind for kind, one in _TABLE.items() if having(one)]


def _row(names: str, **given: Any) -> None:
    for name in names.split():
        kind = name.rstrip("_")
        if kind in _TABLE:
            raise ValueError(f"{name} has two rows")
        _TABLE[kind] = OpTraits(**given)


FIRST, ALL, ANY = Zero

# -- elementwise, of one operand ------------------------------------------------------------------
# ``_map``: a function of every element; ``_copy``: one that leaves it as it is.

_map = partial(_row, elementwise=True, constant=True, constant_axes=True)
_copy = partial(_map, moves=True, rearranges=True, keeps_scale=True, zero=FIRST, idempotent=True)

_copy("alias clone to _to_copy")
_copy("type_as", shaped=True)
_copy("contiguous detach positive real conj resolve_conj resolve_neg")
_copy("dropout feature_dropout", constant=False, constant_axes=False)

_map(
    "relu", zero=FIRST, flat=True, positive=True, keeps_scale=True, idempotent=True, module=nn.ReLU
)
_map("leaky_relu", zero=FIRST, keeps_scale=True, module=nn.LeakyReLU)
_map("rrelu", zero=FIRST, keeps_scale=True, module=nn.RReLU)
_map("relu6", zero=FIRST, flat=True, positive=True, idempotent=True, module=nn.ReLU6)
_map("hardtanh", zero=FIRST, idempotent=True, module=nn.Hardtanh)
_map("threshold", idempotent=True, module=nn.Threshold)
_map("celu", zero=FIRST, module=nn.CELU)
_map("elu", zero=FIRST, module=nn.ELU)
_map("gelu", zero=FIRST, module=nn.GELU)
_map("hardswish", zero=FIRST, module=nn.Hardswish)
_map("mish", zero=FIRST, module=nn.Mish)
_map("selu", zero=FIRST, module=nn.SELU)
_map("silu", zero=FIRST, module=nn.SiLU)
_map("softsign", zero=FIRST, module=nn.Softsign)
_map("tanh", zero=FIRST, module=nn.Tanh)
_map("hardsigmoid", positive=True, module=nn.Hardsigmoid)
_map("log_sigmoid", module=nn.LogSigmoid)
_map("sigmoid", positive=True, module=nn.Sigmoid)
_map("softplus", positive=True, module=nn.Softplus)
_row("prelu", constant=True, zero=FIRST, hands_on=True, module=nn.PReLU)

_map("abs zero", zero=FIRST, flat=True, positive=True, keeps_scale=True, idempotent=True)
_map("nan_to_num", zero=FIRST, keeps_scale=True, idempotent=True)
_map("neg negative deg2rad rad2deg _neg_view", zero=FIRST, keeps_scale=True, linear=True)
_map("ceil floor hardshrink round sgn sign trunc", zero=FIRST, flat=True, idempotent=True)
_map("frac", zero=FIRST, idempotent=True)
_map("fake_quantize_per_tensor_affine", zero=FIRST, idempotent=True)
_row("fake_quantize_per_channel_affine", zero=FIRST, constant=True)
_map("clamp clamp_max clamp_min fill", idempotent=True)
_map("asinh atan erf expm1 sin sinh tan", zero=FIRST)
_map("asin atanh log1p", zero=FIRST, partial=True)
_map("angle isinf isnan softshrink", zero=FIRST, flat=True)
_map("square", zero=FIRST, flat=True, positive=True, degree=2.0)
_map("sqrt", zero=FIRST, flat=True, partial=True, degree=0.5)
_map("rsqrt", partial=True, degree=-0.5)
_map("reciprocal", degree=-1.0)
_map("acos acosh log log10 log2 logit", partial=True)
_map("cosh erfc exp exp2", positive=True)
_map("cos imag isfinite lgamma sinc _conj")
_map("bitwise_not logical_not")

# what is drawn at random differs from place to place
_row("alpha_dropout bernoulli cauchy exponential feature_alpha_dropout geometric log_normal"
     " native_dropout normal random uniform", elementwise=True)  # fmt: skip

# -- elementwise, of several operands -------------------------------------------------------------

_map("add sub subtract rsub", zero=ALL, scaled=ALL, sums=True)
_map("fmax fmin hypot maximum minimum", zero=ALL, scaled=ALL)
_map("addcmul lerp", zero=ALL)
_map("mul multiply", zero=ANY, scaled=ANY, multiplies=True)
_map("div divide true_divide", zero=FIRST, scaled=FIRST, multiplies=True)
_map("masked_fill", joins=True)
_map("fmod remainder copysign xlogy", zero=FIRST)
_map("floor_divide", zero=FIRST, flat=True)
_map("addcdiv atan2 complex copy le less less_equal lt ge greater greater_equal gt eq ne not_equal"
     " heaviside logaddexp logical_and logical_or logical_xor polar pow bitwise_and bitwise_or"
     " bitwise_xor __and__ __or__ __xor__")  # fmt: skip

# -- the elements of one operand, at other places -------------------------------------------------
# Rules of those with ``constant_axes`` tell which axes an operand was expanded along.

_move = partial(_row, moves=True, keeps_scale=True, zero=FIRST, constant=True)

_turn = partial(_move, rearranges=True)

_turn("view reshape flatten unflatten _unsafe_view permute transpose swapaxes swapdims unsqueeze"
      " squeeze t numpy_T mT mH adjoint movedim moveaxis", constant_axes=True)  # fmt: skip
_turn("view_as reshape_as", constant_axes=True, shaped=True)
_move("expand broadcast_to repeat tile repeat_interleave slice", constant_axes=True)
_move("expand_as", constant_axes=True, shaped=True)
_move("flip roll unfold as_strided view_as_real diagonal")
_move("index index_select gather take_along_dim")
_move("narrow select chunk split split_with_sizes tensor_split unbind", constant_axes=True)
_move("pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle")
_move("reflection_pad1d reflection_pad2d reflection_pad3d"
      " replication_pad1d replication_pad2d replication_pad3d")  # fmt: skip
_move("upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d"
      " _upsample_nearest_exact2d _upsample_nearest_exact3d")  # fmt: skip

# -- joined, chosen by value, reduced -------------------------------------------------------------

_row("cat concat concatenate stack hstack vstack", moves=True, zero=ALL, scaled=ALL, joins=True,
     constant_axes=True)  # fmt: skip
_row("where", scaled=ALL, joins=True)
_row("index_add index_copy index_put scatter scatter_add masked_scatter", joins=True)
_row("max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices"
     " max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
     moves=True, zero=FIRST, constant=True)  # fmt: skip
_row("amax amin", moves=True, zero=FIRST, constant=True, reduces=Reduction.EXTREME)
_row("any all", constant=True, reduces=Reduction.EXTREME)
_row("aminmax", reduces=Reduction.EXTREME)
_row("sum", zero=FIRST, constant=True, scaled=FIRST, linear=True, reduces=Reduction.SUM)
_row("mean", zero=FIRST, constant=True, scaled=FIRST, linear=True, reduces=Reduction.MEAN)
_row("prod", zero=FIRST, constant=True, reduces=Reduction.OTHER)
_row("nansum median", zero=FIRST, reduces=Reduction.OTHER)
_row("argmax", reduces=Reduction.OTHER, chooses=True)
_row("argmin logsumexp mode kthvalue count_nonzero", reduces=Reduction.OTHER)
_row("var std var_mean std_mean", zero=FIRST, reduces=Reduction.VARIANCE)
_row("norm linalg_norm linalg_vector_norm", zero=FIRST, reduces=Reduction.NORM)
_row("max", zero=ALL, constant=True, chooses=True)
_row("min", zero=ALL, constant=True)
_row("softmax cross", constant=True)
_row("topk", zero=FIRST, chooses=True)
_row("cumsum cumprod sort msort tril triu glu im2col col2im view_as_complex", zero=FIRST)
_row("avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
     " _adaptive_avg_pool2d _adaptive_avg_pool3d upsample_linear1d upsample_bilinear2d"
     " upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
     " pad constant_pad_nd", zero=FIRST, linear=True)  # fmt: skip
_row("_fft_c2c _fft_r2c _fft_c2r fft_fft fft_ifft fft_rfft fft_irfft fft_hfft fft_ihfft fft_fft2"
     " fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_rfftn fft_irfftn",
     zero=FIRST)  # fmt: skip

# -- made from nothing ----------------------------------------------------------------------------

_row("empty empty_like empty_strided full full_like new_empty new_empty_strided new_full new_ones"
     " new_zeros ones ones_like scalar_tensor zeros zeros_like",
     factory=True, constant=True)  # fmt: skip

# -- normalised -----------------------------------------------------------------------------------

_norm = partial(_row, normalises=True, hands_on=True)

_norm("batch_norm", centres=True)
_norm("instance_norm group_norm layer_norm", centres=True, zero=FIRST)
_norm("rms_norm", zero=FIRST)

# -- sums of products -----------------------------------------------------------------------------

_product = partial(_row, zero=ANY)
_layer = partial(_product, hands_on=True, adds="bias")

_layer("linear", weight=Weight("input", "weight", 0), flops=flops.summed("weight", -1))
_layer("conv1d conv2d conv3d", weight=Weight("input", "weight", 0), flops=flops.convolution)
_layer("conv_transpose1d conv_transpose2d conv_transpose3d", weight=Weight("input", "weight", 1),
       flops=flops.transposed_convolution)  # fmt: skip
_layer("convolution _convolution", flops=flops.convolution)
_layer("addmm", adds="self", weight=Weight("mat1", "mat2", 1), flops=flops.summed("mat1", -1))
_layer("matmul", adds="", flops=flops.product)
_product("bilinear", adds="bias", flops=flops.bilinear)
_product("mm bmm mv dot vdot inner _sparse_mm", flops=flops.product)
_product("tensordot", flops=flops.tensor_product)
_product("linalg_vecdot", flops=flops.along("x"))
_row("cosine_similarity", flops=flops.along("x1"))
_product("baddbmm", adds="self", flops=flops.summed("batch1", -1))
_product("addbmm", adds="self", flops=flops.summed("batch1", 0, -1))
_product("addmv", adds="self", flops=flops.summed("mat", -1))
_product("_grouped_mm", adds="bias", flops=flops.grouped_product)
_product("einsum", flops=flops.einsum)
_row("cdist", flops=flops.distances)
_row("linalg_solve_triangular", flops=flops.triangular_solve)
_row("linalg_solve", flops=flops.solve)
_row("scaled_dot_product_attention", weighs="value", flops=flops.attention)
_row("lstm gru rnn_tanh rnn_relu", flops=flops.recurrence)
_row("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell", flops=flops.cell)
