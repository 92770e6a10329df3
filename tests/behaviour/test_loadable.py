"""Widths that a configuration can say: factors go to them, and other integers are refused."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

import net2net
from net2net.errors import GraphMismatchError, WidthError
from tests.helpers import assert_exact, noise, randomise, refused, tokens, widen
from tests.unit.apply.test_configs import Config, Configured, configured


def sizes(report: net2net.Report) -> dict[str, int]:
    return {row.name: row.new for row in report.rows}


def test_a_factor_goes_to_the_nearest_that_the_config_can_say() -> None:
    """One number is the width of ``embed`` and of ``mix``, in heads of 4."""
    teacher, x = configured(), noise(4, 6)
    growth = widen(teacher, {"embed": 2.0, "mix": 1.6, "layers.1": 1.3}, x, loadable=True)
    assert sizes(growth.report) == {"embed": 16, "mix": 16, "layers.1": 16}
    assert "nearest to 12.8 that a config can say" in str(growth.report)
    built = Configured(Config.from_dict(growth.model.config.to_dict())).double()
    built.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, built.eval(), x)


def test_numbers_that_divide_each_other_and_one_that_says_nothing_yet() -> None:
    """Of three heads of 8 in a width of 24: four in 32; and an inner width of its own."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=40, n_embd=24, n_layer=1, n_head=3, use_cache=False, bos_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    teacher = randomise(transformers.GPT2LMHeadModel(config))
    inputs = {"input_ids": tokens(2, 5, below=40)}
    growth = widen(teacher, 1.37, inputs, loadable=True)
    told = growth.model.config
    assert (told.n_embd, told.n_head, told.n_inner) == (32, 4, 132)
    again = transformers.GPT2LMHeadModel(told).double().eval()
    again.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, again, inputs)


def test_an_integer_that_it_cannot_say() -> None:
    teacher, x = configured(), noise(4, 6)
    with refused(WidthError, "no config", "'mix' 8 → 12", "'embed' 8 → 16", teacher=teacher):
        net2net.widen(teacher, {"embed": 16, "mix": 12}, x, loadable=True)


def test_a_width_that_no_number_says() -> None:
    class Fixed(Configured):
        def __init__(self, config: Config) -> None:
            super().__init__(config)
            self.more, self.out = nn.Linear(3, 7), nn.Linear(7, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.more(super().forward(x)).relu())

    teacher, x = randomise(Fixed(configured().config)), noise(4, 6)
    with refused(WidthError, "no config", "'more' 7 → 14", teacher=teacher):
        net2net.widen(teacher, {"more": 2.0}, x, loadable=True)
    report = net2net.estimate(
        teacher, {"more": 2.0, "layers.1": 1.3}, x, loadable=True, multiple_of=8
    )
    assert sizes(report) == {"layers.1": 16}


def test_models_without_a_config_and_graphs_are_refused() -> None:
    plain = randomise(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    with refused(WidthError, "has no config", teacher=plain):
        net2net.widen(plain, 2.0, noise(4, 3), loadable=True)

    class Written(Configured):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.last(super().forward(x) @ self.last.weight[:3]).view(-1, 8))

    teacher = randomise(Written(configured(inner=[8, 8]).config))
    with pytest.raises((GraphMismatchError, WidthError)):
        net2net.widen(teacher, {"last": 2.0}, noise(4, 6), loadable=True)
