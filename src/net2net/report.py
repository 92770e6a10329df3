"""What a growth did, for people."""

from __future__ import annotations

from dataclasses import dataclass

from net2net.infer.spaces import format_table
from net2net.verify import Parity


@dataclass(frozen=True)
class Row:
    """One space that grew, or one layer that was inserted."""

    name: str
    old: int
    new: int
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What grew, from what to what, and what was measured.

    Attributes:
        rows: one for each space that grew (sizes are channels or features) or layer inserted.
        parameters: parameter counts, before and after.
        flops: floating-point operations of one forward pass on the given inputs, two for each
            multiply-add of a contraction, before and after.
        parity: the measured difference, or None where nothing was measured.
        notes: adjusted widths, units that came along, parameters that were never used.
    """

    action: str
    rows: tuple[Row, ...]
    parameters: tuple[int, int]
    flops: tuple[int, int]
    parity: Parity | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.action]
        if self.rows:
            cells = [(row.name, f"{row.old} → {row.new}", row.note) for row in self.rows]
            lines.append(format_table([("where", "size", "note"), *cells]))
        for label, (old, new) in (("parameters", self.parameters), ("FLOPs", self.flops)):
            times = f" (× {new / old:.2f})" if old else ""
            lines.append(f"{label}: {old:,} → {new:,}{times}")
        lines.append(f"verified: {self.parity}" if self.parity else "verified: no")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)
