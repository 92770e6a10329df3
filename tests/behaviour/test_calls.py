"""Graphs: modules called twice, as functions, in training only or never; inputs and outputs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers import (
    Cases,
    Width,
    conv,
    image,
    noise,
    randomise,
    tokens,
    widen,
)

CASES = Cases()
net = CASES.net


# -- reuse and functional calls --------------------------------------------------------------------


@net("used_twice", lambda: noise(4, 6), {"stem": 8, "head.0": 6})
class Twice(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.shared = nn.Linear(6, n(8)), nn.Linear(n(8), n(8))
        self.head = nn.Sequential(nn.Linear(n(8), n(6)), nn.ReLU(), nn.Linear(n(6), 2))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        x = torch.tanh(self.shared(x))
        return self.head(torch.tanh(self.shared(x)))


@net(
    "siamese",
    lambda: (noise(4, 6), noise(4, 6, seed=2)),
    {"encoder.0": 8, "encoder.2": 6, "mix": 4},
    at="encoder.2",
)
class Siamese(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, n(8)), nn.ReLU(), nn.Linear(n(8), n(6)))
        self.mix, self.head = nn.Linear(n(18), n(4)), nn.Linear(n(4), 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.encoder(a), self.encoder(b)
        return self.head(self.mix(torch.cat([(a - b).abs(), a * b, b], 1)).relu())


@net("one_filter_for_all_heads", lambda: noise(2, 5, 6), {"qkv": 96}, step=24)
class Pooled(nn.Module):
    """Four heads of eight features: one depthwise convolution and one norm run on each of them."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.width, self.heads = n(32), n(4)
        self.qkv, self.out = nn.Linear(6, n(96)), nn.Linear(n(32), 3)
        self.pool, self.norm = nn.Conv1d(8, 8, 3, groups=8, padding=1), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        rows, time, _ = x.shape
        parts = self.qkv(x).reshape(rows, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = (self.smooth(part) for part in parts.unbind(0))
        found = F.scaled_dot_product_attention(query, key, value) + query
        return self.out(found.transpose(1, 2).reshape(rows, -1, self.width))

    def smooth(self, x: Tensor) -> Tensor:
        pooled = self.pool(x.flatten(0, 1).transpose(1, 2))
        return self.norm(pooled.reshape(-1, self.heads, 8, x.shape[2]).transpose(2, 3))


@net("recurrent", lambda: noise(3, 5, 4), {"inner": 8})
class Recurrent(nn.Module):
    """A recurrence written by hand: the state starts at zero, and every step is the same layers."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.inner, self.outer, self.head = (
            nn.Linear(n(8), n(8)),
            nn.Linear(4, n(8)),
            nn.Linear(n(8), 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.inner.in_features)
        for step in x.unbind(1):
            state = torch.tanh(self.inner(state) + self.outer(step))
        return self.head(state)


@net("functional", image, {"first": 4, "middle": 6, "last": 8}, at="middle")
class Functional(nn.Module):
    """No layer modules at all."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.first, self.first_bias = (
            nn.Parameter(torch.empty(s)) for s in ((n(4), 3, 3, 3), (n(4),))
        )
        self.norm_weight, self.norm_bias = (nn.Parameter(torch.empty(n(4))) for _ in range(2))
        self.register_buffer("running_mean", torch.empty(n(4)))
        self.register_buffer("running_var", torch.empty(n(4)))
        self.middle = nn.Parameter(torch.empty(n(4), n(6), 2, 2))
        self.last, self.last_bias = (nn.Parameter(torch.empty(s)) for s in ((n(8), n(6)), (n(8),)))
        self.slope = nn.Parameter(torch.empty(n(8)))
        self.head = nn.Parameter(torch.empty(3, n(8)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.first, self.first_bias)
        x = F.batch_norm(x, self.running_mean, self.running_var, self.norm_weight, self.norm_bias)
        x = F.relu(F.conv_transpose2d(x, self.middle, stride=2)).mean((2, 3))
        return F.linear(F.prelu(F.linear(x, self.last, self.last_bias), self.slope), self.head)


@net("bare_parameters", image, {"w": 8}, at="w")
class Bare(nn.Module):
    """``x * scale + shift``, ``w @ x``, and a class token."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.empty(n(8), 3)), nn.Parameter(torch.empty(n(8), 2))
        self.scale, self.shift = (nn.Parameter(torch.empty(n(8), 1)) for _ in range(2))
        self.token = nn.Parameter(torch.empty(1, n(8), 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.w @ x.flatten(2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 2)
        x = torch.relu(x * self.scale + self.shift)
        return x.transpose(1, 2) @ self.v


@net("einsum", image, {"up": 8, "mid": 6})
class Einsum(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.up, self.mid = (
            nn.Parameter(torch.empty(3, n(8))),
            nn.Parameter(torch.empty(n(6), n(8))),
        )
        self.gain, self.down = nn.Parameter(torch.empty(n(6))), nn.Parameter(torch.empty(n(6), 2))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("bihw,io->bhwo", x, self.up).relu()
        x = torch.einsum("...i,oi,o->...o", x, self.mid, self.gain).tanh()
        return torch.einsum("bhwi,io", x, self.down)


@net("matrix_products", lambda: noise(4, 6), {"a": 8, "b": 6})
class Products(nn.Module):
    """mm, addmm, t, and a weight that is made of weights."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.empty(n(8), 6)), nn.Parameter(torch.empty(n(6), n(8)))
        self.bias, self.gain = nn.Parameter(torch.empty(n(6))), nn.Parameter(torch.empty(n(6), 1))
        self.c = nn.Parameter(torch.empty(2, n(6)))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.mm(x, self.a.t()).relu()
        x = torch.addmm(self.bias, x, (self.gain * self.b).t()).relu()
        return torch.matmul(x, self.c.mT)


@net("containers_of_parameters", lambda: noise(4, 6), {"weights.0": 8, "weights.1": 6})
class Containers(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            [torch.empty(n(8), 6), torch.empty(n(6), n(8)), torch.empty(2, n(6))]
        )
        self.biases = nn.ParameterDict({"0": torch.empty(n(8)), "1": torch.empty(n(6))})

    def forward(self, x: Tensor) -> Tensor:
        for index in (0, 1):
            x = F.linear(x, self.weights[index], self.biases[str(index)]).relu()
        return F.linear(x, self.weights[2])


# -- several inputs and outputs --------------------------------------------------------------------


@net(
    "two_inputs",
    lambda: (image(), tokens(2, below=5)),
    {"image": 8, "word": 6, "mix": 4},
    at="word",
)
class TwoInputs(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.image, self.word = nn.Conv2d(3, n(8), 3), nn.Embedding(5, n(6))
        self.mix, self.head = nn.Linear(n(14), n(4)), nn.Linear(n(4), 2)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        both = torch.cat([self.image(x).relu().mean((2, 3)), self.word(label)], dim=1)
        return self.head(self.mix(both).relu())


@net(
    "dict_in_dict_out",
    lambda: {
        "batch": {"left": noise(4, 6), "right": [noise(4, 5), noise(4, 5, seed=3)]},
        "scale": 0.5,
    },
    {"left": 8, "right": 6, "mix": 4},
    at="mix",
)
class Nested(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.left, self.right, self.mix = (
            nn.Linear(6, n(8)),
            nn.Linear(5, n(6)),
            nn.Linear(n(14), n(4)),
        )
        self.value, self.policy = nn.Linear(n(4), 1), nn.Linear(n(4), 3)

    def forward(self, batch: dict[str, Any], scale: float) -> dict[str, Any]:
        right = sum(self.right(item).relu() for item in batch["right"])
        hidden = self.mix(torch.cat([self.left(batch["left"]), right * scale], 1)).tanh()
        return {
            "heads": [self.value(hidden), self.policy(hidden)],
            "names": "value, policy",
            "none": None,
        }


@net("several_depths", image, {"a": 4, "b": 6})
class Depths(nn.Module):
    """Deep supervision: a tuple of outputs, from several depths."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, n(4), 3), nn.Conv2d(n(4), n(6), 3)
        self.heads = nn.ModuleDict({"a": nn.Conv2d(n(4), 2, 1), "b": nn.Conv2d(n(6), 2, 1)})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = self.a(x).relu()
        return self.heads["a"](a), self.heads["b"](self.b(a).relu())


# -- the tests -------------------------------------------------------------------------------------


test_whole, test_alone = CASES.tests()


def test_one_module_under_two_names() -> None:
    layer = nn.Linear(8, 8)
    teacher = randomise(nn.Sequential(nn.Linear(6, 8), layer, nn.ReLU(), layer, nn.Linear(8, 2)))
    growth = widen(teacher, 1.5, noise(4, 6))
    assert growth.model[1] is growth.model[3] and growth.model[1].weight.shape == (12, 12)


class Auxiliary(nn.Module):
    """GoogLeNet: a head that runs in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Conv2d(8, 2, 1)
        self.aux = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        return (self.head(x), self.aux(x)) if self.training else self.head(x)


def test_a_head_that_runs_in_training_only_grows_too() -> None:
    teacher = randomise(Auxiliary())
    growth = widen(teacher, 1.5, image())
    assert {row.name: row.new for row in growth.report.rows} == {"stem.0": 12, "aux.0": 6}
    old, new = (model.train()(image()) for model in (teacher, growth.model))
    for before, after in zip(old, new, strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-12)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.head, self.unused = nn.Linear(6, 8), nn.Linear(8, 2), nn.Linear(8, 8)
        self.register_buffer("mask", torch.ones(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.used(x).relu())


def test_what_no_operation_reads_stays_and_the_report_says_so() -> None:
    teacher = randomise(Unused())
    growth = widen(teacher, 2.0, noise(4, 6))
    assert growth.model.used.out_features == 16 and growth.model.unused.weight.shape == (8, 8)
    (note,) = [note for note in growth.report.notes if "unused.weight" in note]
    assert "unused.bias" in note and "mask" in note
