"""What each of four processes checks, one check after the other, in one launch."""

from __future__ import annotations

import contextlib
import copy
import importlib
import os
import runpy
from collections.abc import Callable
from datetime import timedelta
from functools import cache
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
from net2net.optim import young
from net2net.plan.plan import Plan
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


def example(rank: int, folder: Path) -> None:
    """Run the example in examples/ as one of two ranks; what it prints is written to a file."""
    torch.set_num_threads(1)
    port = {"MASTER_ADDR": "localhost", "MASTER_PORT": (folder / "port").read_text("utf-8")}
    os.environ.update(port, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    script = Path(__file__).parents[3] / "examples" / "fsdp2_grow.py"
    with (folder / f"{rank}.txt").open("w") as file, contextlib.redirect_stdout(file):
        runpy.run_path(str(script), run_name="__main__")


def accelerate(rank: int, folder: Path) -> None:
    """A checkpoint that Accelerate's own code writes of FSDP grows, and is read by it again: as in
    one process."""
    torch.set_num_threads(1)
    port = {"MASTER_ADDR": "localhost", "MASTER_PORT": (folder / "port").read_text("utf-8")}
    os.environ.update(port, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    importlib.import_module("tests.conftest")  # torchvision's operators, for transformers
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin, fsdp_utils
    from transformers import GPT2Config, GPT2LMHeadModel

    from net2net import hf

    accelerator = Accelerator(cpu=True)
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, state_dict_type="SHARDED_STATE_DICT")
    mesh = init_device_mesh("cpu", (2,))
    sizes = {"vocab_size": 20, "n_positions": 32, "bos_token_id": 1, "eos_token_id": 2}

    def model(**numbers: int) -> Any:
        torch.manual_seed(0)
        return GPT2LMHeadModel(GPT2Config(**sizes, **numbers)).double().eval()

    def parted(whole: nn.Module) -> tuple[Any, torch.optim.Optimizer]:
        part = fully_shard(whole, mesh=mesh)
        return part, torch.optim.AdamW(part.parameters(), lr=1e-2)

    def stepped(one: Any, optimizer: torch.optim.Optimizer) -> float:
        loss = one(input_ids=WORDS, labels=WORDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    small, large = {"n_embd": 12, "n_head": 2, "n_layer": 2}, {"n_embd": 18, "n_head": 3}
    whole = model(**small)
    alone = torch.optim.AdamW(whole.parameters(), lr=1e-2)
    part, optimizer = parted(model(**small))
    for _ in range(2):
        assert abs(stepped(part, optimizer) - stepped(whole, alone)) < 1e-10
    source, target = str(folder / "saved"), str(folder / "grown")
    fsdp_utils.save_fsdp_model(plugin, accelerator, part, source)
    fsdp_utils.save_fsdp_optimizer(plugin, accelerator, optimizer, part, source)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        whole.config.architectures = ["GPT2LMHeadModel"]
        whole.config.save_pretrained(source)
        hf.grow_checkpoint(source, target, method="fresh", n_layer=3, **large)
    accelerator.wait_for_everyone()
    later, resumed = parted(model(n_layer=3, **large))
    fsdp_utils.load_fsdp_model(plugin, accelerator, later, target)
    fsdp_utils.load_fsdp_optimizer(plugin, accelerator, resumed, later, target)
    handle = hf.carried(resumed, later, target)
    assert handle.active
    grown = net2net.grow(whole, method="fresh", n_layer=3, **large)
    grown.carry(alone)
    for _ in range(3):
        a, b = stepped(later, resumed), stepped(grown.model, alone)
        assert abs(a - b) < 1e-10, (a, b)
    accelerator.end_training()


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


def on_meta(width: int = 12, heads: int = 2) -> GPT:
    with torch.device("meta"):
        return GPT(width, heads).double()


@cache
def planned(method: str = "fresh") -> Plan:
    """Made on meta, on every rank alike; its student is ``on_meta(18, 3)``."""
    return net2net.widen(on_meta(), 1.5, WORDS, method=method, verify=False).plan


def sharded(model: nn.Module, mesh: DeviceMesh, **options: Any) -> nn.Module:
    """Every block for itself, and the rest."""
    for block in model.blocks.layers:  # type: ignore[union-attr]
        fully_shard(block, mesh=mesh, **options)
    fully_shard(model, mesh=mesh, **options)
    return model


def student_on(mesh: DeviceMesh) -> nn.Module:
    return sharded(on_meta(18, 3), mesh).to_empty(device="cpu")


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
        plan, whole = planned(method), teacher()
        wanted = plan.apply(whole)
        student = student_on(mesh)
        source = sharded(copy.deepcopy(whole), mesh)
        with Largest() as made:
            distributed.apply(plan, source, student)
        largest = max(one.numel() for one in whole.parameters())
        assert made.count <= largest * 1.5
        assert largest * 1.5 < max(one.numel() for one in wanted.parameters())
        assert_same(student, wanted)
        torch.testing.assert_close(student(WORDS), whole(WORDS), rtol=1e-9, atol=1e-9)


@check
def one_to_fsdp() -> None:
    """A teacher that rank 0 alone has."""
    plan, whole = planned(), teacher()
    wanted = plan.apply(whole)
    student = student_on(init_device_mesh("cpu", (WORLD,)))
    distributed.apply(plan, whole if dist.get_rank() == 0 else on_meta(), student)
    assert_same(student, wanted)
    with pytest.raises(PlanError, match="on no rank"):
        distributed.apply(plan, on_meta(), student)


@check
def hybrid() -> None:
    """To copies of parts (HSDP), and to parts of parts (tensor-parallel, on the same axis too)."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("outer", "inner"))
    whole = teacher()
    plan = planned()
    wanted = plan.apply(whole)
    student = student_on(mesh)
    distributed.apply(plan, whole, student)
    assert_same(student, wanted)

    model = on_meta(18, 3)
    for block in model.blocks.layers:  # type: ignore[union-attr]
        ways = {"linear1": ColwiseParallel(), "linear2": RowwiseParallel()}
        parallelize_module(block, mesh["inner"], ways)
    second = sharded(model, mesh["outer"]).to_empty(device="cpu")
    distributed.apply(plan, whole, second)
    assert_same(second, wanted)


@check
def an_optimiser_goes_on_from_a_smaller_mesh() -> None:
    """Two ranks train a teacher, four its student: as one process does. What is new is stepped in
    tensors of its own, parts of what each rank has."""
    young.SMALL = 0
    rank = dist.get_rank()
    pair, all_four = DeviceMesh("cpu", [0, 1]), init_device_mesh("cpu", (WORLD,))
    plan, whole = planned(), teacher()
    model = sharded(copy.deepcopy(whole), pair) if rank < 2 else on_meta()
    ours, alone = (torch.optim.AdamW(one.parameters(), lr=1e-2) for one in (model, whole))
    for seed in range(2):
        step(whole, alone, seed)
        if rank < 2:
            step(model, ours, seed)
    known = net2net.widen(whole, 1.5, WORDS, method="fresh")  # the seed is that of the plan
    known.carry(alone, rewarm=1.3, over=3)
    student = student_on(all_four)
    distributed.apply(plan, model, student)
    handle = distributed.carry(plan, model, student, ours, rewarm=1.3, over=3)
    assert handle.active
    for seed in range(2, 6):
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
    plan = planned()
    student = on_meta(18, 3).to_empty(device="cpu")
    with pytest.raises(PlanError, match="one tensor in the plan, and two here"):
        distributed.apply(plan, wrapped, student)  # as to_empty leaves it
    student.head.weight = student.words.weight  # type: ignore[union-attr, assignment]
    assert distributed.apply(plan, wrapped, student) is student
    distributed.carry(plan, wrapped, student, optimizer)
    assert_same(student, plan.apply(whole))
    step(DistributedDataParallel(student), optimizer, 1)
    names = {id(one) for one in student.parameters()}
    assert {id(one) for one in optimizer.state} == names


@check
def what_does_not_fit() -> None:
    plan = planned()
    mesh = init_device_mesh("cpu", (WORLD,))
    student = student_on(mesh)
    with pytest.raises(PlanError, match="made for a teacher with"):
        distributed.apply(plan, GPT(24, 2), student)
    with pytest.raises(PlanError, match="made for a student with"):
        distributed.apply(plan, teacher(), sharded(GPT(24, 2), mesh))
