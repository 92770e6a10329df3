"""Recurrence, wider and the same function: layers, directions, projections, cells, packed input."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import net2net
from net2net.errors import NotGrowableError
from tests.helpers import (
    Cases,
    Width,
    assert_exact,
    noise,
    randomise,
    refused,
    tokens,
    widen,
)

CASES = Cases()


def last_of(output: Any) -> Tensor:
    """The final hidden state, of an LSTM or of the others."""
    state = output[1]
    return state[0] if isinstance(state, tuple) else state


class Recurrent(nn.Module):
    """A recurrent stack between linear layers; reads the whole sequence and the final states."""

    def __init__(self, n: Width, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.inner = nn.Linear(3, n(6))
        self.rnn = kind(n(6), n(8), **options)
        directions = 2 if options.get("bidirectional") else 1
        cells = directions * options.get("num_layers", 1)
        width = n(options["proj_size"]) if options.get("proj_size") else n(8)
        self.head = nn.Linear(directions * width, 3)
        self.final = nn.Linear(cells * width, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        output = self.rnn(self.inner(x).tanh())
        last = last_of(output).transpose(0, 1).flatten(1)
        return self.head(output[0]), self.final(last)


KINDS: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
}


def _register(name: str, kind: type[nn.RNNBase], options: dict[str, Any]) -> None:
    spaces = {"inner": 6, "rnn": 8}
    CASES.put(
        name, lambda n: Recurrent(n, kind, **options), lambda: noise(2, 2, 3), spaces, at="rnn"
    )


for (name, (kind, extra)), layers, both in product(KINDS.items(), (1, 2), (False, True)):
    options = {**extra, "num_layers": layers, "bidirectional": both}
    _register(f"{name}-{layers}{'-both' if both else ''}", kind, options)
    if layers == 2 or not both:
        flat = {**options, "batch_first": True, "bias": False}
        _register(f"{name}-{layers}{'-both' if both else ''}-plain", kind, flat)


test_every_space_grows, test_one_space_grows_alone = CASES.tests()


class Projected(nn.Module):
    def __init__(self, hidden: int, proj: int, **options: Any) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, hidden, proj_size=proj, **options)
        self.head = nn.Linear(proj * (2 if self.rnn.bidirectional else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("factor", [2, 1.5])
def test_a_projected_state_and_the_cell_grow(layers: int, both: bool, factor: float) -> None:
    teacher = randomise(Projected(8, 4, num_layers=layers, bidirectional=both))
    student = widen(teacher, factor, noise(5, 2, 3)).model
    assert (student.rnn.hidden_size, student.rnn.proj_size) == (8 * factor, 4 * factor)
    built = Projected(int(8 * factor), int(4 * factor), num_layers=layers, bidirectional=both)
    built.double().load_state_dict(student.state_dict())
    assert_exact(teacher, built, noise(5, 2, 3))


def test_state_and_cell_grow_alone() -> None:
    """One module makes both spaces; the second is named by its parameter."""
    teacher = randomise(Projected(8, 4))
    names = [space.name for space in net2net.spaces(teacher, noise(5, 2, 3)).growable]
    assert names == ["rnn", "rnn.weight_hr_l0"]
    for glob, width, sizes in (
        ("rnn.weight_ih_l0", 12, (12, 4)),
        ("rnn.weight_hr_l0", 6, (8, 6)),
        ("rnn", 1.5, (12, 6)),
    ):
        student = widen(teacher, {glob: width}, noise(5, 2, 3)).model
        assert (student.rnn.hidden_size, student.rnn.proj_size) == sizes


# -- whole models ----------------------------------------------------------------------------------


class LanguageModel(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, n(6))
        self.rnn = nn.LSTM(n(6), n(8), 2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(n(8), 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0])


class Unrolled(nn.Module):
    """A cell in a loop, from zeros that the model makes itself or that the cell does."""

    def __init__(self, n: Width, cell: type[nn.RNNCellBase], own: bool, **options: Any) -> None:
        super().__init__()
        self.hidden = n(8)
        self.own = own
        self.cell = cell(3, n(8), **options)
        self.head = nn.Linear(n(8), 3)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None
        if self.own:
            zeros = x.new_zeros(x.size(1), self.hidden)
            state = (zeros, zeros) if isinstance(self.cell, nn.LSTMCell) else zeros
        outputs = []
        for step in x:
            state = self.cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return self.head(torch.stack(outputs))


MODELS = Cases()
MODELS.put("language_model", LanguageModel, lambda: tokens(2, 5, below=11), {"embed": 6, "rnn": 8})
CELLS: dict[str, tuple[type[nn.RNNCellBase], dict[str, Any]]] = {
    "lstm": (nn.LSTMCell, {}),
    "gru": (nn.GRUCell, {}),
    "tanh": (nn.RNNCell, {}),
    "relu": (nn.RNNCell, {"nonlinearity": "relu", "bias": False}),
}


def _register_cell(name: str, cell: type[nn.RNNCellBase], own: bool, extra: Any) -> None:
    MODELS.put(
        f"{name}_cell{'-own' if own else ''}", lambda n: Unrolled(n, cell, own, **extra),
        lambda: noise(4, 2, 3), {"cell": 8},
    )  # fmt: skip


for (name, (cell, extra)), own in product(CELLS.items(), (False, True)):
    _register_cell(name, cell, own, extra)


test_every_space_of_a_model_grows, test_one_space_of_a_model_grows_alone = MODELS.tests()


class Translator(nn.Module):
    """The encoder's final state starts the decoder; sequences are packed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(3, 8, bidirectional=True)
        self.bridge = nn.Linear(16, 8)
        self.decoder = nn.GRU(3, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        _, state = self.encoder(packed)
        start = self.bridge(torch.cat([state[0], state[1]], 1)).tanh()
        output, _ = self.decoder(packed, start[None])
        padded, sizes = pad_packed_sequence(output)
        return self.head(padded), sizes


class PackedHidden(nn.Module):
    """What is packed was made by the model."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.rnn = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(x), lengths, batch_first=True)
        padded, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.head(padded)


@pytest.mark.parametrize("factor", [2, 1.5])
def test_packed_sequences(factor: float) -> None:
    growth = widen(randomise(Translator()), factor, (noise(5, 3, 3), torch.tensor([3, 5, 2])))
    assert {row.new for row in growth.report.rows} == {int(8 * factor)}
    teacher = randomise(PackedHidden())
    growth = widen(teacher, factor, (tokens(3, 5, below=11), torch.tensor([5, 3, 2])))
    assert {(row.name, row.new / row.old) for row in growth.report.rows} == {
        ("embed", factor), ("rnn", factor),
    }  # fmt: skip


class Started(nn.Module):
    """The initial state is the model's input, or a parameter."""

    def __init__(self, learned: bool) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 8, 2)
        self.start = nn.Parameter(torch.zeros(2, 1, 8)) if learned else None
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        if self.start is not None:
            start = self.start.expand(-1, x.size(1), -1).contiguous()
        return self.head(self.rnn(x, start)[0])


def test_a_learned_initial_state_grows() -> None:
    student = widen(randomise(Started(True)), 1.5, noise(4, 2, 3)).model
    assert student.start.shape == (2, 1, 12)


def test_an_initial_state_from_outside_pins_the_units() -> None:
    teacher = randomise(Started(False))
    inputs = (noise(4, 2, 3), noise(2, 2, 8))
    with refused(NotGrowableError, "gru in 'rnn' starts from the model's input", teacher=teacher):
        net2net.widen(teacher, {"rnn": 2.0}, inputs)


def test_an_unbatched_sequence() -> None:
    widen(randomise(LanguageModel(lambda size: size)), 2, tokens(5, below=11))


def test_the_student_keeps_its_weights_in_one_place() -> None:
    """``nn.LSTM`` keeps a list of its weights beside the parameters."""
    student = widen(randomise(LanguageModel(lambda n: n)), 2, tokens(2, 5, below=11)).model
    weights = [getattr(student.rnn, name) for name in student.rnn._flat_weights_names]
    assert all(a is b for a, b in zip(student.rnn._flat_weights, weights, strict=True))
    student.rnn.flatten_parameters()
    student(tokens(2, 5, below=11)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())
    before = student(tokens(2, 5, below=11))
    with torch.no_grad():
        student.rnn.weight_hh_l0.mul_(2)
    assert not torch.equal(before, student.eval()(tokens(2, 5, below=11)))


def test_states_of_heads_whose_sizes_meet_grow() -> None:
    """Mamba 2 holds together heads, their features and their states, each on its own axis: none of
    them is told apart."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Mamba2Config(
        vocab_size=40, hidden_size=32, num_heads=8, head_dim=8, n_groups=2, state_size=8, expand=2,
        num_hidden_layers=1, chunk_size=8, use_cache=False,
    )  # fmt: skip
    teacher = randomise(transformers.Mamba2ForCausalLM(config))
    found = net2net.spaces(teacher, {"input_ids": tokens(2, 5, below=40)})
    states = [one for one in found if one.name.endswith("mixer.conv1d.weight")]
    assert states and all(one.growable for one in states)
