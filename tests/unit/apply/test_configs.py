"""A student's ``config`` builds the student: saved and loaded again, it is the same."""

from __future__ import annotations

import copy
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from net2net import Plan
from tests.helpers import assert_exact, noise, randomise, shapes, tokens, widen


class Config:
    """As model libraries have them: numbers by name, in lists, and in parts."""

    def __init__(self, **values: Any) -> None:
        part = values.get("part")
        vars(self).update(values, part=Config(**part) if isinstance(part, dict) else part)

    def to_dict(self) -> dict[str, Any]:
        part = self.part and self.part.to_dict()
        return copy.deepcopy({**vars(self), "part": part})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        if data["width"] % data["heads"]:
            raise ValueError("the width is not a multiple of the heads")
        return cls(**data)


class Configured(nn.Module):
    """Heads divide the width without being read; inner widths are a list; one part has more."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.size = config.width // config.heads
        self.embed = nn.Linear(6, config.width)
        self.mix = nn.Linear(config.width, config.width)
        sizes = [config.width, *config.inner]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(sizes[-1], config.part.width)
        self.head = nn.Linear(config.part.width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        heads = x.view(len(x), -1, self.size)
        x = self.mix((heads * heads.amax(-1, keepdim=True)).flatten(1))
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(self.last(x).tanh())


def configured(**changed: Any) -> nn.Module:
    values = {"width": 8, "heads": 2, "inner": [8, 12], "part": {"width": 8}, "classes": 8}
    return randomise(Configured(Config(**{**values, **changed})))


@pytest.mark.parametrize(
    "widths", [2.0, 1.5, {"layers.1": 15}, {"last": 1.5, "embed": 2.0, "mix": 2.0}]
)
def test_the_class_builds_the_student_from_its_config(widths: Any) -> None:
    teacher, x = configured(), noise(4, 6)
    growth = widen(teacher, widths, x)
    built = Configured(Config.from_dict(growth.model.config.to_dict())).double()
    built.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, built.eval(), x)
    assert growth.model.config.classes == 8 and not growth.report.notes
    again = Plan.from_json(growth.plan.to_json()).apply(teacher)
    assert again.config.to_dict() == growth.model.config.to_dict()


class Branching(Configured):
    """Its activation depends on what it computed."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x.sigmoid() if x.mean() > 0 else x.tanh()


def test_the_config_of_code_that_branches_on_hidden_values() -> None:
    teacher = randomise(Branching(configured().config))
    growth = widen(teacher, 2.0, noise(4, 6))
    (note,) = growth.report.notes
    assert growth.model.config.width == 16 and "the code branches on" in note


def test_two_numbers_of_a_config_that_have_to_stay_equal() -> None:
    class Projected(Configured):
        """A projection where the outer width is another than the inner one."""

        def __init__(self, config: Config) -> None:
            super().__init__(config)
            if config.outer != config.width:
                self.project = nn.Linear(config.outer, config.width)
            self.embed = nn.Linear(6, config.outer)

    teacher = randomise(Projected(configured(outer=8, classes=5).config))
    growth = widen(teacher, {"embed": 2.0, "mix": 2.0}, noise(4, 6))
    assert (growth.model.config.outer, growth.model.config.width) == (16, 16)
    assert not growth.report.notes


def test_a_width_and_the_heads_that_divide_it_change_together() -> None:
    """48 of 3 heads become 64 of 4: neither number builds alone what is wanted."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=40, n_embd=48, n_layer=2, n_head=3, use_cache=False, bos_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    teacher = randomise(transformers.GPT2LMHeadModel(config))
    growth = widen(teacher, 4 / 3, {"input_ids": tokens(2, 5, below=40)})
    assert (growth.model.config.n_embd, growth.model.config.n_head) == (64, 4)
    assert not any("config" in note for note in growth.report.notes)
    again = transformers.GPT2LMHeadModel(growth.model.config).double().eval()
    again.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, again, {"input_ids": tokens(2, 5, below=40)})


def test_a_config_that_cannot_say_it_stays_and_the_report_says_so() -> None:
    class Twice(Configured):
        """Two layers that its config has one number for."""

        def __init__(self, config: Config) -> None:
            super().__init__(config)
            self.more = nn.Linear(3, config.inner[1])
            self.out = nn.Linear(config.inner[1], 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.more(super().forward(x)).relu())

    teacher = randomise(Twice(configured().config))
    growth = widen(teacher, {"more": 2.0}, noise(4, 6))
    assert growth.model.config.to_dict() == teacher.config.to_dict()
    (note,) = growth.report.notes
    assert "no change of the config" in note and "state dict" in note
    # 'more' alone grows: with the number unchanged it fits least badly
    assert "'more.weight' would be 12 × 3, and it is 24 × 3" in note


class Scaled(Configured):
    """Numbers that no operation shows, of a width: in a buffer that no state dict has, and in an
    attribute that is no size."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.scale, self.area = config.width**0.5, config.width**2
        self.register_buffer("factor", torch.tensor(self.scale), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.factor) / self.area**0.25


@pytest.mark.parametrize("widths", [2.0, 1.5, {"layers.1": 15}])
def test_numbers_that_the_class_makes_anew_are_made_up_for(widths: Any) -> None:
    teacher, x = randomise(Scaled(configured().config)), noise(4, 6)
    growth = widen(teacher, widths, x)
    assert not growth.report.notes
    built = randomise(Scaled(Config.from_dict(growth.model.config.to_dict())))
    built.load_state_dict(growth.model.state_dict())
    torch.testing.assert_close(built.factor, growth.model.factor, rtol=1e-6, atol=0)
    built.factor = growth.model.factor  # made in float32 there
    assert (built.scale, built.area) == (growth.model.scale, growth.model.area)
    assert_exact(teacher, built, x)
    again = Plan.from_json(growth.plan.to_json()).apply(teacher)
    assert again.factor.equal(growth.model.factor) and again.scale == growth.model.scale


@pytest.mark.parametrize("held", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize("widths", [2.0, 1.5])
def test_what_forward_computes_with_is_made_up_for(widths: float, held: bool) -> None:
    """Forward makes a number of what the configuration says."""

    class Normalised(Configured):
        def forward(self, x: Tensor) -> Tensor:
            scale: Any = self.config.width**0.5
            return super().forward(x) * (torch.tensor(scale, dtype=x.dtype) if held else scale)

    teacher, x = randomise(Normalised(configured().config)), noise(4, 6)
    growth = widen(teacher, widths, x)
    assert not growth.report.notes and growth.model.config.width == 8 * widths
    assert_exact(teacher, growth.model, x)
    built = Normalised(Config.from_dict(growth.model.config.to_dict())).double()
    built.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, built.eval(), x)


def test_what_a_library_logs_of_numbers_that_are_but_tried_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Telling(Config):
        @classmethod
        def from_dict(cls, data: dict[str, Any]) -> Config:
            logging.getLogger(__name__).warning("classes is %s", data["classes"])
            return super().from_dict(data)

    config = configured().config
    growth = widen(randomise(Configured(Telling(**vars(config)))), 2.0, noise(4, 6))
    assert growth.model.config.width == 16 and not caplog.records
    Telling.from_dict(growth.model.config.to_dict())
    assert caplog.messages == ["classes is 8"]


def test_a_number_that_the_class_makes_anew_and_nothing_makes_up_for() -> None:
    class Shifted(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + self.factor)

    teacher, x = randomise(Shifted(configured().config)), noise(4, 6)
    growth = widen(teacher, 2.0, x)
    (note,) = growth.report.notes
    assert "of width=16, heads=4, inner.0=16, inner.1=24, part.width=16 its class makes" in note
    assert "'scale' 4 of 2.82843, and no weight makes up for that" in note
    assert growth.model.config.width == teacher.config.width
    assert growth.model.factor.equal(teacher.factor)


def test_a_class_that_takes_something_else_is_left_alone() -> None:
    class Other(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.config = configured().config
            self.a, self.head = nn.Linear(6, width), nn.Linear(width, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.a(x).relu())

    growth = widen(randomise(Other(8)), 2.0, noise(4, 6))
    assert not growth.report.notes and not any("config" in str(edit) for edit in growth.plan.edits)


# -- transformers ----------------------------------------------------------------------------------

SMALL = {
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 1, "n_positions": 16},
    "llama": {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4,
              "num_key_value_heads": 2, "num_hidden_layers": 1},
    "bert": {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2,
             "num_hidden_layers": 1},
    "vit": {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2,
            "num_hidden_layers": 1, "image_size": 8, "patch_size": 4},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "num_layers": 1},
}  # fmt: skip


class Read(nn.Module):
    """A read-out, so that the width of the body's output may grow."""

    def __init__(self, body: Any, width: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, 3)

    def forward(self, **inputs: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(**inputs)[0])
        return found


@pytest.mark.parametrize("name", SMALL)
def test_save_and_load(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    given = {**SMALL[name], "use_cache": False}
    if name != "vit":
        given["vocab_size"] = 20
    config = transformers.CONFIG_MAPPING[name](**given)
    inputs = {"input_ids": tokens(2, 5, below=20)}
    if name == "vit":
        inputs = {"pixel_values": noise(2, 3, 8, 8)}
    if name == "t5":
        inputs["decoder_input_ids"] = tokens(2, 4, below=20)
    teacher = randomise(Read(transformers.AutoModel.from_config(config), 16))
    growth = widen(teacher, 2.0, inputs)
    student = growth.model.body
    student.save_pretrained(tmp_path)
    loaded, found = type(student).from_pretrained(
        tmp_path, output_loading_info=True, dtype=torch.float64
    )
    assert not any(found.values())
    assert shapes(loaded) == shapes(student)
    growth.model.body = loaded.eval()
    assert_exact(teacher, growth.model, inputs)


def test_a_module_without_tensors_was_exchanged() -> None:
    """The class builds the same tensors from the config, and other modules."""

    class Ending(Configured):
        def __init__(self, config: Config) -> None:
            super().__init__(config)
            self.end: nn.Module = nn.Sequential(nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return self.end(super().forward(x))

    teacher = randomise(Ending(configured().config))
    teacher.end = nn.Identity()
    growth = widen(teacher, 2.0, noise(4, 6))
    assert "no change of the config builds the student" in str(growth.report)


def test_numbers_in_a_list_of_as_many_as_there_are_blocks() -> None:
    """The search looks at a model of fewer blocks, whose list is shorter."""

    class Stages(nn.Module):
        def __init__(self, config: Config) -> None:
            super().__init__()
            self.config = config
            sizes = [6, *config.inner]
            self.stages = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
            assert len(self.stages) == config.depth
            self.head = nn.Linear(sizes[-1], 3)

        def forward(self, x: Tensor) -> Tensor:
            for stage in self.stages:
                x = stage(x).relu()
            return self.head(x)

    inner = [7, 8, 6, 9, 8]
    config = Config(width=8, heads=2, inner=inner, depth=5)
    growth = widen(randomise(Stages(config)), 2.0, noise(4, 6))
    assert growth.model.config.inner == [2 * size for size in inner]
    assert not growth.report.notes
