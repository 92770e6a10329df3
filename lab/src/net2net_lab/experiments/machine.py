"""What the experiments run on: a device, its arithmetic, and what else a record is told about."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

import net2net
from net2net.errors import Net2NetError


class DeviceError(Net2NetError):
    """A device that is not there."""


@dataclass(frozen=True)
class Machine:
    """Where and in which arithmetic a model is trained."""

    device: str = "cpu"
    autocast: bool = False
    """Compute in bfloat16 where PyTorch deems it safe. Weights stay in float32."""
    compile: bool = False

    def check(self) -> None:
        """Raises:
        DeviceError: nothing can be computed on the device.
        """
        try:
            torch.ones(1, device=self.device).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            there = ["cpu", *([_accelerator()] if _accelerator() else [])]
            raise DeviceError(
                f"Nothing can be computed on the device '{self.device}' "
                f"({str(error).splitlines()[0].rstrip('.')}). Give one of: {', '.join(there)}."
            ) from error

    def arithmetic(self) -> AbstractContextManager[object]:
        if not self.autocast:
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)

    @contextmanager
    def random(self, seed: int) -> Iterator[None]:
        """PyTorch's own random numbers from a seed, and afterwards as they were."""
        kind = torch.device(self.device).type
        accelerators = [] if kind == "cpu" else range(torch.get_device_module(kind).device_count())
        with torch.random.fork_rng(accelerators, device_type="cuda" if kind == "cpu" else kind):
            torch.manual_seed(seed)
            yield


def _accelerator() -> str:
    found = torch.accelerator.current_accelerator(check_available=True)
    return found.type if found else ""


def random_state(device: str) -> list[torch.Tensor]:
    """Of the generators that training on this device draws from."""
    kind = torch.device(device).type
    states = [torch.get_rng_state()]
    return states if kind == "cpu" else [*states, torch.get_device_module(kind).get_rng_state()]


def set_random_state(device: str, states: list[torch.Tensor]) -> None:
    """Go on with the random numbers of ``random_state``."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.get_device_module(torch.device(device).type).set_rng_state(states[1])


def environment(device: str) -> dict[str, str]:
    """Versions, commit and hardware, for the record."""
    kind = torch.device(device).type
    name = platform.processor() or platform.machine()
    if kind != "cpu":
        name = torch.get_device_module(kind).get_device_name(device)
    return {
        "net2net": net2net.__version__,
        "commit": _commit(Path(net2net.__file__).parent),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": f"{device} ({name})",
        "cores": str(os.cpu_count()),
    }


def _commit(folder: Path) -> str:
    """Of the sources, with a plus if they were changed since; "unknown" outside of a checkout."""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+",
             "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()
