"""Models of transformers grow by their own configuration: width and depth at once."""

import pytest
import torch
from torch import nn

import net2net
from net2net import InputError, TransferError, WidthError
from tests.any_width import DECODERS, ENCODERS, EXACT, Logits
from tests.behaviour.test_any_width import gap, generated, loads, outputs_of
from tests.helpers import randomise

NAMES = [n for n in (*DECODERS, *ENCODERS) if not n.startswith(("timm", "torchvision"))]
LARGER = {
    "hidden_size n_embd word_embed_proj_dim": {44: 60, 32: 48},
    "num_attention_heads n_head num_heads": {4: 6},
    "num_key_value_heads num_kv_heads": {2: 3, 4: 6},
    "intermediate_size n_inner ffn_dim d_ff ffn_hidden_size": {40: 52},
    "num_hidden_layers n_layer num_layers num_decoder_layers": {2: 4},
    "d_model": {24: 32},
}
LARGER = {name: sizes for names, sizes in LARGER.items() for name in names.split()}
"""By the name of a number of the configuration: from what to what it grows."""


@pytest.fixture(autouse=True)
def _libraries():
    for library in ("transformers", "timm", "torchvision"):
        pytest.importorskip(library)


def model_of(name):
    model = {**DECODERS, **ENCODERS}[name].model()
    return model.inner if isinstance(model, Logits) else model


def larger(model):
    numbers = {name: getattr(model.config, name, None) for name in LARGER}
    return {
        name: LARGER[name][old]
        for name, old in numbers.items()
        if old in LARGER[name] and name in vars(model.config)
    }


@pytest.mark.parametrize("name", NAMES)
def test_width_and_depth_at_once(name, tmp_path):
    """The same function and, for what generates, the same text; it loads from its configuration;
    and every new block learns by the second step."""
    net, teacher = {**DECODERS, **ENCODERS}[name], model_of(name)
    target = larger(teacher)
    assert {new for key, new in target.items() if "layer" in key} == {4}
    grown = net2net.grow(teacher, **target)
    student = grown.model
    assert all(getattr(student.config, key) == value for key, value in target.items())
    assert grown.report.parity.max_rel <= EXACT
    inputs = net.inputs()
    expected = outputs_of(teacher, inputs)
    assert gap(expected, outputs_of(student, inputs)) <= net.tolerance
    if name in DECODERS:
        assert torch.equal(generated(name, student, 16), generated(name, teacher, 16))
    student.save_pretrained(tmp_path)
    assert loads(student, tmp_path, net)
    (added,) = {row.name: row for row in grown.report.rows if "blocks; added" in row.note and
                "encoder.block" not in row.name}.values()  # fmt: skip
    learns(student, inputs, new_blocks(added))


def new_blocks(row):
    names = [one.split(" like ")[0] for one in row.note.removeprefix("blocks; added: ").split(", ")]
    return [f"{row.name}.{name}" for name in names]


def learns(student, inputs, blocks):
    """Gradients are finite everywhere, and by the second step none of a new block is zero."""
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        logits = student(**inputs).logits
        nn.functional.cross_entropy(logits.flatten(0, -2), torch.zeros(logits[..., 0].numel(),
                                    dtype=torch.long)).backward()  # fmt: skip
        assert all(
            torch.isfinite(one.grad).all() for one in student.parameters() if one.grad is not None
        )
        optimizer.step()
    for block in blocks:
        for name, one in student.get_submodule(block).named_parameters():
            assert one.grad is not None and one.grad.abs().max() > 0, f"{block}.{name}"


def gpt2():
    return model_of("gpt2")


def test_nothing_grows_of_nothing():
    with pytest.raises(WidthError, match="nothing was asked"):
        net2net.grow(gpt2())


def test_a_number_that_the_configuration_has_not():
    with pytest.raises(WidthError, match=r"no 'n_head_size'\. Choose one of: n_head"):
        net2net.grow(gpt2(), n_head_size=3)


def test_numbers_that_contradict_name_their_neighbours():
    with pytest.raises(WidthError, match="n_embd=48; n_embd=50; n_head=1; n_head=7"):
        net2net.grow(gpt2(), n_embd=49, n_head=2)


def test_other_names_of_a_number_mean_it():
    """``hidden_size`` of GPT-2 is its ``n_embd``."""
    grown = net2net.grow(gpt2(), hidden_size=48, num_attention_heads=6)
    assert grown.model.config.n_embd == 48 and grown.report.parity.exact
    assert grown.report.asked == "hidden_size=48, num_attention_heads=6"


def test_a_smaller_number_is_no_growth():
    with pytest.raises(TransferError):
        net2net.grow(gpt2(), n_inner=20)


def test_a_configuration_inside_one():
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1,
             "num_attention_heads": 2, "projection_dim": 12}  # fmt: skip
    config = CLIPConfig(
        text_config={**sizes, "vocab_size": 40, "max_position_embeddings": 16, "eos_token_id": 1},
        vision_config={**sizes, "image_size": 16, "patch_size": 4}, projection_dim=12,
    )  # fmt: skip
    teacher = randomise(CLIPModel(config))
    with pytest.raises(WidthError, match="Give text_config="):
        net2net.grow(teacher, intermediate_size=24)
    grown = net2net.grow(teacher, text_config={"intermediate_size": 24, "num_hidden_layers": 2})
    assert grown.report.parity.max_rel <= EXACT
    assert grown.model.config.text_config.num_hidden_layers == 2


def test_only_models_of_transformers():
    with pytest.raises(InputError, match="no configuration of transformers"):
        net2net.grow(nn.Sequential(nn.Linear(2, 2)), hidden_size=3)


def test_what_is_asked_of_transfer():
    grown = net2net.grow(gpt2(), n_layer=3, depth="top", method="fresh", seed=3)
    assert grown.plan.method == "fresh" and grown.plan.seed == 3
    assert "added: 2 like 1" in str(grown.report)


def test_heads_of_partial_rotation_grow_where_they_do_not_rotate():
    """Half of 8 features rotate, and then a quarter of 16; the scale of scores changes for all."""
    from transformers import PhiConfig, PhiForCausalLM

    def rope(part):
        return {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": part}

    config = PhiConfig(
        vocab_size=20, hidden_size=16, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, rope_parameters=rope(0.5),
    )  # fmt: skip
    teacher = randomise(PhiForCausalLM(config))
    grown = net2net.grow(teacher, hidden_size=32, rope_parameters=rope(0.25))
    assert grown.report.parity.max_rel <= EXACT
