"""A sample of the zoo, measured as ``net2net-lab zoo`` measures: small models of every family."""

from __future__ import annotations

import warnings

import pytest
import torch

from net2net_lab.zoo.families import family
from net2net_lab.zoo.measure import measure

SAMPLE = {
    "torchvision": "squeezenet1_1 mnasnet0_5 mobilenet_v3_small",
    "timm": "test_efficientnet test_resnet test_mambaout test_vit",
    "transformers": """
        albert bert bloom clip convnext deberta distilbert electra gemma gpt2 llama mpt opt qwen3
        resnet roberta swin vit
    """,
}
MODELS = [(name, model) for name, models in SAMPLE.items() for model in models.split()]


@pytest.mark.parametrize(("name", "model"), MODELS, ids=[model for _, model in MODELS])
def test_it_grows(name: str, model: str) -> None:
    pytest.importorskip(name)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        subject = family(name).build(model)
    found = measure(subject)
    assert (found.status, found.stage, found.reason) == ("ok", None, None)
