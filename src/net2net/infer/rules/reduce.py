"""Reductions along axes."""

from __future__ import annotations

from dataclasses import replace

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.values import Value
from net2net.ops import Reduction, kinds, traits


@rule(*kinds(lambda traits: traits.reduces))
def reduction(site: OpSite) -> list[Value]:
    value = next(x for x in site.args.values() if isinstance(x, Value))
    dims = site.args.get("dim")
    if dims is None or dims == []:
        dims = range(value.ndim)
    elif isinstance(dims, int):
        dims = [dims]
    kind = traits(site.name).reduces or Reduction.OTHER
    if site.args.get("correction") == 0 or site.args.get("unbiased") is False:
        kind = Reduction.MEAN  # of squares
    result = site.reduce(value, dims, bool(site.args.get("keepdim")), kind)
    return [replace(result, shape=shape) for shape in site.outputs]


@rule(*(f"fft_{name}" for name in
        "fft ifft rfft irfft hfft ihfft fft2 ifft2 rfft2 irfft2 fftn ifftn rfftn irfftn".split()),
      "_fft_c2c", "_fft_r2c", "_fft_c2r")  # fmt: skip
def fourier(site: OpSite) -> Value:
    """Every output position is a sum over all input positions of the axes that are transformed."""
    value: Value = site["self"]
    dims = site.args.get("dim")
    if dims is None:
        dims = range(value.ndim)
    inner = site.confine(value, [dims] if isinstance(dims, int) else dims, "transforms it")
    return Value(site.shape, inner.parts)


@rule("linalg_inv", "inverse", "matrix_exp", "linalg_matrix_exp")
def of_matrices(site: OpSite) -> Value:
    """Every element of a matrix from all of that: those of a batch are apart."""
    value = next(item for item in site.args.values() if isinstance(item, Value))
    return Value(site.shape, site.confine(value, [-2, -1], "mixes all of a matrix").parts)
