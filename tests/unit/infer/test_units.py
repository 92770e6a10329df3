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


def test_what_goes_through_an_operation_has_new_numbers_and_is_counted():
    units = Units()
    _, ids = units.new("a.weight", 0, 3)
    lone = units.through_op(np.array([[2, NO_UNIT, 0], [0, 0, 2]]))
    assert lone.tolist() == [[5, NO_UNIT, 4], [4, 4, 5]]
    (old, new), (named, count) = units.steps[-1], units.through[-1]
    assert (old.tolist(), new.tolist()) == ([0, 2], [4, 5])
    assert (named.tolist(), count.tolist()) == ([4, 5], [3, 2])
    assert units.through_op(ids).tolist() == [6, 7, 8]
    assert units.through[-1][1].tolist() == [1, 1, 1]
    assert units.through_op(np.array([1, 0, 2])).tolist() == [10, 9, 11]
    assert units.origins().tolist() == [0, 1, 2, 3, 0, 2, 0, 1, 2, 0, 1, 2]
