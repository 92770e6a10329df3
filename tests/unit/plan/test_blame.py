"""The search for the spaces to blame: what is left holds, in few trials."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from net2net.analysis import analyse
from net2net.infer.spaces import spaces_of
from net2net.plan.blame import to_blame
from net2net.plan.widths import SpaceGrowth, resolve

SPACES = 16
NET = nn.Sequential(*(nn.Linear(3 + i, 4 + i) for i in range(SPACES + 1)))
"""Every layer of another width, so none is like another."""


def grown_of(model: nn.Module) -> list[SpaceGrowth]:
    found = analyse(model, torch.zeros(1, 3))
    return resolve(spaces_of(found), found, model, 2.0)


GROWN = grown_of(NET)


def search(grown: list[SpaceGrowth], bad: set[frozenset[str]]) -> tuple[dict[str, str], list[int]]:
    """Whom it blames if no two spaces of one of these sets may grow together, and the trials."""
    trials: list[int] = []

    def why_not(some: list[SpaceGrowth]) -> str | None:
        trials.append(len(some))
        names = {one.space.name for one in some}
        return next((f"for {sorted(one)}" for one in bad if one <= names), None)

    return to_blame(grown, why_not), trials


@given(
    st.sets(st.frozensets(st.sampled_from([str(i) for i in range(SPACES)]), min_size=1), max_size=4)
)
def test_the_rest_holds_and_each_of_them_is_to_blame(bad: set[frozenset[str]]) -> None:
    blamed, _ = search(GROWN, bad)
    kept = {one.space.name for one in GROWN} - blamed.keys()
    assert not any(one <= kept for one in bad)
    for name, why in blamed.items():
        assert any(one <= kept | {name} and why == f"for {sorted(one)}" for one in bad)


def test_one_of_sixteen_takes_few_trials() -> None:
    blamed, trials = search(GROWN, {frozenset({"5"})})
    assert blamed == {"5": "for ['5']"} and len(trials) == 1 + 2 * 4


def test_the_third_of_a_kind_is_not_tried() -> None:
    """Layers of one width in the same place."""
    model = nn.Sequential(nn.Linear(3, 8), *(nn.Linear(8, 8) for _ in range(16)), nn.Linear(8, 2))
    grown = grown_of(model)
    blamed, trials = search(grown, {frozenset({one.space.name}) for one in grown})
    assert list(blamed) == [one.space.name for one in grown] and len(trials) <= 8
    assert blamed["15"] == "like others of its kind, of which one was tried: for ['0']"
