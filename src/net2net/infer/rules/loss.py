"""Losses: what a training step computes of a model's outputs and of labels."""

from __future__ import annotations

import numpy as np

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.rules.pointwise import operands
from net2net.infer.values import Value


@rule(
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss",
    "soft_margin_loss", "hinge_embedding_loss", "margin_ranking_loss",
)  # fmt: skip
def elementwise(site: OpSite) -> Value:
    """Element by element, of operands that broadcast."""
    values = operands(site)
    shape = np.broadcast_shapes(*(value.shape for value in values))
    return _reduced(site, site.pointwise(values, shape))


@rule(
    "cross_entropy_loss", "nll_loss", "nll_loss_nd", "nll_loss2d",
    "multi_margin_loss", "multilabel_margin_loss",
)  # fmt: skip
def by_class(site: OpSite) -> Value:
    """One loss for all scores along the axis of classes, the second if there is a batch."""
    scores: Value = site["self"]
    return _of_whole_axes(site, scores, [min(1, scores.ndim - 1)], "compares classes along it")


@rule("ctc_loss")
def of_sequences(site: OpSite) -> Value:
    """One loss for all times and classes, the first axis and the last."""
    return _of_whole_axes(site, site["log_probs"], [0, -1], "sums over alignments along it")


@rule("cosine_embedding_loss", "triplet_margin_loss")
def of_distances(site: OpSite) -> Value:
    """One loss for the features, along the last axis, of rows that are compared."""
    return _of_whole_axes(site, operands(site)[0], [-1], "compares features along it")


def _of_whole_axes(site: OpSite, value: Value, axes: list[int], why: str) -> Value:
    """A loss of all that lies along some axes. What it is compared with stays as it is."""
    for other in operands(site):
        for part in other.parts if other is not value else ():
            site.fix(part.ids, why)
    inner = site.confine(value, axes, why)
    return _reduced(site, inner.without([value.dim(axis) for axis in axes]))


def _reduced(site: OpSite, value: Value) -> Value:
    """Every loss, or their mean or sum, as is asked for."""
    if site["reduction"] == 0:
        return value
    return site.reduce(value, range(value.ndim), False, ("mean", "sum")[site["reduction"] - 1])
