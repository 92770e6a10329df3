"""Stacks of public models, two blocks longer or half as long again: the students compute what their
teachers do, learn in every new block, generate the same text, and load from their configurations.

All types are tried where ``NET2NET_EVERY_TYPE`` is set; those that differ most, always.
"""

import copy
import functools
import os
import warnings

import pytest
import torch
from torch import nn

import net2net
from net2net.apply.extend_list import ExtendList
from tests.any_width import DECODERS, ENCODERS, MULTIPLES, Logits, Net, hf, pictures
from tests.helpers import noise, randomise

STACKS = {
    "gpt2": "transformer.h", "gptj": "transformer.h", "gpt_neox": "gpt_neox.layers",
    "opt": "model.decoder.layers", "falcon": "transformer.h", "t5": "inner.*.block",
    "vit": "vit.layers", "deit": "deit.layers", "beit": "beit.layers",
    "dinov2": "dinov2.encoder.layer", "timm_vit": "blocks", "timm_deit3": "blocks",
    "timm_eva": "blocks", "torchvision_vit": "encoder.layers", "swin": "swin.*.blocks",
    "convnext": "convnext.*.layers", "resnet": "layer?", "whisper": "encoder.layers",
    "mamba": "backbone.layers", "bloom": "transformer.h", "clip": "vision_model.encoder.layers",
    "mixer": "blocks",
}  # fmt: skip
"""Where the blocks are; else in ``model.layers``."""

ALTERNATING = {"gemma2", "swin"}
"""Two of their blocks are one period."""

ALWAYS = "llama", "gemma2", "t5", "resnet"

OTHERS = "timm", "torchvision", "resnet", "mixer"
"""No models of transformers."""

TOKENS = 12
"""Generated."""


def resnet() -> nn.Module:
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock

    return randomise(ResNet(BasicBlock, [2, 2, 1, 1], num_classes=5))


NETS = {
    **DECODERS,
    **ENCODERS,
    **{one: MULTIPLES[one] for one in ("swin", "whisper", "bloom", "clip", "modernbert", "mixer")},
    "convnext": Net(
        hf(
            "ConvNextForImageClassification", "ConvNextConfig", hidden_sizes=[10, 20],
            depths=[2, 2], num_stages=2, patch_size=2, num_labels=5, drop_path_rate=0.2,
        ),
        pictures(), {}, (),
    ),
    "mamba": Net(
        hf(
            "MambaForCausalLM", "MambaConfig", vocab_size=40, hidden_size=16, state_size=4,
            num_hidden_layers=2, use_cache=False,
        ),
        DECODERS["llama"].inputs, {}, (), "RMSNorm",
    ),
    "resnet": Net(resnet, lambda: {"x": noise(2, 3, 32, 32)}, {}, ()),
}  # fmt: skip

EVERY = bool(os.environ.get("NET2NET_EVERY_TYPE"))
TYPES = list(NETS) if EVERY else list(ALWAYS)
HALF = [name for name in NETS if name not in ALTERNATING] if EVERY else ["llama"]


@pytest.fixture(autouse=True)
def _libraries() -> None:
    for library in ("transformers", "timm", "torchvision"):
        pytest.importorskip(library)


@functools.cache
def teacher_of(name):
    return resnet() if name == "resnet" else NETS[name].model()


@functools.cache
def grown(name, asked):
    stack = STACKS.get(name, "model.layers")
    if name == "resnet":
        stack = "layer[12]"
    inputs = NETS[name].inputs()
    return net2net.deepen(teacher_of(name), {stack: asked}, inputs)


def new_blocks(growth):
    edits = [edit for edit in growth.plan.edits if isinstance(edit, ExtendList)]
    return [f"{edit.at}.{name}." for edit in edits for name in edit.added]


def outputs_of(model, inputs):
    output = model(**copy.deepcopy(inputs))
    return output if isinstance(output, torch.Tensor) else output.logits


@pytest.mark.parametrize("name", TYPES)
def test_two_blocks_more(name):
    net, growth = NETS[name], grown(name, 2)
    assert growth.report.parity.dtype == torch.float64
    assert growth.report.parity.max_rel <= 1e-9, str(growth.report)
    assert growth.report.rows and not growth.report.stayed
    for row in growth.report.rows:
        assert row.new == row.old + 2
    model, inputs = copy.deepcopy(growth.model).train(), net.inputs()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        (outputs_of(model, inputs) - 1).square().mean().backward()
        found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        assert all(gradient.isfinite().all() for gradient in found.values())
        optimiser.step()
    learning = [name for name, gradient in found.items() if gradient.abs().max() > 0]
    for block in new_blocks(growth):
        assert any(name.startswith(block) for name in learning)
        still = {name for name in found if name.startswith(block)} - {*learning}
        assert not still, still


@pytest.mark.parametrize("name", HALF)
def test_half_as_many_more(name):
    growth = grown(name, 1.5)
    assert growth.report.parity.max_rel <= 1e-9, str(growth.report)
    assert growth.report.rows and not growth.report.stayed
    for row in growth.report.rows:
        assert row.new == row.old * 1.5


@pytest.mark.parametrize("name", TYPES)
def test_with_a_width_at_once(name):
    """As one plan, which the teacher alone is needed for."""
    net, deeper = NETS[name], grown(name, 2)
    asked = net.widths(*net.parts) if net.parts else 2.0
    wider = net2net.widen(deeper.model, asked, net.inputs())
    assert wider.report.rows and wider.report.parity.max_rel <= 1e-9
    student = deeper.plan.then(wider.plan).apply(teacher_of(name))
    assert net2net.verify(teacher_of(name), student, net.inputs()).max_rel <= 1e-9


def inner(model):
    return model.inner if isinstance(model, Logits) else model


def generated(name, model):
    inputs = {"input_ids": NETS[name].inputs()["input_ids"]}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of masks and lengths
        return inner(model).generate(
            **inputs, attention_mask=torch.ones_like(inputs["input_ids"]), do_sample=False,
            max_new_tokens=TOKENS, min_new_tokens=TOKENS, eos_token_id=None, use_cache=True,
        )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TYPES if name in DECODERS])
def test_generates_the_same_with_its_cache(name):
    expected = generated(name, teacher_of(name))
    assert expected.shape[1] > TOKENS and len(expected.unique()) > 2
    assert torch.equal(generated(name, grown(name, 2).model), expected)


@pytest.mark.parametrize("name", [name for name in TYPES if not name.startswith(OTHERS)])
def test_loads_from_its_config(name, tmp_path):
    growth, inputs = grown(name, 2), NETS[name].inputs()
    assert not [note for note in growth.report.notes if "config" in note]
    student = inner(growth.model)
    student.save_pretrained(tmp_path)
    loaded = type(student).from_pretrained(
        tmp_path, dtype=torch.float64, experts_implementation="eager"
    )
    with torch.no_grad():
        expected, found = outputs_of(student, inputs), outputs_of(loaded, inputs)
    assert (expected - found).abs().max() <= NETS[name].tolerance * expected.abs().max()
