"""What each of four processes checks, one check after the other, in one launch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

import net2net
from net2net import PlanError, distributed
from net2net.shards import is_sharded
from tests.helpers import randomise

WORLD = 4
WORDS = torch.randint(20, (4, 8), generator=torch.Generator().manual_seed(0))

CHECKS: list[Callable[[], None]] = []


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS.append(function)
    return function


def main(rank: int, folder: Path) -> None:
    """Run all checks as one rank."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), WORLD)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=90)
    )
    for one in CHECKS:
        torch.manual_seed(0)
        one()
    dist.barrier()
    dist.destroy_process_group()


class GPT(nn.Module):
    """With tied words, a norm, a buffer, and sizes that four ranks do not share evenly."""

    def __init__(self, width: int = 12, heads: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(20, width)
        block = nn.TransformerEncoderLayer(
            width, heads, 3 * width, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(
            block, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Linear(width, 20)
        self.head.weight = self.words.weight
        self.register_buffer("scale", torch.tensor([0.5]))

    def forward(self, words: Tensor) -> Tensor:
        found: Tensor = self.head(self.blocks(self.words(words)) * self.scale)
        return found


def teacher() -> GPT:
    """The same on every rank."""
    model = GPT()
    randomise(model)
    return model.train()


def planned(method: str = "fresh", **options: Any) -> net2net.Growth:
    """Made on meta, on every rank alike."""
    with torch.device("meta"):
        model = GPT().double()
    return net2net.widen(model, 1.5, WORDS, method=method, verify=False, **options)


def sharded(model: nn.Module, mesh: DeviceMesh, **options: Any) -> nn.Module:
    """Every block for itself, and the rest."""
    for block in model.blocks.layers:  # type: ignore[union-attr]
        fully_shard(block, mesh=mesh, **options)
    fully_shard(model, mesh=mesh, **options)
    return model


def student_on(mesh: DeviceMesh, grown: net2net.Growth) -> nn.Module:
    return sharded(grown.model, mesh).to_empty(device="cpu")


def assert_same(model: nn.Module, wanted: nn.Module) -> None:
    """Bit for bit."""
    theirs = {**dict(wanted.named_parameters()), **dict(wanted.named_buffers())}
    ours = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert ours.keys() == theirs.keys()
    for name, one in ours.items():
        whole = one.full_tensor() if is_sharded(one) else one
        assert torch.equal(whole, theirs[name]), name


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    """The same batch on every rank, so that the mean of gradients is that of one."""
    words = torch.randint(20, (4, 8), generator=torch.Generator().manual_seed(seed))
    loss = nn.functional.cross_entropy(model(words).flatten(0, 1), words.flatten())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


class Largest(TorchDispatchMode):
    """The most elements that any one tensor had which was made meanwhile."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(one, Tensor) and not is_sharded(one) and not one.is_meta:
                self.count = max(self.count, one.numel())
        return made


@check
def fsdp_to_fsdp() -> None:
    """Bit for bit; and no tensor is made that is larger than the teacher's largest with as many
    columns as the student's, though the student's own are."""
    mesh = init_device_mesh("cpu", (WORLD,))
    for method in ("fresh", "replicate"):
        grown, whole = planned(method), teacher()
        wanted = grown.plan.apply(whole)
        student = student_on(mesh, grown)
        source = sharded(copy.deepcopy(whole), mesh)
        with Largest() as made:
            distributed.apply(grown.plan, source, student)
        largest = max(one.numel() for one in whole.parameters())
        assert made.count <= largest * 1.5
        assert largest * 1.5 < max(one.numel() for one in wanted.parameters())
        assert_same(student, wanted)
        torch.testing.assert_close(student(WORDS), whole(WORDS), rtol=1e-9, atol=1e-9)


@check
def one_to_fsdp() -> None:
    """A teacher that rank 0 alone has."""
    grown, whole = planned(), teacher()
    wanted = grown.plan.apply(whole)
    student = student_on(init_device_mesh("cpu", (WORLD,)), grown)
    distributed.apply(grown.plan, whole if dist.get_rank() == 0 else whole.to("meta"), student)
    assert_same(student, wanted)
    with pytest.raises(PlanError, match="on no rank"):
        distributed.apply(grown.plan, whole.to("meta"), student)


@check
def hybrid() -> None:
    """To copies of parts (HSDP), and to parts of parts (tensor-parallel, on the same axis too)."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("outer", "inner"))
    whole = teacher()
    grown = planned()
    wanted = grown.plan.apply(whole)
    student = student_on(mesh, grown)
    distributed.apply(grown.plan, whole, student)
    assert_same(student, wanted)

    grown = planned()
    for block in grown.model.blocks.layers:  # type: ignore[union-attr]
        ways = {"linear1": ColwiseParallel(), "linear2": RowwiseParallel()}
        parallelize_module(block, mesh["inner"], ways)
    second = sharded(grown.model, mesh["outer"]).to_empty(device="cpu")
    distributed.apply(grown.plan, whole, second)
    assert_same(second, wanted)


@check
def an_optimiser_goes_on_from_a_smaller_mesh() -> None:
    """Two ranks train a teacher, four its student: as one process does."""
    rank = dist.get_rank()
    pair, all_four = DeviceMesh("cpu", [0, 1]), init_device_mesh("cpu", (WORLD,))
    grown, whole = planned(), teacher()
    model = sharded(copy.deepcopy(whole), pair) if rank < 2 else copy.deepcopy(whole).to("meta")
    ours, alone = (torch.optim.AdamW(one.parameters(), lr=1e-2) for one in (model, whole))
    for seed in range(3):
        step(whole, alone, seed)
        if rank < 2:
            step(model, ours, seed)
    known = net2net.widen(whole, 1.5, WORDS, method="fresh")  # the seed is that of the plan
    known.carry(alone, rewarm=1.3, over=4)
    student = student_on(all_four, grown)
    distributed.apply(grown.plan, model, student)
    handle = distributed.carry(grown.plan, model, student, ours, rewarm=1.3, over=4)
    assert handle.active
    for seed in range(3, 9):
        a, b = step(student, ours, seed), step(known.model, alone, seed)
        assert abs(a - b) < 1e-10, (seed, a, b)
    for one, other in zip(student.parameters(), known.model.parameters(), strict=True):
        torch.testing.assert_close(one.full_tensor(), other, rtol=1e-8, atol=1e-9)  # type: ignore[attr-defined]


@check
def ddp() -> None:
    whole = teacher()
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.1, momentum=0.9)
    wrapped = DistributedDataParallel(whole)
    step(wrapped, optimizer, 0)
    grown = planned()
    student = grown.model.to_empty(device="cpu")
    assert distributed.apply(grown.plan, wrapped, student) is student
    distributed.carry(grown.plan, wrapped, student, optimizer)
    assert_same(student, grown.plan.apply(whole))
    step(DistributedDataParallel(student), optimizer, 1)
    names = {id(one) for one in student.parameters()}
    assert {id(one) for one in optimizer.state} == names


@check
def what_does_not_fit() -> None:
    grown = planned()
    mesh = init_device_mesh("cpu", (WORLD,))
    student = student_on(mesh, grown)
    with pytest.raises(PlanError, match="made for a teacher with"):
        distributed.apply(grown.plan, GPT(24, 2), student)
    with pytest.raises(PlanError, match="made for a student with"):
        distributed.apply(grown.plan, teacher(), sharded(GPT(24, 2), mesh))
    parted = teacher()
    parted.head.weight = nn.Parameter(parted.head.weight.detach().clone())
    with pytest.raises(PlanError, match="one tensor in the plan, and two here"):
        distributed.apply(grown.plan, parted, student)
