"""A record of what the library made before its house was rebuilt: every student that the tests make
(what is drawn at random excepted), in the model's type and in float64 and float32, and every table
of spaces. It is compared with until the rebuilding is done, and deleted then.

``SNAPSHOT=record pytest`` writes ``snapshot.json``; otherwise what is known there has to be equal.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import currently_in_test_context
from torch import nn

import net2net

FILE = Path(__file__).with_name("snapshot.json")
RECORDING = os.environ.get("SNAPSHOT") == "record"
KNOWN: dict[str, list[str]] = json.loads(FILE.read_text()) if FILE.exists() else {}
HITS = {"found": 0, "new": 0}


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def digest(model: nn.Module) -> str:
    """Names, types, shapes and bits of all tensors."""
    found = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in tensors(model).items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if not tensor.is_meta:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            found.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return found.hexdigest()[:12]


def said(item: Any) -> str:
    """Arguments without the addresses of functions."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(item))


def compare(key: str, value: str) -> None:
    if RECORDING:
        known = KNOWN.setdefault(key, [])
        if value not in known:
            known.append(value)
    elif key in KNOWN:
        HITS["found"] += 1
        assert value in KNOWN[key], f"the snapshot has {KNOWN[key]} for {key}, and this is {value}"
    else:
        HITS["new"] += 1


def drawn(plan: Any) -> bool:
    """Whether something in it is drawn at random."""
    text = plan.to_json()
    document = json.loads(text)
    return bool(document.get("noise")) or bool(re.search(r"[\[ ]-1[,\]]", text))


def students(growth: Any, models: list[nn.Module]) -> str:
    result = [digest(growth.model)]
    for dtype in (torch.float64, torch.float32):
        try:
            converted = [copy.deepcopy(model).to(dtype) for model in models]
            if len(converted) == 1:
                result.append(digest(growth.plan.apply(converted[0])))
            else:
                result.append(digest(growth.plan.apply(converted[0], student=converted[1])))
        except Exception as error:
            result.append(type(error).__name__)
    return " ".join(result)


def key_of(verb: str, models: list[nn.Module], rest: tuple[Any, ...], options: Any) -> str:
    options = {k: v for k, v in options.items() if k not in {"calibrate", "inputs"}}
    text = " ".join([verb, *map(digest, models), said(rest), said(sorted(options.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def watched(verb: str, function: Callable[..., Any], models: int) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        given = [model for model in args[:models] if isinstance(model, nn.Module)]
        drawing = options.get("noise") or options.get("method") == "random_pad"
        if len(given) < models or currently_in_test_context() or drawing:
            return result
        asked = args[models : models + 1] if verb in {"widen", "deepen"} else ()
        key = key_of(verb, given, asked, options)
        if verb == "spaces":
            compare(key, hashlib.sha256(str(result).encode()).hexdigest()[:12])
        elif not drawn(result.plan):
            compare(key, students(result, given))
        return result

    return call


def install() -> None:
    for verb, models in {"widen": 1, "deepen": 1, "spaces": 1, "transfer": 2}.items():
        setattr(net2net, verb, watched(verb, getattr(net2net, verb), models))


def finish() -> None:
    if RECORDING:
        FILE.write_text(json.dumps(KNOWN, indent=0, sort_keys=True) + "\n")
