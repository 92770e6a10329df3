"""torch's own attention layer: its heads and the stream that they read grow together."""

import pytest
from torch import Tensor, nn

from tests.helpers import assert_exact, noise, randomise, tokens, widen


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, norm_first: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, inner, batch_first=True, norm_first=norm_first, activation="gelu"
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x)))


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_encoder_grows(norm_first: bool, factor: int) -> None:
    teacher, inputs = randomise(Encoder(8, 2, 12, norm_first)), tokens(2, 5, below=7)
    student = widen(teacher, factor, inputs).model
    built = Encoder(8 * factor, 2 * factor, 12 * factor, norm_first).double().eval()
    built.load_state_dict(student.state_dict())
    assert_exact(teacher, built, inputs)
    attention = student.encoder.layers[1].self_attn
    assert (attention.embed_dim, attention.num_heads) == (8 * factor, 2 * factor)
    assert attention.head_dim == 4 and attention.kdim == attention.vdim == 8 * factor


def test_the_stream_follows_whole_heads() -> None:
    teacher = randomise(Encoder(8, 2, 12, True))
    growth = widen(teacher, 1.5, tokens(2, 5, below=7))
    assert {(row.old, row.new) for row in growth.report.rows} == {(8, 12), (12, 18)}
    assert growth.model.encoder.layers[0].self_attn.num_heads == 3
    assert not growth.report.notes


class Attended(nn.Module):
    """Attention beside its own stream, without norms: any whole number of heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head(x + self.attention(x, x, x)[0])


@pytest.mark.parametrize("widths", [1.5, {"embed": 1.5}, {"embed": 24}, {"attention": 1.5}])
def test_who_names_the_stream_gets_the_heads(widths: float | dict[str, float]) -> None:
    teacher, inputs = randomise(Attended(16, 4)), tokens(2, 5, below=7)
    growth = widen(teacher, widths, inputs)
    built = Attended(24, 6).double().eval()
    built.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, built, inputs)
    assert growth.model.attention.num_heads == 6
    (row,) = growth.report.rows
    assert "attention" in row.note and "one size" in row.note


class Reader(nn.Module):
    """Queries read another sequence, whose features have their own widths."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.source = nn.Embedding(7, 8), nn.Linear(4, 6)
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        read = self.source(source).relu()
        return self.head(self.attention(self.embed(x), read, read, need_weights=False)[0])


@pytest.mark.parametrize("factor", [2.0, 1.5])
def test_keys_and_values_of_other_widths(factor: float) -> None:
    teacher = randomise(Reader())
    inputs = (tokens(2, 5, below=7), noise(2, 3, 4))
    attention = widen(teacher, {"source": factor}, inputs).model.attention
    assert (attention.embed_dim, attention.kdim, attention.vdim) == (8, 6 * factor, 6 * factor)


def test_a_small_vision_transformer_grows() -> None:
    models = pytest.importorskip("torchvision.models")
    teacher = randomise(
        models.VisionTransformer(8, 4, 2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=3)
    )
    student = widen(teacher, 2, noise(2, 3, 8, 8)).model
    assert student.encoder.layers[0].self_attention.num_heads == 4
    assert student.hidden_dim == 16
