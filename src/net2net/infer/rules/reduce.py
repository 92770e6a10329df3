"""Reductions along axes."""

from __future__ import annotations

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.values import Value

KINDS = {
    "mean": "mean",
    **dict.fromkeys(("amax", "amin", "any", "all", "argmax", "argmin", "aminmax"), "max"),
    **dict.fromkeys(
        ("sum", "nansum", "prod", "var", "std", "var_mean", "std_mean", "norm", "linalg_norm",
         "linalg_vector_norm", "logsumexp", "median", "mode", "kthvalue", "count_nonzero"),
        "sum",
    ),
}  # fmt: skip


@rule(*KINDS)
def reduction(site: OpSite) -> list[Value]:
    value = next(x for x in site.args.values() if isinstance(x, Value))
    dims = site.args.get("dim")
    if dims is None or dims == []:
        dims = range(value.ndim)
    elif isinstance(dims, int):
        dims = [dims]
    kind = "sum" if site.name.startswith("arg") else KINDS[site.name]
    if site.args.get("correction") == 0 or site.args.get("unbiased") is False:
        kind = "mean"  # of squares
    result = site.reduce(value, dims, bool(site.args.get("keepdim")), kind)
    return [Value(shape, result.parts) for shape in site.outputs]


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
