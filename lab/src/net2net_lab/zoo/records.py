"""Records: what was measured of one model, one JSON line each, in a file that only grows."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from net2net.errors import Net2NetError
from net2net.files import write_whole

log = logging.getLogger(__name__)

OK, FAILED, NOT_RUN = "ok", "failed", "not run"

FACTOR, METHOD = 2.0, "replicate"
"""What every space is widened by, and how, unless the records say otherwise."""


class RecordsError(Net2NetError):
    """A file of records that cannot be read, or that is not there."""


@dataclass
class Measurement:
    """What was measured of one model; what was not reached is None.

    Attributes:
        status: ``ok``, ``failed``, or ``not run`` where not even the teacher could be made.
        stage: where it failed: build, widen, function, size, class, state, gradient, depth,
            limit.
        reason: in one sentence: which operation or constraint.
        spaces: spaces that grew.
        fixed: hidden spaces that cannot grow, each with the reason that the graph gives.
        rounded: spaces that can, of which no larger size is as near to what the factor asks for.
        parameters: of teacher and student.
        reached: of these, the ones that the model reads on its inputs.
        difference: largest relative difference of the outputs, computed in ``dtype``.
        seconds: of ``widen(verify=False)``.
        export_seconds: of one ``torch.export.export(strict=False)``; None if that refuses.
        operations: in the trace.
        note: what was changed so that the model fits.
        deepened: the layer or the stack to which `deepen` added something, and what, the function
            kept; empty if none that was tried admits it; None if it was not tried.
        not_deeper: why not.
    """

    status: str = FAILED
    stage: str | None = None
    reason: str | None = None
    spaces: int | None = None
    fixed: list[str] = field(default_factory=list)
    rounded: list[str] = field(default_factory=list)
    parameters: tuple[int, int] | None = None
    reached: tuple[int, int] | None = None
    difference: float | None = None
    dtype: str | None = None
    seconds: float | None = None
    export_seconds: float | None = None
    operations: int | None = None
    note: str = ""
    deepened: str | None = None
    not_deeper: str = ""

    def fail(self, stage: str, reason: str) -> Measurement:
        self.status = NOT_RUN if stage == "build" else FAILED
        self.stage, self.reason = stage, " ".join(reason.split())
        return self

    @property
    def verdict(self) -> str:
        """The outcome in one line."""
        return f"{self.status}, {self.stage}: {self.reason}" if self.reason else self.status


@dataclass(frozen=True)
class Key:
    """Which model, and how it is widened."""

    family: str
    group: str
    name: str
    factor: float = FACTOR
    method: str = METHOD

    def __str__(self) -> str:
        return f"{self.family} {self.name}"


@dataclass(frozen=True, eq=False)
class Record:
    """A measurement, of which model, and with which versions."""

    key: Key
    measured: Measurement
    versions: dict[str, str]

    def line(self) -> str:
        return json.dumps(
            {**asdict(self.key), **asdict(self.measured), "versions": self.versions},
            ensure_ascii=False,
        )

    @classmethod
    def of(cls, data: dict[str, Any]) -> Record:
        known = {one.name for one in fields(Measurement)}
        measured = Measurement(**{name: data[name] for name in known & data.keys()})
        for pair in ("parameters", "reached"):
            if (counts := getattr(measured, pair)) is not None:
                setattr(measured, pair, tuple(counts))
        key = Key(
            data["family"], data["group"], data["name"],
            data.get("factor", FACTOR), data.get("method", METHOD),
        )  # fmt: skip
        return cls(key, measured, dict(data["versions"]))


def read(path: Path) -> dict[Key, Record]:
    """All records of a file, of each model the last; a line that was cut off does not count."""
    records: dict[Key, Record] = {}
    if not path.exists():
        return records
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = Record.of(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s, line %d is not a record. The model is measured again.", path, number)
            continue
        records[record.key] = record
    return records


def append(path: Path, record: Record) -> None:
    """Add a record; after a line that an interruption cut off, on a line of its own."""
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(record.line().encode() + b"\n")


def rewrite(path: Path, records: Iterable[Record]) -> None:
    """Replace the file by these records in an order that does not depend on who was first."""
    ordered = sorted(records, key=lambda r: astuple(r.key))
    write_whole(path, "".join(record.line() + "\n" for record in ordered))
