"""What a student's tensors are besides their values: how they lie in memory, and fit to train."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import net2net
from tests.helpers import image_model, noise, randomise, same_bits, tensors

GROWTHS: dict[str, Callable[[nn.Module, Any], net2net.Growth]] = {
    "widen": lambda model, x: net2net.widen(model, 2.0, x),
    "deepen": lambda model, x: net2net.deepen(model, {"3": 1}, x),
    "transfer": lambda model, x: net2net.transfer(
        model, net2net.widen(model, 2.0, x).model.to(memory_format=torch.contiguous_format), x
    ),
}


@pytest.mark.parametrize("how", GROWTHS)
def test_channels_that_lie_last_do_so_in_the_student(how: str) -> None:
    teacher, x = image_model(), noise(2, 3, 8, 8)
    plain = GROWTHS[how](teacher, x).model
    last = GROWTHS[how](copy.deepcopy(teacher).to(memory_format=torch.channels_last), x).model
    assert same_bits(plain, last)
    kernels = [tensor for tensor in tensors(last).values() if tensor.ndim == 4]
    assert kernels and not any(tensor.is_contiguous() for tensor in kernels)
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in kernels)
    assert all(tensor.is_contiguous() for tensor in tensors(plain).values())


def test_volumes_lie_as_the_teachers() -> None:
    teacher = randomise(nn.Sequential(nn.Conv3d(2, 4, 2), nn.ReLU(), nn.Conv3d(4, 2, 2)))
    teacher.to(memory_format=torch.channels_last_3d)
    student = net2net.widen(teacher, 2.0, noise(2, 2, 4, 4, 4)).model
    for kernel in (student[0].weight, student[2].weight):
        assert kernel.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("how", GROWTHS)
def test_a_student_made_in_inference_mode_can_be_trained(how: str) -> None:
    teacher, x = image_model(), noise(2, 3, 8, 8)
    with torch.inference_mode():
        student = GROWTHS[how](teacher, x).model
    assert same_bits(student, GROWTHS[how](teacher, x).model)
    student.train()(x).sum().backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_a_model_made_in_inference_mode_makes_a_student_that_can_be_trained() -> None:
    with torch.inference_mode():
        teacher = image_model()
    x = noise(2, 3, 8, 8)
    for grow in GROWTHS.values():
        grow(teacher, x).model.train()(x).sum().backward()
