"""docs/zoo.md: one table for each library, drawn from the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from net2net_lab.zoo.records import FACTOR, FAILED, METHOD, NOT_RUN, OK, Key, Record

HEAD = """# The zoo: what grows, and what does not

Drawn by `net2net-lab zoo` from what it measured: `widen(model, factor, inputs, method=method)`, by
the factor 2 with `replicate` unless the heading says otherwise, on models with random weights,
whose normalisation statistics, affine parameters and biases are randomised as well. A model is *ok*
if all of this holds: every space grew that can, but for those of which no larger size is as near to
what the factor asks for (counted in the table); the student has at least as many times the
teacher's parameters as the factor says, or as the space grows by whose steps let it grow least, of
those that the model reads on its inputs (of a part that they do not reach the graph says nothing;
where there is one, the table says how many are read); the outputs differ by at most 1e-9 relatively
in float64 (1e-5 in float32, where a kernel has no float64; 5e-6 where the model's own code casts
hidden units to float32); every parameter has a finite gradient that has one in the teacher; the
class is the same; the state dict loads. Models that end in features are measured with a linear
read-out on them, and the two models that are fed with features (a Q-Former, SpeechT5) with a linear
layer before them. Then `deepen` puts one layer into the teacher, after one of the first that admit
it (and none larger than the model), or else a residual branch, or a block into one of its longest
stacks, and the outputs are compared again: *deeper* is where.

A model is *not run* if it could not be made here, or does not run on the input made for it: this
says nothing about growing. Of what is not listed nothing is known from here.

A record is valid for the versions it was measured with. Those of net2net and net2net-lab end in
a hash of their sources, so `net2net-lab zoo` measures everything again when they have changed;
`--again missing` keeps all records, `--again failed` those that are ok.

*Seconds* are those of `widen(verify=False)`, and in brackets of one `torch.export.export` of the
same model, each in one thread.
"""

REASON = 300
"""Characters of a reason that are shown; the records have all."""


def render(records: Iterable[Record]) -> str:
    """The document."""
    families: dict[str, list[Record]] = {}
    for record in records:
        families.setdefault(heading(record.key), []).append(record)
    parts = [HEAD]
    parts += [_family(name, found) for name, found in families.items()]
    return "\n".join(parts)


def _family(name: str, records: list[Record]) -> str:
    records = sorted(records, key=lambda r: (r.key.group, r.key.name))
    lines = [f"## {name}", "", summary(records), ""]
    groups = Counter(record.key.group for record in records)
    if 1 < len(groups) < len(records) / 2:
        for group in groups:
            part = [record for record in records if record.key.group == group]
            lines.append(f"- {group}: {counts(part)}")
        lines.append("")
    lines += [
        "| model | spaces | parameters | difference | seconds (export) | deeper | |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(record, grouped=len(groups) > 1) for record in records]
    return "\n".join(lines) + "\n"


def heading(key: Key) -> str:
    """The family, and how it was widened if not as ever."""
    usual = (key.factor, key.method) == (FACTOR, METHOD)
    return key.family if usual else f"{key.family} × {key.factor:g}, {key.method}"


def counts(records: Sequence[Record]) -> str:
    """How many are ok, failed and were not run, of all."""
    found = Counter(record.measured.status for record in records)
    shares = [
        f"{found[status]} {status} ({100 * found[status] / len(records):.1f} %)"
        for status in (OK, FAILED, NOT_RUN)
        if found[status]
    ]
    return f"{len(records)} models: {', '.join(shares)}"


def summary(records: Sequence[Record]) -> str:
    """Counts, versions, and the time against export's."""
    text = counts(records) + "."
    ratios = [
        m.seconds / m.export_seconds
        for m in (record.measured for record in records)
        if m.seconds is not None and m.export_seconds
    ]
    if ratios:
        text += f" `widen` takes {median(ratios):.2f} × the time of `torch.export` (median)."
    tried = [m.deepened for m in (record.measured for record in records) if m.deepened is not None]
    if tried:
        text += f" `deepen` made {sum(map(bool, tried))} of the {len(tried)} tried deeper."
    versions = sorted(
        {
            ", ".join(f"{library} {version}" for library, version in record.versions.items())
            for record in records
        }
    )
    return f"{text} Measured with {'; and with '.join(versions)}."


def _row(record: Record, grouped: bool) -> str:
    m = record.measured
    name = f"{record.key.group}: {record.key.name}" if grouped else record.key.name
    parameters = _counts(m.parameters)
    if m.reached and m.reached != m.parameters:
        parameters += f" (read: {_counts(m.reached)})"
    difference = "" if m.difference is None else f"{m.difference:.1e}"
    if m.dtype not in (None, "float64"):
        difference += f" ({m.dtype})"
    seconds = "" if m.seconds is None else f"{m.seconds:.2f}"
    if m.seconds is not None:
        seconds += f" ({'refuses' if m.export_seconds is None else f'{m.export_seconds:.2f}'})"
    spaces = "" if m.spaces is None else str(m.spaces)
    remark = "ok" if m.status == OK else f"**{m.status}**, {m.stage}: {_short(m.reason or '')}"
    if m.rounded:
        remark += f" ({len(m.rounded)} spaces have no size so near)"
    if m.note:
        remark += f" ({m.note})"
    deeper = m.deepened or ""
    if m.deepened == "":
        deeper = f"**no**: {_short(m.not_deeper)}" if m.not_deeper else "**no**"
    cells = [name, spaces, parameters, difference, seconds, deeper, remark]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _counts(parameters: tuple[int, int] | None) -> str:
    return " → ".join(f"{count:,}" for count in parameters) if parameters else ""


def _short(reason: str) -> str:
    """A reason that fits in a cell and is not taken for markup."""
    reason = reason if len(reason) <= REASON else reason[: REASON - 1].rstrip() + "…"
    for character in "*_<[`":
        reason = reason.replace(character, "\\" + character)
    return reason
