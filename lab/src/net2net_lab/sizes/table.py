"""docs/sizes.md, drawn from the records."""

from __future__ import annotations

from collections.abc import Sequence

from net2net_lab.sizes.measure import Found

HEAD = """# From size to size: timm's families

Drawn by `net2net-lab sizes`: `transfer(small, large, picture, method="replicate")` between models
of timm that follow each other in size, as their authors published them, on random weights whose
statistics, scales and biases are randomised too, in float64. *difference* is the largest relative
one of their outputs. Where the larger model cannot compute what the smaller does, the reason
follows, and *closest* is how far off `exact=False` is on these random weights.

"""

ROUNDING = 1e-9
"""What counts as exact."""


def table(records: Sequence[Found]) -> str:
    """The page."""
    exact = sum(one.difference is not None and one.difference <= ROUNDING for one in records)
    families = {one.family.partition(",")[0] for one in records}
    lines = [
        f"{len(records)} pairs of {len(families)} families: {exact} exact.",
        "",
        "| family | from | to | parameters | difference | closest | why not |",
        "|---|---|---|---|---|---|---|",
    ]
    return HEAD + "\n".join([*lines, *map(_row, records)]) + "\n"


def _row(one: Found) -> str:
    cells = [
        one.family.partition(",")[0], one.small, one.large,
        " → ".join(f"{count:,}" for count in one.parameters), _shown(one.difference),
        _shown(one.closest), one.why.replace("|", "\\|").replace("*", "\\*"),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
