"""``outputs="grow"``: models that end in features, whose own outputs get wider."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError, TransferError, VerificationError, WidthError
from tests.helpers import EXACT, Written, between, noise, randomise, refused, tokens, untouched


def grow(teacher: nn.Module, widths: Any, inputs: Any, **options: Any) -> net2net.Growth:
    with untouched(teacher):
        growth = net2net.widen(teacher, widths, inputs, outputs="grow", **options)
    parity = net2net.verify(teacher, growth.model, inputs, outputs=growth.outputs)
    assert parity.dtype == torch.float64 and parity.max_rel <= EXACT
    return growth


def features() -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 8)))


@pytest.mark.parametrize("factor", [2, 1.5])
def test_features_grow_and_the_map_says_how(factor: float) -> None:
    teacher, x = features(), noise(5, 4)
    growth = grow(teacher, factor, x)
    index = growth.outputs[""][1]
    assert len(index) == int(8 * factor) and set(index) == set(range(8))
    torch.testing.assert_close(growth.model(x), teacher(x)[:, list(index)], rtol=1e-12, atol=1e-12)


def test_outputs_stay_unless_asked() -> None:
    growth = net2net.widen(features(), 2, noise(5, 4))
    assert growth.outputs == {} and growth.model[2].out_features == 8
    with refused(NotGrowableError, "the model's output", teacher=(teacher := features())):
        net2net.widen(teacher, {"2": 16}, noise(5, 4))


def test_without_the_map_the_outputs_cannot_be_compared() -> None:
    teacher, x = features(), noise(5, 4)
    growth = grow(teacher, {"2": 12}, x)
    assert growth.model[0].out_features == 6
    with pytest.raises(VerificationError, match="Leave the model's output axes"):
        net2net.verify(teacher, growth.model, x)


def test_only_the_outputs_that_grew_have_maps() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            pixels = self.inner(x).relu()
            return {"features": pixels, "scores": self.head(pixels.mean((2, 3)))}

    growth = grow(randomise(Two()), {"inner": 6}, noise(2, 3, 5, 5))
    assert [*growth.outputs] == ["['features']"]
    assert [*growth.outputs["['features']"]] == [1]


def test_blocks_of_heads_grow_by_heads() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.project(x).view(len(x), -1, 3).softmax(-1)

    growth = grow(randomise(Heads()), 2, noise(5, 4))
    assert {axis: len(index) for axis, index in growth.outputs[""].items()} == {1: 4}


def test_final_states_of_a_recurrence() -> None:
    class States(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(7, 6), nn.LSTM(6, 4, 2, bidirectional=True)

        def forward(self, x: Tensor) -> Any:
            return self.rnn(self.embed(x))

    growth = grow(randomise(States()), 1.5, tokens(5, 2, below=7))
    sizes = {where: {a: len(i) for a, i in maps.items()} for where, maps in growth.outputs.items()}
    assert sizes == {"[0]": {2: 12}, "[1][0]": {2: 6}, "[1][1]": {2: 6}}


def test_fresh_units_repeat_nothing() -> None:
    growth = net2net.widen(features(), {"2": 10}, noise(5, 4), outputs="grow", method="random_pad")
    assert growth.outputs[""][1] == (*range(8), -1, -1)


def test_another_word_is_refused() -> None:
    with refused(WidthError, "'wider'", teacher=(teacher := features())):
        net2net.widen(teacher, 2, noise(5, 4), outputs="wider")


class Scores(nn.Module):
    """The first of four scores is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())[:, 1:]  # type: ignore[no-any-return]


def test_what_nothing_reads_does_not_grow() -> None:
    teacher, inputs = randomise(Scores()), noise(4, 6)
    assert [space.name for space in net2net.spaces(teacher, inputs).growable] == ["a"]
    assert "nothing reads these units" in str(net2net.spaces(teacher, inputs))
    grown = net2net.widen(teacher, 2.0, inputs).model
    assert grown.b.weight.shape == (4, 16)


def test_what_nothing_reads_stays_where_the_code_tells_its_size() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        hidden = model.stem(x).relu()
        _ = model.side(hidden).view(len(x), 2, 5)
        return model.head(hidden)  # type: ignore[no-any-return]

    layers = {"stem": nn.Linear(6, 8), "side": nn.Linear(8, 10), "head": nn.Linear(8, 2)}
    grown = net2net.widen(randomise(Written(code, **layers)), 2.0, noise(4, 6))
    assert [(row.name, row.new) for row in grown.report.rows] == [("stem", 16)]
    assert "'side' stays at 10: nothing reads these units" in str(grown.report)


def test_a_refused_transfer_names_what_lets_outputs_grow() -> None:
    """The option that helps, where what is returned is larger; and none where it is not."""

    def code(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = model.stem(x)
        return hidden, model.head(hidden.tanh())

    def net(width: int) -> nn.Module:
        return randomise(Written(code, stem=nn.Linear(4, width), head=nn.Linear(width, 2)))

    teacher, student, x = net(6), net(9), noise(5, 4)
    with refused(TransferError, 'pass outputs="grow", if', "new_outputs", teacher=teacher):
        net2net.transfer(teacher, student, x)
    growth = net2net.transfer(teacher, student, x, outputs="grow")
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    constant = between(lambda h: h + torch.arange(8.0, dtype=h.dtype))
    wider = between(lambda h: h + torch.arange(float(h.shape[-1]), dtype=h.dtype))
    wider.stem, wider.head = nn.Linear(3, 12).double(), nn.Linear(12, 2).double()
    with refused(TransferError, r"space\. Or pass exact=False\.$", teacher=constant):
        net2net.transfer(constant, wider, noise(5, 3))
