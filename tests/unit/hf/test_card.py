"""The card of a grown model: what it says, and that the source's stays below, whatever it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import net2net
from net2net.growth import Growth
from net2net.hf.card import write_card

hub = pytest.importorskip("huggingface_hub")

OF_SOURCE = """---
license: apache-2.0
language: [en, de]
tags:
- text
base_model: other/older
model-index:
- name: small
  results: []
---

# Small

It speaks.
"""


@pytest.fixture(scope="module")
def grown() -> Growth:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    return net2net.widen(model, {"0": 6}, torch.randn(2, 3))


def test_a_card_says_what_grew_and_keeps_the_source_s(grown: Growth, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(OF_SOURCE)
    write_card(grown, "me/small", "net2net grow me/small large", tmp_path)
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == "me/small" and card.data.license == "apache-2.0"
    assert card.data.tags == ["text", "net2net"] and card.data.language == ["en", "de"]
    assert card.data.eval_results is None  # they were measured on other weights
    assert "| parameters | 26 | 38 |" in card.text and "| 4 | 6 |" in card.text
    assert f"{grown.report.parity}" in card.text and "net2net grow me/small large" in card.text
    own, below = card.text.split("## The card of me/small")
    assert "It speaks." in below and "It speaks." not in own


@pytest.mark.parametrize("there", [
    None, "", "# Plain\n\nwords", "---\nno end", "---\n- a list\n---\nwords",
    "---\n: [\n---\nwords",
    "---\na: &a [x, x]\nb: &b [*a, *a]\n---\nwords", "---\n" + "[" * 5000 + "\n---\nwords",
    "---\n1: one\nself: two\n---\nwords",
    "---\ntags: words\nlanguage: 3\nmodel-index: 7\n---\nwords",
    "---\n" + "\n" * 200_000 + "---",
])  # fmt: skip
def test_any_card_below(grown: Growth, tmp_path: Path, there: str | None) -> None:
    if there is not None:
        (tmp_path / "README.md").write_text(there)
    write_card(grown, "small", "", tmp_path)
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == "small" and "net2net" in card.data.tags
    assert ("words" in card.text) == ("words" in (there or "").splitlines())


def test_a_card_that_is_too_long_is_left_out(grown: Growth, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x" * (2**20 + 1))
    write_card(grown, "small", "", tmp_path)
    assert len((tmp_path / "README.md").read_text()) < 10_000
