"""transfer: into a larger model that its own code built; exact, or refused with a reason."""

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net import Growth, Plan
from net2net.errors import PlanError, TransferError, UnknownMethodError
from tests.helpers import (
    assert_exact,
    noise,
    randomise,
    refused,
    same_bits,
    tensors,
    tokens,
    untouched,
)

Build = Callable[[], nn.Module]


def transfer(
    build: Build, larger: Build, inputs: Any, *, exact: bool = True, **options: Any
) -> Growth:
    """``net2net.transfer``, with everything checked that must hold for any transfer."""
    teacher, student = randomise(build()), larger()
    with untouched(teacher, student):
        growth = net2net.transfer(teacher, student, inputs, exact=exact, **options)
    model = growth.model
    assert type(model) is type(student)
    assert {n: t.shape for n, t in tensors(model).items()} == {
        n: t.shape for n, t in tensors(student).items()
    }
    given = {t.data_ptr() for m in (teacher, student) for t in tensors(m).values()}
    assert not given & {t.data_ptr() for t in tensors(model).values()}
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert growth.plan.parameters == sum(tensor.numel() for tensor in tensors(model).values())
    again = Plan.from_json(growth.plan.to_json())
    assert again.to_json() == growth.plan.to_json()
    assert str(again) and str(growth.report)
    assert same_bits(again.apply(copy.deepcopy(teacher), student=larger()), model)
    if exact:
        assert_exact(teacher, model, inputs)
        assert growth.report.parity is not None and growth.report.parity.exact
    return growth


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> Build:
    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for old, new in pairwise(widths):
            layers += [nn.Linear(old, new), activation()]
        return nn.Sequential(*layers[:-1])

    return build


class Residual(nn.Module):
    def __init__(self, width: int, *, scale: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.ones(width)) if scale else None

    def forward(self, x: Tensor) -> Tensor:
        branch = self.down(torch.nn.functional.gelu(self.up(self.norm(x))))
        return x + (branch if self.scale is None else self.scale * branch)


class Net(nn.Module):
    def __init__(self, width: int, depth: int, **options: Any) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        self.blocks = nn.ModuleList([Residual(width, **options) for _ in range(depth)])
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Chain(nn.Module):
    """Other names, registered in another order, with the layers of ``mlp``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.last = nn.Linear(width, 3)
        self.norm = nn.BatchNorm1d(width)
        self.first = nn.Linear(5, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x))))


class Renamed(Net):
    """``Net``, whose stack has another name."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width, depth)
        self.body = self.blocks
        del self.blocks

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.body:
            x = block(x)
        return self.head(x)


class Sandwich(Residual):
    """A branch that ends in a norm of its own, written out, with a scale around one; and weights
    that are multiplied from the right."""

    def forward(self, x: Tensor) -> Tensor:
        branch = torch.relu(self.norm(x) @ self.up.weight.T) @ self.down.weight.T
        branch = branch * torch.rsqrt(branch.square().mean(-1, keepdim=True) + 1e-6)
        return x + branch.type_as(x) * (1.0 + self.norm.bias)


class Bottle(nn.Module):
    """Residual blocks of different inner widths."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Inner(width) for width in widths))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Inner(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 5))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


X = noise(4, 5)


# -- chains and residual stacks --------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["spread", "top"])
def test_a_chain_gets_wider_and_deeper(depth: str) -> None:
    growth = transfer(mlp(5, 8, 3), mlp(5, 12, 12, 12, 3), X, depth=depth)
    assert torch.equal(growth.model[2].weight, torch.eye(12, dtype=torch.float64))


def test_a_convolutional_chain_with_norms() -> None:
    def build(*widths: int) -> Build:
        def stage(old: int, new: int) -> list[nn.Module]:
            return [nn.Conv2d(old, new, 3, padding=1), nn.BatchNorm2d(new), nn.ReLU()]

        def model() -> nn.Module:
            pairs = zip((3, *widths), widths, strict=False)
            body = [layer for old, new in pairs for layer in stage(old, new)]
            head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * widths[-1], 3)]
            return nn.Sequential(*body, *head)

        return model

    transfer(build(4, 6), build(6, 10, 10), noise(2, 3, 6, 6))


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("depth", ["spread", "top"])
def test_a_residual_stack(depth: str, scale: bool) -> None:
    transfer(
        lambda: Net(4, 2, scale=scale), lambda: Net(8, 5, scale=scale), X, depth=depth
    )  # fmt: skip


def sources(growth: Growth) -> list[str]:
    """For every block, the teacher's block that it has its up-projection from."""
    plan: Any = growth.plan
    names = [name for name in plan.recipes if name.endswith("up.weight")]
    return [plan.recipes[name].source.split(".")[1] for name in sorted(names)]


def zeroed(growth: Growth) -> list[int]:
    """Blocks that start as identities."""
    return [i for i, block in enumerate(growth.model.blocks) if not block.down.weight.any()]


def test_spread_copies_each_block_behind_itself_and_top_copies_the_last() -> None:
    few, many = (lambda: Net(4, 2)), (lambda: Net(4, 5))
    spread, top = (transfer(few, many, X, depth=order) for order in ("spread", "top"))
    assert (sources(spread), zeroed(spread)) == (list("00011"), [1, 2, 4])
    assert (sources(top), zeroed(top)) == (list("01111"), [2, 3, 4])


def test_depth_in_the_users_words() -> None:
    few, many = (lambda: Net(4, 2)), (lambda: Net(4, 4))
    said = {"blocks.0": None, "blocks.2": None}
    growth = transfer(few, many, X, depth=said)
    assert (sources(growth), zeroed(growth)) == (list("0001"), [0, 2])
    growth = transfer(few, many, X, depth={"blocks.3": "blocks.1", "blocks.1": "blocks.0", **said})
    assert (sources(growth), zeroed(growth)) == (list("0001"), [0, 2])


def test_added_blocks_learn() -> None:
    model = transfer(lambda: Net(4, 2), lambda: Net(4, 3), X).model
    model(X).square().sum().backward()
    assert model.blocks[1].down.weight.grad.abs().max() > 0


def test_a_student_without_values() -> None:
    """Only its structure is used, so a large one may be built on ``meta``."""
    teacher = randomise(Net(4, 2))
    with torch.device("meta"):
        student = Net(8, 3)
    assert_exact(teacher, net2net.transfer(teacher, student, X).model, X)


class Positions(nn.Module):
    """Blocks that hold integers, by which weights are read."""

    def __init__(self, width: int, count: int = 6, blocks: int = 1) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(6, width), nn.Linear(width, 3)
        self.blocks = nn.ModuleList(PositionedBlock(width, count) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = self.words(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class PositionedBlock(nn.Module):
    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.places, self.last = nn.Embedding(6, width), nn.Linear(width, width)
        self.register_buffer("order", torch.arange(count).flip(0) % 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.places(self.order[: x.shape[1]]) * x)


def test_a_student_on_meta_gets_the_integers_that_the_teacher_has() -> None:
    teacher, x = randomise(Positions(4)), tokens(2, 3, below=6)
    with torch.device("meta"):
        student = Positions(8, blocks=2)
    growth = net2net.transfer(teacher, student, x)
    assert growth.model.blocks[1].order.tolist() == [5, 4, 3, 2, 1, 0]
    assert_exact(teacher, growth.model, x)
    with torch.device("meta"):
        longer = Positions(8, count=7)
    with refused(TransferError, "order", "real device", teacher=teacher):
        net2net.transfer(teacher, longer, x)


def test_another_class_with_other_names() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))

    transfer(build, lambda: Chain(10), X)


def test_a_stack_of_another_name() -> None:
    growth = transfer(lambda: Net(4, 2), lambda: Renamed(8, 4), X)
    assert growth.report.rows[0].name == "body"


def test_a_branch_that_ends_in_a_norm_and_in_weights_that_are_transposed() -> None:
    def build(width: int, depth: int) -> Build:
        def model() -> nn.Module:
            net = Net(width, depth)
            net.blocks = nn.ModuleList([Sandwich(width) for _ in range(depth)])
            for block in net.blocks:
                block.up.bias = block.down.bias = None
            return net

        return model

    transfer(build(4, 2), build(8, 3), X)


class Ending(nn.Module):
    """A residual block whose branch ends in one of several ways."""

    def __init__(self, width: int, how: str) -> None:
        super().__init__()
        self.how, self.up, self.gate = how, nn.Linear(width, width), nn.Linear(width, width)
        self.spread = nn.ConvTranspose1d(width, width, 1)
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "gate":  # half of the other factor, where its weights are zero
            return x + torch.sigmoid(self.gate(x)) * self.up(x)
        if self.how == "spread":  # its bias stays, where what it reads is zero
            return x + self.spread(self.up(x)[:, :, None])[:, :, 0]
        if self.how == "divided":
            return x + self.up(x) / (1 + self.bias.exp())
        return x.add_(self.up(x).mul_(2))


@pytest.mark.parametrize("how", ["gate", "spread", "divided", "in place"])
def test_what_makes_a_branch_zero_is_known_of_every_operation(how: str) -> None:
    def build(width: int, depth: int) -> Build:
        def model() -> nn.Module:
            net = Net(width, depth)
            net.blocks = nn.ModuleList([Ending(width, how) for _ in range(depth)])
            return net

        return model

    growth = transfer(build(4, 2), build(4, 3), X)
    silent = {"spread": "spread", "divided": "up", "in place": "up", "gate": "up"}[how]
    assert not growth.model.blocks[1].get_submodule(silent).weight.any()
    assert growth.model.blocks[1].gate.weight.any()


def test_transposed_convolutions_can_be_identities() -> None:
    def build(width: int, depth: int) -> Build:
        def layers(width: int) -> nn.Module:
            kernel = nn.ConvTranspose1d(width, width, 3, padding=1)
            return nn.Sequential(kernel, nn.BatchNorm1d(width), nn.ReLU())

        def model() -> nn.Module:
            stem = nn.Sequential(nn.Conv1d(3, width, 1), nn.ReLU())
            blocks = nn.Sequential(*[layers(width) for _ in range(depth)])
            return nn.Sequential(stem, blocks, nn.Conv1d(width, 2, 1))

        return model

    transfer(build(4, 2), build(8, 4), noise(2, 3, 7))


def test_an_added_block_like_no_other_starts_from_the_students_own_values() -> None:
    teacher, student = randomise(Bottle(4)), Bottle(6, 9).double()
    growth = net2net.transfer(teacher, student, X, depth="top")
    assert torch.equal(growth.model.blocks[1][0].weight, student.blocks[1][0].weight)
    assert any("'blocks.1' is like no other" in note for note in growth.report.notes)
    assert_exact(teacher, growth.model, X)
    with refused(TransferError, "meta", teacher=teacher):
        net2net.transfer(teacher, student.to("meta"), X, depth="top")


def test_scales_of_weight_norms_follow() -> None:
    def build(width: int, depth: int) -> Build:
        def model() -> nn.Module:
            net = Net(width, depth)
            for block in net.blocks:
                for part in (block.up, block.down):
                    nn.utils.parametrizations.weight_norm(part)
            return net

        return model

    transfer(build(4, 2), build(8, 3), X)


class Branch(Residual):
    """Every other block moves what it reads to other rows."""

    def __init__(self, width: int, shift: int) -> None:
        super().__init__(width)
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        read = x.roll(self.shift, 0) if self.shift else x
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm(read))))


def test_blocks_that_do_other_things_are_of_another_kind() -> None:
    def build(width: int, depth: int) -> Build:
        def model() -> nn.Module:
            net = Net(width, 0)
            net.blocks.extend(Branch(width, i % 2) for i in range(depth))
            return net

        return model

    growth = transfer(build(4, 2), build(8, 4), X)
    assert sources(growth) == list("0101")


# -- networks of other libraries -------------------------------------------------------------------

V: dict[str, Any] = {"vocab_size": 30, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def gpt2(width: int, heads: int, depth: int, *, tied: bool = False) -> Build:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": width, "n_head": heads, "n_layer": depth, "n_positions": 8}
    return lambda: GPT2LMHeadModel(GPT2Config(**sizes, **V, tie_word_embeddings=tied))


def transformer(kind: str, width: int, heads: int, depth: int, hidden: int, **more: Any) -> Build:
    import transformers

    names = {
        "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig, V),
        "bert": (transformers.BertForSequenceClassification, transformers.BertConfig, V),
        "vit": (
            transformers.ViTForImageClassification,
            transformers.ViTConfig,
            {"image_size": 8, "patch_size": 4},
        ),
    }
    model, config, options = names[kind]
    sizes = {
        "hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": depth,
        "intermediate_size": hidden,
    }  # fmt: skip
    return lambda: model(config(**sizes, **options, **more))


def words() -> dict[str, Any]:
    return {"input_ids": tokens(2, 6, below=30)}


@pytest.mark.parametrize("depth", ["spread", "top"])
def test_gpt2(depth: str) -> None:
    pytest.importorskip("transformers")
    transfer(gpt2(16, 2, 2), gpt2(32, 4, 4), {**words(), "use_cache": False}, depth=depth)


def test_heads_grow_in_size() -> None:
    pytest.importorskip("transformers")
    inputs = {**words(), "use_cache": False}
    transfer(gpt2(16, 2, 2), gpt2(32, 2, 4), inputs)
    transfer(gpt2(16, 2, 2), gpt2(48, 2, 3), inputs, balanced=False)
    few, more = transformer("vit", 16, 2, 2, 24), transformer("vit", 48, 2, 3, 40)
    transfer(few, more, torch.randn(2, 3, 8, 8))


def test_heads_that_cannot_grow_in_size() -> None:
    pytest.importorskip("transformers")
    inputs = {**words(), "use_cache": False}
    teacher = gpt2(16, 2, 2)()
    with refused(TransferError, "attn.c_attn", "24 positions", "48", teacher=teacher):
        net2net.transfer(teacher, gpt2(64, 4, 2)(), inputs)
    few = transformer("llama", 16, 2, 2, 24, num_key_value_heads=2)
    more = transformer("llama", 32, 2, 2, 24, num_key_value_heads=2)
    teacher = few()
    with refused(TransferError, "_proj", "RoPE", teacher=teacher):
        net2net.transfer(teacher, more(), inputs)
    loose = transfer(few, more, inputs, exact=False)
    assert loose.report.parity is not None and loose.report.parity.max_rel > 1e-3


@pytest.mark.parametrize(("width", "heads", "depth"), [(16, 2, 2), (32, 4, 3)])
def test_tied_embeddings_come_apart_where_the_student_has_two(
    width: int, heads: int, depth: int
) -> None:
    pytest.importorskip("transformers")
    inputs = {**words(), "use_cache": False}
    model = transfer(gpt2(16, 2, 2, tied=True), gpt2(width, heads, depth), inputs).model
    assert model.lm_head.weight is not model.transformer.wte.weight


def test_two_embeddings_do_not_become_one() -> None:
    pytest.importorskip("transformers")
    inputs = {**words(), "use_cache": False}
    teacher = gpt2(16, 2, 2)()
    with refused(TransferError, "lm_head.weight", teacher=teacher):
        net2net.transfer(teacher, gpt2(32, 4, 3, tied=True)(), inputs)


def test_embeddings_stay_tied() -> None:
    pytest.importorskip("transformers")
    inputs = {**words(), "use_cache": False}
    model = transfer(gpt2(16, 2, 2, tied=True), gpt2(32, 4, 3, tied=True), inputs).model
    assert model.lm_head.weight is model.transformer.wte.weight


def test_llama() -> None:
    pytest.importorskip("transformers")
    few = transformer("llama", 16, 4, 2, 24, num_key_value_heads=2)
    many = transformer("llama", 32, 8, 3, 40, num_key_value_heads=4)
    transfer(few, many, {**words(), "use_cache": False})


@pytest.mark.parametrize("new", [False, True])
def test_falcon(new: bool) -> None:
    """One or several key-value heads; both branches of a block read the stream."""
    transformers = pytest.importorskip("transformers")

    def build(width: int, heads: int, depth: int) -> Build:
        sizes = {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": depth}
        more = {"new_decoder_architecture": True, "num_kv_heads": heads // 2} if new else {}
        config = transformers.FalconConfig(**sizes, **V, **more, tie_word_embeddings=False)
        return lambda: transformers.FalconForCausalLM(config)

    transfer(build(16, 4, 2), build(32, 8, 3), {**words(), "use_cache": False})


def mixtral(width: int, heads: int, depth: int, inner: int, experts: int = 4) -> nn.Module:
    import transformers

    sizes = {
        "hidden_size": width, "num_attention_heads": heads, "num_key_value_heads": heads // 2,
        "num_hidden_layers": depth, "intermediate_size": inner, "num_local_experts": experts,
    }  # fmt: skip
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**sizes, **V))


def test_experts() -> None:
    """Their grouped products have no float64."""
    pytest.importorskip("transformers")
    teacher = randomise(mixtral(16, 4, 2, 24)).float()
    inputs = {**words(), "use_cache": False}
    growth = net2net.transfer(teacher, mixtral(32, 8, 3, 40), inputs)
    assert growth.report.parity is not None and growth.report.parity.exact
    with refused(TransferError, "mlp.gate'", "2 of 4", "2 of 8", "4 of 8", teacher=teacher):
        net2net.transfer(teacher, mixtral(16, 4, 2, 24, 8), inputs)


def swin(width: int, heads: int, *depths: int) -> Build:
    from torchvision.models import SwinTransformer

    sizes = [2, 2], width, list(depths), [heads, 2 * heads], [2, 2]
    return lambda: SwinTransformer(*sizes, num_classes=5, stochastic_depth_prob=0.0)


def test_swin() -> None:
    """Tables of relative positions, and every other block shifted."""
    pytest.importorskip("torchvision.models")
    transfer(swin(8, 2, 2, 2), swin(16, 4, 4, 2), noise(2, 3, 8, 8))


def test_vit() -> None:
    pytest.importorskip("transformers")
    few, many = transformer("vit", 16, 2, 2, 24), transformer("vit", 32, 4, 3, 40)
    transfer(few, many, noise(2, 3, 8, 8))


def test_post_norm_gets_wider_and_refuses_depth() -> None:
    pytest.importorskip("transformers")
    build, deeper = (transformer("bert", 16, 2, n, 24) for n in (2, 3))
    transfer(build, transformer("bert", 32, 4, 2, 40), words())
    teacher = randomise(build())
    with refused(TransferError, "encoder.layer.1", "layer_norm", "post-norm", teacher=teacher):
        net2net.transfer(teacher, deeper(), words())
    growth = transfer(build, deeper, words(), exact=False)
    assert growth.report.parity is not None and growth.report.parity.max_rel > 1e-6
    assert any("no exact identity" in note for note in growth.report.notes)


def test_resnet_stages() -> None:
    models = pytest.importorskip("torchvision.models")
    growth = transfer(
        lambda: models.resnet18(num_classes=5),
        lambda: models.resnet34(num_classes=5),
        noise(1, 3, 32, 32),
    )
    sizes = {row.name: (row.old, row.new) for row in growth.report.rows}
    assert sizes == {"layer1": (2, 3), "layer2": (2, 4), "layer3": (2, 6), "layer4": (2, 3)}


def test_wide_resnet() -> None:
    models = pytest.importorskip("torchvision.models")
    small = {"block": models.resnet.Bottleneck, "num_classes": 5}
    transfer(
        lambda: models.ResNet(layers=[1, 2, 1, 1], **small),
        lambda: models.ResNet(layers=[1, 3, 1, 1], width_per_group=128, **small),
        noise(1, 3, 32, 32),
    )


# -- what cannot be exact --------------------------------------------------------------------------

REFUSED: dict[str, tuple[Build, Build, dict[str, Any], list[str]]] = {
    "smaller": (mlp(5, 8, 3), mlp(5, 6, 3), {}, ["0.weight", "8 units", "6"]),
    "other activation": (
        mlp(5, 8, 3), mlp(5, 8, 3, activation=nn.Tanh), {}, ["relu in '1'", "tanh in '1'"],
    ),
    "other slope": (
        mlp(5, 8, 3, activation=nn.LeakyReLU),
        mlp(5, 8, 3, activation=lambda: nn.LeakyReLU(0.3)),  # type: ignore[arg-type]
        {}, ["negative_slope 0.01", "0.3"],
    ),
    "not idempotent": (
        mlp(5, 8, 3, activation=nn.Tanh), mlp(5, 8, 8, 3, activation=nn.Tanh), {}, ["'3'", "tanh"],
    ),
    "other classes": (mlp(5, 8, 3), mlp(5, 8, 4), {}, ["output"]),
    "fewer blocks": (lambda: Net(4, 3), lambda: Net(4, 2), {}, ["'blocks' has 3", "takes 2"]),
    "other layers": (mlp(5, 8, 3), lambda: Net(8, 2), {}, ["has 2 axes"]),
    "no such order": (lambda: Net(4, 2), lambda: Net(4, 3), {"depth": "up"}, ["'up'"]),
    "no such block": (
        lambda: Net(4, 2), lambda: Net(4, 3), {"depth": {"block.1": None}}, ["'block.1'"],
    ),
    "no such source": (
        lambda: Net(4, 2), lambda: Net(4, 3), {"depth": {"blocks.1": "blocks.7"}}, ["blocks.7"],
    ),
    "another order": (
        lambda: Net(4, 2), lambda: Net(4, 3),
        {"depth": {"blocks.0": "blocks.1", "blocks.1": "blocks.0"}}, ["order"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exact_is_refused(case: str) -> None:
    build, larger, options, words = REFUSED[case]
    teacher = randomise(build())
    with refused(TransferError, *words, teacher=teacher):
        net2net.transfer(teacher, larger(), X, **options)


@pytest.mark.parametrize("case", ["smaller", "other activation", "other slope", "not idempotent",
                                  "fewer blocks"])  # fmt: skip
def test_the_closest_thing_is_measured(case: str) -> None:
    build, larger, options, _ = REFUSED[case]
    growth = transfer(build, larger, X, exact=False, **options)
    parity = growth.report.parity
    assert parity is not None and not parity.exact


@pytest.mark.parametrize("larger", [(8, 3), (6, 2), (7, 3)])
def test_a_pair_that_can_be_exact_is_exact_anyhow(larger: tuple[int, int]) -> None:
    parity = transfer(lambda: Net(4, 2), lambda: Net(*larger), X, exact=False).report.parity
    assert parity is not None and parity.exact


def test_a_method_that_does_not_exist() -> None:
    with pytest.raises(UnknownMethodError):
        net2net.transfer(Net(4, 2), Net(8, 2), X, method="magic")


def test_a_plan_needs_a_student_of_its_shapes() -> None:
    teacher = randomise(Net(4, 2))
    plan: Any = net2net.transfer(teacher, Net(8, 3), X).plan
    with refused(PlanError, "student", teacher=teacher):
        plan.apply(teacher)
    with refused(PlanError, "stem.weight", teacher=teacher):
        plan.apply(teacher, student=Net(12, 3))
    with refused(PlanError, "student is a OrderedDict", teacher=teacher):
        plan.apply(teacher, student=Net(8, 3).state_dict())


METHODS = ["replicate", "uneven", "pair", "fresh", "fresh_pair", "silent"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("larger", [(6, 2), (7, 3), (10, 4), (12, 2)])
def test_any_width_by_any_method(larger: tuple[int, int], method: str) -> None:
    growth = transfer(lambda: Net(4, 2), lambda: Net(*larger), X, method=method)
    assert growth.report.parity is not None and growth.report.parity.exact
    assert f"by {method}" in growth.report.action


@pytest.mark.parametrize(
    ("larger", "options", "method"),
    [((6, 2), {}, "fresh"), ((6, 3), {}, "fresh"), ((4, 3), {"noise": 0.01}, "replicate")],
)
def test_auto_is_what_the_race_chose(
    larger: tuple[int, int], options: dict[str, Any], method: str
) -> None:
    """New units that nobody reads (docs/race.md); noise is of copies."""
    teacher, student = randomise(Net(4, 2)), randomise(Net(*larger))
    growth = net2net.transfer(teacher, student, X, **options)
    assert growth.plan.method == method and f"by {method}" in growth.report.action
    assert bool(options) or (growth.report.parity is not None and growth.report.parity.exact)


def test_layer_scales_are_mixed_under_the_teachers_names() -> None:
    """A mean of rows is weighted by what each is multiplied with on the way to the norm."""

    class Scaled(nn.Module):
        """The same layers by other names (``other``), with a scale for each unit of a branch."""

        def __init__(self, width: int, *, other: bool) -> None:
            super().__init__()
            self.names = ["x", "y", "z"] if other else ["a", "b", "c"]
            for name, sizes in zip(
                self.names, [(5, width), (width, width), (width, 3)], strict=True
            ):
                setattr(self, name, nn.Linear(*sizes))
            self.norm = nn.LayerNorm(width)
            setattr(self, "gain" if other else "scale", nn.Parameter(torch.ones(width)))

        def forward(self, x: Tensor) -> Tensor:
            first, second, last = (getattr(self, name) for name in self.names)
            x = first(x)
            scale = self.scale if "a" in self.names else self.gain
            out: Tensor = last(self.norm(x + scale * second(x)))
            return out

    growth = transfer(lambda: Scaled(4, other=False), lambda: Scaled(6, other=True), X)
    assert growth.report.parity is not None and growth.report.parity.exact


def test_noise_on_copies() -> None:
    growth = net2net.transfer(randomise(Net(4, 2)), Net(8, 2), X, noise=0.1)
    assert growth.report.parity is not None and not growth.report.parity.exact
    assert "noise of 0.1" in str(growth.report)
    again = growth.plan.apply(randomise(Net(4, 2)), student=Net(8, 2))
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            again.state_dict().values(), growth.model.state_dict().values(), strict=True
        )
    )
    teacher = randomise(Net(4, 2))
    with refused(TransferError, "noise", teacher=teacher):
        net2net.transfer(teacher, Net(8, 2), X, noise=-1.0)


class Stage(nn.Module):
    """Blocks in a row, by numbered names and in no list; the first one changes the width."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.b1 = nn.Linear(4, 6)
        for number in range(2, blocks + 1):
            self.add_module(f"b{number}", Around(6))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.children():
            x = block(x)
        return x


class Around(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x.tanh())


@pytest.mark.parametrize("blocks", [1, 2])
def test_children_with_numbers_are_a_stack(blocks: int) -> None:
    teacher, student = (
        randomise(nn.Sequential(Stage(n), nn.Linear(6, 2)), seed=n) for n in (blocks, 4)
    )
    growth = net2net.transfer(teacher, student, noise(3, 4))
    assert growth.report.parity.max_rel <= 1e-12
    assert (growth.report.rows[0].name, growth.report.rows[0].new) == ("0", 4)


class Idle(nn.Module):
    """Angles by position are computed, and nothing reads them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 2)
        self.register_buffer("frequencies", torch.linspace(1, 2, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.arange(3.0, dtype=x.dtype)[:, None] * self.frequencies
        angles.cos()
        return self.last(self.first(x).tanh())


def test_what_no_output_depends_on_may_be_of_any_size() -> None:
    teacher, student = randomise(Idle(4)), Idle(6).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    growth = net2net.transfer(teacher, student, x)
    assert growth.report.parity is not None and growth.report.parity.max_rel < 1e-12
    assert torch.equal(growth.model.frequencies, student.frequencies)
    assert "frequencies" in str(growth.report)
