"""What a growth did, for people and machines."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from net2net.tables import format_table, html_table
from net2net.verify import Parity


@dataclass(frozen=True)
class Row:
    """One space, or one place for new layers: sizes before and after, and what is to be said.
    ``admissible``: the nearest sizes that could be had instead, as far as is known."""

    name: str
    old: int
    new: int
    note: str = ""
    admissible: tuple[int, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was asked, what grew from what to what, what did not, and what was measured.

    Attributes:
        action: the verb, the model and the method.
        asked: what the caller asked for.
        rows: one for each space that grew (sizes are channels or features) or layer inserted.
        stayed: one for each space that was asked to grow and did not; the note says why.
        parameters: parameter counts, before and after.
        bytes: of all parameters and buffers, before and after.
        flops: floating-point operations of one forward pass on the given inputs, two for each
            multiply-add of a contraction, before and after.
        parity: the measured difference, or None where nothing was measured.
        warnings: what the student will not do well unless somebody does something.
        notes: parameters that were never used, configurations that stay, and the like.
    """

    action: str
    asked: str
    rows: tuple[Row, ...]
    stayed: tuple[Row, ...]
    parameters: tuple[int, int]
    bytes: tuple[int, int]
    flops: tuple[int, int]
    parity: Parity | None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        data = asdict(self)
        if self.parity is not None:
            data["parity"] |= {"dtype": str(self.parity.dtype), "exact": self.parity.exact}
        return data

    def to_json(self) -> str:
        """The report as a JSON document."""
        return json.dumps(self.to_dict(), indent=2)

    def _table(self) -> list[tuple[str, ...]]:
        return [
            ("where", "size", "note"),
            *((row.name, f"{row.old} → {row.new}", row.note) for row in self.rows),
        ]

    def _lines(self) -> list[str]:
        lines = []
        for label in ("parameters", "bytes", "FLOPs"):
            old, new = getattr(self, label.lower())
            times = f" (× {new / old:.2f})" if old else ""
            lines.append(f"{label}: {old:,} → {new:,}{times}")
        lines.append(f"verified: {self.parity}" if self.parity else "verified: no")
        lines += _stayed(self.stayed)
        lines += [f"warning: {warning}" for warning in self.warnings]
        return lines + [f"note: {note}" for note in self.notes]

    def __str__(self) -> str:
        table = [format_table(self._table())] if self.rows else []
        return "\n".join([f"{self.action}, asked: {self.asked}", *table, *self._lines()])

    def _repr_html_(self) -> str:
        title = f"{self.action}, asked: {self.asked}"
        return html_table(self._table(), title=title, below=self._lines())


def _stayed(rows: tuple[Row, ...]) -> list[str]:
    """What stays and why; the same in every layer is one line."""
    alike: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        kind = (re.sub(r"\d+", "*", row.name), row.old, re.sub(r"\d+", "*", row.note))
        alike.setdefault(kind, []).append(row)
    return [
        f"'{first.name}'{f' and {len(rest)} like it' if rest else ''} stays at {first.old}: "
        f"{first.note}"
        for first, *rest in alike.values()
    ]
