"""Reports: what was asked, what grew, what stayed and why, what to be warned of; and estimates."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import torch
from torch import nn

import net2net
from net2net.errors import WidthError
from tests.helpers import image_model, noise, randomise, tensors, untouched

X = noise(2, 3, 8, 8)


def mlp(*between: nn.Module) -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), *between, nn.Linear(8, 2)))


def test_it_says_what_was_asked_what_grew_and_what_did_not() -> None:
    report = net2net.widen(image_model(), 1.5, X).report
    assert report.asked == "every space × 1.5"
    assert [(row.name, row.old, row.new) for row in report.rows][:2] == [("0", 4, 6), ("3", 6, 9)]
    (end,) = report.stayed
    assert (end.name, end.old, end.new) == ("10", 3, 3) and "output" in end.note
    text = str(report)
    assert "asked: every space × 1.5" in text and "'10' stays at 3: it is an axis" in text
    named = net2net.widen(image_model(), {"0": 5, "8": 2.0}, X).report
    assert named.asked == "0 5 wide, 8 × 2" and not named.stayed


def test_what_was_asked_for_by_name_and_stays_is_told() -> None:
    """Eight channels in two groups grow by four; a quarter more of them goes to none."""
    teacher = randomise(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    )
    report = net2net.widen(teacher, {"0": 1.2}, noise(2, 3, 4, 4)).report
    assert report.rows == ()
    (row,) = report.stayed
    assert (row.name, row.old, row.new) == ("0", 8, 8) and "steps of 4" in row.note


def test_even_shares_without_noise_or_dropout_are_warned_of() -> None:
    def told(model: nn.Module, width: float, **options: Any) -> tuple[str, ...]:
        options = {"method": "replicate", **options}
        return net2net.widen(model, width, noise(5, 3), **options).report.warnings

    (warning,) = told(mlp(), 2.0)
    assert "equal gradients" in warning and "noise" in warning and "fresh" in warning
    assert not told(mlp(nn.Dropout(0.1)), 2.0)
    assert told(mlp(nn.Dropout(0.0)), 2.0)
    assert not told(mlp(), 2.0, noise=0.1)
    assert not told(mlp(), 1.0)
    assert not told(mlp(), 2.0, method="auto")


def test_as_json() -> None:
    report = net2net.widen(image_model(), 1.5, X).report
    data = json.loads(report.to_json())
    assert data == json.loads(json.dumps(report.to_dict()))
    assert data["parity"]["exact"] is True and data["parity"]["dtype"] == "torch.float64"
    assert data["rows"][0]["new"] == 6 and data["stayed"][0]["name"] == "10"
    assert data["parameters"] == list(report.parameters) and len(data["bytes"]) == 2
    assert net2net.widen(image_model(), 1.5, X, verify=False).report.to_dict()["parity"] is None


def test_notebooks_show_tables() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2)))
    growth = net2net.widen(teacher, 2.0, noise(5, 3))
    for shown in (growth.report, growth.plan, net2net.spaces(teacher, noise(5, 3))):
        html = shown._repr_html_()
        assert html.count("<table>") == html.count("</table>") == 1
        assert html.count("<tr>") >= 2 and "<script" not in html
    assert "verified:" in growth.report._repr_html_()


def test_html_escapes_names() -> None:
    teacher = randomise(nn.Sequential())
    teacher.add_module("<b>", nn.Linear(3, 8))
    teacher.add_module("c", nn.Linear(8, 2))
    html = net2net.spaces(teacher, noise(5, 3))._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;" in html


def test_an_estimate_is_the_report_of_a_growth_that_is_not_carried_out() -> None:
    teacher = image_model()
    with untouched(teacher):
        found = net2net.estimate(teacher, {"0": 6, "3": 1.5}, X)
    report = net2net.widen(teacher, {"0": 6, "3": 1.5}, X).report
    for name in ("rows", "stayed", "parameters", "bytes", "flops", "notes", "warnings", "asked"):
        assert getattr(found, name) == getattr(report, name), name
    assert found.parity is None and found.rows[0].admissible == (5, 7)


def test_an_estimate_needs_no_values() -> None:
    with torch.device("meta"):
        teacher = nn.Sequential(nn.Linear(10**5, 10**5), nn.ReLU(), nn.Linear(10**5, 10))
    found = net2net.estimate(teacher, 2.0, torch.ones(1, 10**5), method="random_pad")
    assert found.parameters[1] == (10**5 + 1) * 2 * 10**5 + (2 * 10**5 + 1) * 10
    assert all(tensor.is_meta for tensor in tensors(teacher).values())


def test_every_stage_is_logged_with_its_time(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="net2net"):
        net2net.widen(mlp(), 2.0, noise(5, 3))
    stages = [r.getMessage() for r in caplog.records if r.getMessage().endswith(" s")]
    for word in ("traced", "matched", "planned", "made", "verified"):
        assert any(word in line for line in stages), (word, stages)


NO_NUMBERS = ({"noise": x} for x in (None, "loud", -1.0, float("nan")))
NO_SEEDS = ({"seed": x} for x in ("x", 1.5, None))


@pytest.mark.parametrize("options", [*NO_NUMBERS, *NO_SEEDS], ids=str)
def test_options_that_are_none(options: dict[str, object]) -> None:
    with pytest.raises(WidthError, match=next(iter(options))):
        net2net.widen(mlp(), 2.0, noise(5, 3), **options)  # type: ignore[arg-type]
