"""A training batch as it is: the model returns its loss, and the student has the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError

from ..helpers import Written, assert_exact, noise, randomise, tokens, widen

X = noise(4, 3)
CLASSES = torch.tensor([0, 4, 1, 1])
SHARES = noise(4, 5).softmax(1)
SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 1.0, 0.1], dtype=torch.float64)

Loss = Callable[[Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "cross_entropy": lambda y: F.cross_entropy(y, CLASSES),
    "cross_entropy, weighted": lambda y: F.cross_entropy(
        y, CLASSES, weight=WEIGHTS, label_smoothing=0.1, ignore_index=4
    ),
    "cross_entropy of shares": lambda y: F.cross_entropy(y, SHARES, reduction="sum"),
    "cross_entropy of one": lambda y: F.cross_entropy(y[0], CLASSES[0]),
    "cross_entropy of pixels": lambda y: F.cross_entropy(
        y[..., None, None], CLASSES[:, None, None]
    ),
    "nll": lambda y: F.nll_loss(y.log_softmax(1), CLASSES, reduction="none"),
    "nll of pixels": lambda y: F.nll_loss(
        y.log_softmax(1)[..., None, None].expand(4, 5, 2, 2), CLASSES[:, None, None].expand(4, 2, 2)
    ),
    "bce": lambda y: F.binary_cross_entropy(y.sigmoid(), SHARES, weight=WEIGHTS),
    "bce with logits": lambda y: F.binary_cross_entropy_with_logits(y, SHARES, pos_weight=WEIGHTS),
    "bce, each": lambda y: F.binary_cross_entropy_with_logits(y, SHARES, reduction="none"),
    "mse": lambda y: F.mse_loss(y, SHARES),
    "huber": lambda y: F.huber_loss(y, SHARES),
    "kl_div": lambda y: F.kl_div(y.log_softmax(1), SHARES, reduction="batchmean"),
    "poisson_nll": lambda y: F.poisson_nll_loss(y, SHARES),
    "gaussian_nll": lambda y: F.gaussian_nll_loss(y, SHARES, y.exp()),
    "soft_margin": lambda y: F.soft_margin_loss(y, (SHARES - 0.2).sign()),
    "hinge_embedding": lambda y: F.hinge_embedding_loss(y, (SHARES - 0.2).sign()),
    "margin_ranking": lambda y: F.margin_ranking_loss(y, SHARES, SIGNS[:, None]),
    "multi_margin": lambda y: F.multi_margin_loss(y, CLASSES, weight=WEIGHTS),
    "multilabel_margin": lambda y: F.multilabel_margin_loss(
        y, torch.tensor([[0, 2, -1, 0, 0]]).expand(4, 5).contiguous()
    ),
    "multilabel_soft_margin": lambda y: F.multilabel_soft_margin_loss(y, SHARES.round()),
    "cosine_embedding": lambda y: F.cosine_embedding_loss(y, y * 2 + 1, SIGNS),
    "triplet_margin": lambda y: F.triplet_margin_loss(y, y * 2, y * 3 + 1, reduction="sum"),
    "ctc": lambda y: F.ctc_loss(
        y.log_softmax(1)[:, None].expand(4, 2, 5), torch.tensor([[1, 2], [3, 2]]), (4, 3), (2, 1)
    ),
}


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name: str, alone: bool) -> None:
    """Returned alone, or beside the scores."""

    def code(model: Any, x: Tensor) -> Any:
        scores = model.head(model.a(x).relu())
        loss = LOSSES[name](scores)
        return loss if alone else (loss, scores)

    teacher = randomise(Written(code, a=nn.Linear(3, 8), head=nn.Linear(8, 5)))
    growth = widen(teacher, 2.0, X)
    assert [(row.name, row.new) for row in growth.report.rows] == [("a", 16)]


HIDDEN: dict[str, tuple[Loss, str]] = {
    "classes": (
        lambda h: F.cross_entropy(h, CLASSES, reduction="none")[:, None],
        "compares classes",
    ),
    "targets": (lambda h: F.cross_entropy(noise(4, 8), h, reduction="none")[:, None], "compares"),
    "features": (
        lambda h: F.cosine_embedding_loss(h, h + 1, SIGNS, reduction="none")[:, None],
        "features",
    ),
    "labels": (lambda h: F.mse_loss(h, noise(4, 8)), "a constant"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_a_loss_compares_stays(name: str) -> None:
    """Were there twice as many classes or features, the loss would be another."""
    loss, why = HIDDEN[name]

    def code(model: Any, x: Tensor) -> Tensor:
        return loss(model.a(x))

    teacher = randomise(Written(code, a=nn.Linear(3, 8)))
    with pytest.raises(NotGrowableError, match=why):
        net2net.widen(teacher, {"a": 2.0}, X)


def test_a_loss_between_hidden_features() -> None:
    """A mean over features: copies in equal numbers leave it as it is."""

    def code(model: Any, x: Tensor) -> Tensor:
        return F.mse_loss(model.a(x), model.b(x))

    teacher = randomise(Written(code, a=nn.Linear(3, 4), b=nn.Linear(3, 4)))
    assert [row.new for row in widen(teacher, 2.0, X).report.rows] == [8]


MODELS = {
    "BertForSequenceClassification": {"labels": tokens(2, below=3)},
    "BertForTokenClassification": {"labels": tokens(2, 7, below=3)},
    "GPT2LMHeadModel": {"labels": tokens(2, 7, below=40)},
    "T5ForConditionalGeneration": {"labels": tokens(2, 5, below=40)},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_training_batch_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, name)
    sizes = {
        "Bert": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
        },
        "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0},
        "T5Fo": {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_kv": 8, "d_ff": 24},
    }[name[:4]]
    config = kind.config_class(vocab_size=40, num_labels=3, use_cache=False, **sizes)
    config.decoder_start_token_id = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        teacher = randomise(kind(config))
        batch = {"input_ids": tokens(2, 7, below=40), **MODELS[name]}
        growth = net2net.widen(teacher, 2.0, batch)
        assert_exact(teacher, growth.model, batch)
        loss = growth.model(**batch).loss
        assert loss.ndim == 0
        torch.testing.assert_close(loss, teacher(**batch).loss)
    assert all(row.new == 2 * row.old for row in growth.report.rows) and growth.report.rows
