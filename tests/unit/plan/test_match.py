"""Matching units by their graphs: what must not pass for the same."""

import pytest
import torch
from torch import Tensor, nn

from net2net.errors import GraphMismatchError
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.maps.methods import Method
from net2net.plan.match import match
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import trace


class Shuffled(nn.Module):
    """Channels meet channels in another order, which depends on how many there are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.head = nn.Linear(3, width), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        shuffled = h.view(len(x), 2, -1).transpose(1, 2).reshape(len(x), -1)
        result: Tensor = self.head(h + h.flip(1) * shuffled)
        return result


def inference(width: int) -> Inference:
    return infer([trace(meta_copy(Shuffled(width)), torch.zeros(2, 3))])


def test_units_of_one_signature_that_meet_in_another_order() -> None:
    """Of 6 channels, 0 and 5 meet each other. Of 10, 3 and 6 meet themselves too: two units on the
    same axes in the same operations."""
    teacher, student = inference(6), inference(10)
    assert student.ids(0).tolist() == [0, 1, 1, 3, 1, 1, 3, 1, 1, 0]
    pairs = teacher.groups.keys() & student.groups.keys()
    assert [0, 3] in [student.groups[key].components.tolist() for key in pairs]
    with pytest.raises(GraphMismatchError, match="differs at this width"):
        match(teacher, student, method=Method(), balanced=True, seed=0)
