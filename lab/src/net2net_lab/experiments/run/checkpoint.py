"""Checkpoints: a run that was killed goes on from its last evaluation, to the same numbers."""

from __future__ import annotations

import io
import logging
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from net2net.files import write_whole
from net2net_lab.experiments.run.records import Evaluation

logger = logging.getLogger(__name__)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain data, all or nothing."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any] | None:
    """What ``save`` wrote, on the CPU; None if there is nothing that can be read."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        return None
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        logger.warning("%s cannot be read, so what it keeps is done again.", path.name)
        return None
    return content if isinstance(content, dict) else None


def save_progress(
    path: Path, state: dict[str, Any], evaluations: list[Evaluation], seconds: float
) -> None:
    """Keep the state of a training and what it has measured so far."""
    done = [asdict(one) for one in evaluations]
    save(path, {"state": state, "evaluations": done, "seconds": seconds})


def load_progress(path: Path) -> tuple[dict[str, Any], list[Evaluation], float] | None:
    """What ``save_progress`` kept, if anything."""
    found = load(path)
    if found is None:
        return None
    return found["state"], [Evaluation(**one) for one in found["evaluations"]], found["seconds"]
