"""What a student has more that is no unit: words, positions, classes, biases, a head."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
)

import net2net
from net2net import Plan
from net2net.errors import TransferError
from tests.helpers import noise, randomise, refused, same_bits, tokens

WORDS = tokens(2, 5, below=20)


class Language(nn.Module):
    """Words and positions in, scores of words out, by the same table or another."""

    def __init__(self, words: int, length: int = 8, width: int = 6, tied: bool = True) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Parameter(torch.randn(1, length, width))
        self.register_buffer("mask", torch.ones(length, length).tril())
        self.inner = nn.Linear(width, width)
        self.head = nn.Linear(width, words, bias=not tied)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, words: Tensor) -> Tensor:
        length = words.shape[1]
        x = self.words(words) + self.places[:, :length]
        x = self.mask[:length, :length] @ self.inner(x)
        return self.head(x)


def check(growth: net2net.Growth, teacher: nn.Module, student: nn.Module) -> None:
    assert growth.report.parity.max_rel <= 1e-12
    plan = Plan.from_json(growth.plan.to_json())
    assert same_bits(plan.apply(teacher, student=student), growth.model)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("how", ["zero", "mean", "random"])
def test_words(how: str, tied: bool) -> None:
    teacher = randomise(Language(20, tied=tied))
    student = randomise(Language(26, tied=tied), seed=5)
    growth = net2net.transfer(teacher, student, WORDS, new_outputs=how)
    check(growth, teacher, student)
    tables = {growth.model.words.weight, growth.model.head.weight}
    assert len(tables) == (1 if tied else 2)
    for table, old in zip(
        (growth.model.words.weight, growth.model.head.weight),
        (teacher.words.weight, teacher.head.weight),
        strict=True,
    ):
        assert torch.equal(table[:20], old)
        match how:
            case "zero":
                assert not table[20:].any()
            case "mean":
                torch.testing.assert_close(table[20:], old.mean(0, keepdim=True).expand(6, -1))
            case "random":
                assert len(table[20:].unique()) == 36 and 0.5 < table[20:].std() / old.std() < 2
    assert growth.outputs == {"": {2: [*range(20), *[-1] * 6]}}
    assert "positions 20 to 25 of axis 2 are new" in str(growth.report)
    assert "20 → 26" in str(growth.report) and how in str(growth.report)


def test_words_without_a_word_on_what_they_are() -> None:
    teacher = randomise(Language(20))
    with refused(TransferError, "20 positions on axis 2", "new_outputs=", teacher=teacher):
        net2net.transfer(teacher, Language(26).double(), WORDS)
    for options in ({"new_outputs": "ones"}, {"new_outputs": "zero", "outputs": "grow"}):
        with refused(TransferError, "new_outputs", teacher=teacher):
            net2net.transfer(teacher, Language(26).double(), WORDS, **options)


def test_positions() -> None:
    teacher = randomise(Language(20))
    student = randomise(Language(20, length=12), seed=5)
    growth = net2net.transfer(teacher, student, WORDS)
    check(growth, teacher, student)
    assert torch.equal(growth.model.places[:, :8], teacher.places)
    assert growth.model.places[:, 8:].all()
    assert torch.equal(growth.model.mask, student.mask), "what code makes of sizes is its own"
    growth.model(tokens(2, 12, below=20))
    assert "new rows" in str(growth.report) and "does not know" in str(growth.report)
    with refused(TransferError, "'mask'", "real device", teacher=teacher):
        net2net.transfer(teacher, Language(20, length=12).to("meta"), WORDS)


def test_weights_of_which_code_takes_slices_are_no_tables() -> None:
    """Halves of a weight are units that grow, and no rows that are looked up."""

    class Packed(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.width, self.both = width, nn.Parameter(torch.randn(2 * width, 3))
            self.out = nn.Linear(width, 2)

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.both[: self.width], self.both[self.width :]
            return self.out(F.linear(x, a) * F.linear(x, b).sigmoid())

    teacher, student = randomise(Packed(4)), randomise(Packed(8), seed=5)
    growth = net2net.transfer(teacher, student, noise(3, 3))
    check(growth, teacher, student)
    assert not any("new rows" in row.note for row in growth.report.rows)


def test_classes_and_widths() -> None:
    def of(width: int, classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, classes))

    teacher, student = randomise(of(6, 3)), randomise(of(9, 5), seed=5)
    growth = net2net.transfer(teacher, student, noise(2, 4), new_outputs="mean")
    check(growth, teacher, student)
    torch.testing.assert_close(growth.model[2].bias[3:], teacher[2].bias.mean().expand(2))
    with refused(TransferError, "output", "new_outputs", teacher=teacher):
        net2net.transfer(teacher, student, noise(2, 4))


def test_new_classes_that_change_the_others() -> None:
    """A probability is not that among more classes."""
    teacher = randomise(nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)))
    student = randomise(nn.Sequential(nn.Linear(4, 5), nn.Softmax(-1)))
    with refused(TransferError, "does not compute", teacher=teacher):
        net2net.transfer(teacher, student, noise(2, 4), new_outputs="zero")


def test_biases() -> None:
    class Net(nn.Module):
        def __init__(self, bias: bool, blocks: int = 1, width: int = 6) -> None:
            super().__init__()
            self.stem = nn.Conv1d(3, width, 1, bias=bias)
            self.blocks = nn.ModuleList(Block(width, bias) for _ in range(blocks))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x).mT
            for block in self.blocks:
                x = block(x)
            return x.mean(-1)

    class Block(nn.Module):
        def __init__(self, width: int, bias: bool) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width, bias=bias)
            self.up, self.down = nn.Linear(width, 8, bias=bias), nn.Linear(8, width, bias=bias)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.down(self.up(self.norm(x)).relu())

    teacher, student = randomise(Net(False)), randomise(Net(True, 2, 12), seed=5)
    growth = net2net.transfer(teacher, student, noise(2, 3, 5))
    check(growth, teacher, student)
    biases = [p for name, p in growth.model.named_parameters() if name.endswith("bias")]
    assert len(biases) == 7 and not any(one.any() for one in biases)
    assert "biases that are new, and zero: stem.bias, " in str(growth.report)


def gpt2(kind: type = GPT2LMHeadModel, **changes: Any) -> nn.Module:
    sizes = {
        "vocab_size": 20,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "n_embd": 12,
        "n_head": 2,
        "n_layer": 1,
        "n_positions": 16,
    }
    return randomise(kind(GPT2Config(**{**sizes, **changes})))


def test_a_language_model_by_its_configuration(tmp_path: Any) -> None:
    teacher = gpt2()
    growth = net2net.grow(
        teacher, vocab_size=24, n_positions=24, n_embd=18, n_head=3, n_layer=2, new_outputs="mean"
    )
    assert growth.report.parity.max_rel <= 1e-9
    assert "output['logits']: positions 20 to 23 of axis 2 are new" in str(growth.report)
    growth.model.save_pretrained(tmp_path)
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path, dtype="auto").eval()
    words = tokens(2, 20, below=24)
    assert torch.equal(loaded(words).logits, growth.model(words).logits)
    with refused(TransferError, "new_outputs", teacher=teacher):
        net2net.grow(teacher, vocab_size=24)


def test_biases_and_words_of_a_llama() -> None:
    teacher = randomise(
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=20, hidden_size=12, num_attention_heads=2, num_key_value_heads=2,
                intermediate_size=16, num_hidden_layers=1,
            )
        )
    )  # fmt: skip
    growth = net2net.grow(
        teacher, vocab_size=24, attention_bias=True, num_hidden_layers=2, new_outputs="zero"
    )
    assert growth.report.parity.max_rel <= 1e-9
    assert not growth.model.lm_head.weight[20:].any()
    assert not growth.model.model.layers[1].self_attn.q_proj.bias.any()


def test_a_head() -> None:
    teacher = gpt2(GPT2Model)
    student = gpt2(n_embd=18, n_head=3)
    inputs = {"input_ids": tokens(2, 5, below=20), "use_cache": False}
    growth = net2net.transfer(teacher, student, inputs, outputs="grow")
    check(growth, teacher, student)
    assert type(growth.model) is GPT2LMHeadModel
    assert growth.model.lm_head.weight is growth.model.transformer.wte.weight
    assert "the teacher is the student's 'transformer'" in str(growth.report)


def test_a_head_of_its_own() -> None:
    sizes = {
        "vocab_size": 20, "hidden_size": 12, "num_attention_heads": 2, "num_hidden_layers": 1,
        "intermediate_size": 16, "max_position_embeddings": 8,
    }  # fmt: skip
    teacher = randomise(BertModel(BertConfig(**sizes)))
    larger = {**sizes, "max_position_embeddings": 16}
    student = randomise(BertForSequenceClassification(BertConfig(**larger)), seed=5)
    inputs = {"input_ids": tokens(2, 5, below=20)}
    growth = net2net.transfer(teacher, student, inputs)
    check(growth, teacher, student)
    assert torch.equal(growth.model.classifier.weight, student.classifier.weight)
    assert "own values stay in classifier.weight, classifier.bias" in str(growth.report)
    with refused(TransferError, "classifier", "real device", teacher=teacher):
        net2net.transfer(
            teacher, BertForSequenceClassification(BertConfig(**sizes)).to("meta"), inputs
        )


def test_biases_of_other_layers_in_a_row_stay() -> None:
    def net(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, width, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2, 1, bias=False),
        )  # fmt: skip

    teacher, student = randomise(net(4)), randomise(net(6), seed=5)
    growth = net2net.transfer(teacher, student, noise(1, 3, 4, 4))
    check(growth, teacher, student)
    assert "biases that are new" not in str(growth.report)
