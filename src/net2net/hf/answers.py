"""A model's answers alone, without the features that it returns beside them."""

from __future__ import annotations

from typing import Any

from torch import nn

from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Inputs, trace


class Answers(nn.Module):
    """Of a model's output what is named as logits.

    Features beside them (``encoder_last_hidden_state``) are as wide as the stream, which could not
    grow if they had to stay.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """By name."""
        output = self.model(*args, **kwargs)
        return {name: value for name, value in output.items() if "logits" in name}


def gives_answers(model: nn.Module, inputs: Inputs) -> bool:
    """Whether anything in a model's output is named as logits."""
    return any("logits" in place for place in trace(meta_copy(model), inputs).outputs)
