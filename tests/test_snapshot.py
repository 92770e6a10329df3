"""The zoo's sample as it was before the house was rebuilt: its tables of spaces, word by word, and
the students of all spaces twice as wide."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_map

import net2net
from net2net_lab.zoo.families import family

from . import snapshot
from .lab.test_zoo_sample import MODELS

FILE = Path(__file__).with_name("snapshot_zoo.json")
KNOWN = json.loads(FILE.read_text()) if FILE.exists() else {}


@pytest.mark.parametrize(("name", "model"), MODELS, ids=[model for _, model in MODELS])
def test_as_before(name: str, model: str) -> None:
    pytest.importorskip(name)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        subject = family(name).build(model)
        found = []
        for dtype in (torch.float32, torch.float64):
            teacher = copy.deepcopy(subject.model).eval().to(dtype)
            inputs = tree_map(
                lambda x, dtype=dtype: x.to(dtype)
                if isinstance(x, torch.Tensor) and x.is_floating_point() else x,
                subject.inputs,
            )  # fmt: skip
            found.append(str(net2net.spaces(teacher, inputs)))
            grown = net2net.widen(teacher, 2.0, inputs, verify=False)
            found.append(snapshot.digest(grown.model))
    if snapshot.RECORDING:
        KNOWN[model] = found
        FILE.write_text(json.dumps(KNOWN, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    else:
        assert found == KNOWN[model]
