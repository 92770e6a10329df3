"""The arithmetic of labels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from net2net.infer.units import NO_UNIT, Units, distinct, occurrence

LABELS = st.one_of(
    st.lists(st.integers(NO_UNIT, 8)), st.lists(st.sampled_from([NO_UNIT, 0, 5, 10**6, 10**9]))
)


@given(LABELS)
def test_distinct_labels_are_those_of_numpy(labels: list[int]) -> None:
    array = np.array(labels, dtype=np.int64)
    values, places = distinct(array)
    want, where = np.unique(array, return_inverse=True)
    assert values.tolist() == want.tolist()
    assert places.tolist() == where.tolist()


@given(LABELS)
def test_occurrence_counts_the_same_label_before(labels: list[int]) -> None:
    found = occurrence(np.array(labels, dtype=np.int64)).tolist()
    assert found == [labels[:place].count(label) for place, label in enumerate(labels)]


@given(st.lists(st.tuples(*[st.integers(NO_UNIT, 3)] * 3), min_size=1))
def test_units_combined_with_different_ones_get_different_names(
    rows: list[tuple[int, int, int]],
) -> None:
    units = Units()
    units.new("weight", 0, 4)
    labels = [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]
    renamed = units.derived(*labels).tolist()
    for row, one in zip(rows, renamed, strict=True):
        assert (one == NO_UNIT) == (row[0] == NO_UNIT)
        for other, two in zip(rows, renamed, strict=True):
            if NO_UNIT not in (row[0], other[0]):
                assert (one == two) == (row == other)


def test_tied_units_are_one_component_through_any_number_of_names() -> None:
    units = Units()
    _, a = units.new("a", 0, 3)
    _, b = units.new("b", 0, 3)
    later = units.through_op(units.through_op(b[::-1]))
    units.tie(later, a, "add", "", "")
    assert units.components()[b].tolist() == [2, 1, 0]
    assert units.sames()[b].tolist() == b.tolist()
    assert units.sames()[later].tolist() == a.tolist()
