"""Recipes with what they take of whole tensors (deviations, means) measured, so that blocks of rows
are made without reading these again for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from net2net.recipe.recipe import Mean, New, Recipe, Spread, chunks, deviation_of, mean
from net2net.recipe.run import Read


def measured(
    recipes: Mapping[str, Recipe], shapes: Mapping[str, Sequence[int]], read: Read
) -> dict[str, Recipe]:
    """The same recipes, with the numbers that running them would measure.

    Args:
        shapes: of the teacher's tensors.
        read: reads them; of those that are measured no more than some rows at once.
    """

    @cache
    def deviation(source: str) -> float:
        if not shapes[source]:
            return deviation_of([read(source, None)])
        runs = chunks(shapes[source])
        return deviation_of(read(source, np.arange(first, last)) for first, last in runs)

    @cache
    def middle(source: str) -> float | None:
        return mean(read(source, None))

    def spread(source: str, law: Spread) -> Spread:
        return law if law.deviation is not None else replace(law, deviation=deviation(source))

    def new(source: str, law: New | None) -> New | None:
        if isinstance(law, Spread):
            return spread(source, law)
        return Mean(middle(source)) if isinstance(law, Mean) and law.value is None else law

    def known(one: Recipe) -> Recipe:
        if one.source is None:
            return one
        at, how = one.source, one.perturbed
        if how is not None and isinstance(how.law, Spread):
            how = replace(how, law=spread(at, how.law))
        return replace(
            one, new=new(at, one.new), perturbed=how,
            noise=None if one.noise is None else spread(at, one.noise),
            pair=None if one.pair is None else spread(at, one.pair),
        )  # fmt: skip

    return {name: known(one) for name, one in recipes.items()}
