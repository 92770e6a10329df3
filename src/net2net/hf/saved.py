"""What ``save_pretrained`` would write of a model without values: which of its tensors goes into
which file, under which name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from net2net.hf.shards import WHOLE


class NotAsItIsError(Exception):
    """Why a tensor is on disk in another form than in the model."""


@dataclass(frozen=True)
class Saved:
    """The files of a model.

    Attributes:
        files: the name of a file → names on disk → the model's names of the tensors in it.
        index: where there are several, the document that says which has what.
    """

    files: Mapping[str, Mapping[str, str]]
    index: Mapping[str, Any] | None


def saved(model: Any, max_shard_size: int | str) -> Saved:
    """The files of a model.

    Raises:
        NotAsItIsError: transformers would make other tensors of the model's when it saves them.
    """
    from huggingface_hub import split_torch_state_dict_into_shards
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.modeling_utils import remove_tied_weights_from_state_dict

    state = model.state_dict()
    for name in model._keys_to_ignore_on_save or ():
        state.pop(name, None)
    state = remove_tied_weights_from_state_dict(state, model)
    owned = {tensor.untyped_storage()._cdata: name for name, tensor in state.items()}
    shapes = {name: (tensor.shape, tensor.stride(), tensor.dtype) for name, tensor in state.items()}
    written = revert_weight_conversion(model, state)
    names = {}
    for name, tensor in written.items():
        own = owned.get(tensor.untyped_storage()._cdata)
        if own is None or shapes[own] != (tensor.shape, tensor.stride(), tensor.dtype):
            raise NotAsItIsError(f"'{name}' is on disk in another form than in the model")
        names[name] = own
    split = split_torch_state_dict_into_shards(
        written, filename_pattern=WHOLE.replace(".", "{suffix}."), max_shard_size=max_shard_size
    )
    files = {
        file: {name: names[name] for name in there}
        for file, there in split.filename_to_tensors.items()
    }
    numbers = {"total_parameters": model.num_parameters(), **split.metadata}
    index = {"metadata": numbers, "weight_map": split.tensor_to_filename}
    return Saved(files, index if split.is_sharded else None)


def save_config(model: nn.Module, folder: Path) -> None:
    """Write what ``save_pretrained`` writes besides weights, of which it removes others."""
    kind: Any = model
    with TemporaryDirectory(dir=folder) as apart:
        kind.save_pretrained(apart, state_dict={})
        for path in Path(apart).iterdir():
            path.replace(folder / path.name)
