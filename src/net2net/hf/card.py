"""The card of a grown model (README.md): what it was grown from, how, and how far it differs; the
source's own card stays below."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from net2net.files import write_whole
from net2net.growth import Growth
from net2net.hf.lineage import versions
from net2net.hf.plain_yaml import check_plain
from net2net.report import Report

log = logging.getLogger("net2net")

CARD = "README.md"

LONGEST = 2**20
"""Bytes of the longest card that is kept."""

_OTHERS = {"base_model", "tags", "model-index", "model_name", "new_version", "eval_results"}
"""What a source says of itself, and what was grown from it does not."""


def write_card(
    grown: Growth, source: str, command: str, folder: Path, library: str = "transformers",
    read: str = "",
) -> None:  # fmt: skip
    """Write the card of a student into its folder, above the teacher's if that is there. Without
    huggingface_hub there is none.

    Args:
        source: what the teacher is called.
        command: what was called, or empty.
        library: what the model is of, or empty.
        read: how it is read, if not by that library alone.
    """
    if find_spec("huggingface_hub") is None:
        log.warning("no card is written: pip install huggingface_hub")
        return
    said, text = _known(folder / CARD)
    own = "\n".join(_lines(grown, source, command, read))
    below = f"\n## The card of {source}\n\n{text.strip()}\n" if text.strip() else ""
    try:
        card = _card(source, library, said, own + "\n" + below)
    except Exception as error:  # of what stands in the source's
        log.warning("what '%s' says of the model is not kept: %.200s", CARD, error)
        card = _card(source, library, {}, own + "\n" + below)
    write_whole(folder / CARD, card)


def _card(source: str, library: str, said: Mapping[str, Any], text: str) -> str:
    """Fields and text, as the hub reads them."""
    from huggingface_hub import ModelCard, ModelCardData

    tags = said.get("tags")
    data = ModelCardData(
        base_model=source, library_name=library or None,
        tags=[*(tags if isinstance(tags, list) else ()), "net2net"],
    )  # fmt: skip
    for name, value in said.items():
        if name not in _OTHERS:
            data[name] = value
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}", ignore_metadata_errors=True))


def _lines(grown: Growth, source: str, command: str, read: str) -> Iterator[str]:
    report, plan = grown.report, grown.plan
    yield f"# {source}, grown"
    yield ""
    yield f"{report.action}, asked: {_cell(report.asked)}."
    yield ""
    yield from _table(report)
    yield ""
    if report.parity is None:
        yield "Nothing was measured between the two models."
    else:
        yield f"Measured between the two models: {report.parity}."
    yield from ("", *(f"- {_cell(one)}" for one in (*report.warnings, *report.notes)))
    if read:
        yield from ("", "## How it is read", "", read)
    yield from ("", "## How it was made", "")
    if command:
        yield from ("```sh", command.replace("`", "'"), "```", "")
    used = ", ".join(f"{name} {one}" for name, one in versions().items())
    yield f"Method `{plan.method}`, seed {plan.seed}; {used}. `net2net.json` has all of it."


def _table(report: Report) -> Iterator[str]:
    yield from ("| what | before | after |", "|---|---|---|")
    for what in ("parameters", "bytes", "FLOPs"):
        before, after = getattr(report, what.lower())
        yield f"| {what} | {before:,} | {after:,} |"
    alike = {(re.sub(r"\d+", "\\*", row.name), row.old, row.new): None for row in report.rows}
    yield from (f"| {_cell(name)} | {old} | {new} |" for name, old, new in alike)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _known(path: Path) -> tuple[dict[str, Any], str]:
    """What a card says of its model, and its text; where that cannot be read, all is text."""
    if not path.is_file() or path.stat().st_size > LONGEST:
        return {}, ""
    content = path.read_text("utf-8", errors="replace")
    first, *lines = content.splitlines() or [""]
    end = next((number for number, line in enumerate(lines) if line.rstrip() == "---"), None)
    if first.rstrip() != "---" or end is None:
        return {}, content
    try:
        said = _fields("\n".join(lines[:end]))
    except Exception as error:  # of YAML, whatever stands there
        log.warning("what '%s' says of the model is not kept: %.200s", path.name, error)
        said = {}
    return said, "\n".join(lines[end + 1 :])


def _fields(text: str) -> dict[str, Any]:
    """Raises:
    ValueError: they are no fields, or not plain.
    """
    import yaml

    check_plain(text)
    found = yaml.safe_load(text)
    if not isinstance(found, dict):
        raise ValueError("it has no fields")
    return {str(name): value for name, value in found.items()}
