"""Lessons: what is minimised in training, each one a small entry. A method may bring its own.

A lesson may have parameters that are trained with the student's and are no part of it, and may ask
the teacher. Both then count among the operations of a step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from net2net.errors import Net2NetError
from net2net.plan.plan import Plan


class LessonError(Net2NetError):
    """A lesson that this student cannot be given."""


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Over every position that is classified (one for each image)."""
    return F.cross_entropy(logits.flatten(0, -2), classes.flatten())


class Lesson(nn.Module):
    """The classes of the batches: what is taught unless a method says otherwise."""

    watches = False
    """Whether it looks at hidden values, which ``torch.compile`` would not show. A student that is
    watched is trained uncompiled."""

    def forward(self, student: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The student's logits of a batch, and the loss."""
        logits = student(x)
        return logits, cross_entropy(logits, y)

    def stepped(self, student: nn.Module) -> None:
        """The optimiser has made a step."""


class _OfTeacher(Lesson):
    """A lesson that asks the teacher, which stays as it is."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False)


class Prediction(_OfTeacher):
    """The paper's "feature prediction" (section 2.1): from each of its hidden layers, the student
    also predicts the values of the teacher's, through a head of its own.

    A hidden layer's values are what the layers above it read; a head is linear in the units at each
    position (for images, a 1×1 convolution). It predicts the values standardised over the batch, so
    that all layers weigh the same; the loss adds the squared errors' mean over the heads.
    """

    watches = True

    def __init__(self, teacher: nn.Module, student: nn.Module, example: Tensor) -> None:
        super().__init__(teacher)
        self.axes: dict[str, int] = {}
        """Layers that read hidden values, and where the units lie in what they read."""
        self.heads = nn.ModuleList()
        both = [_axes_of_units(model) for model in (teacher, student)]
        with _read_by(teacher, list(both[0])) as wanted, _read_by(student, list(both[1])) as seen:
            for model in (teacher, student):
                _evaluated(model, example)
        known = set()
        for path, values in wanted.items():
            hidden = path in seen and seen[path].requires_grad  # it depends on weights
            if hidden and id(values) not in known:  # what several layers read is predicted once
                known.add(id(values))
                self.axes[path] = axis = both[0][path]
                self.heads.append(nn.Linear(seen[path].shape[axis], values.shape[axis]))
        if not self.axes:
            raise LessonError(
                "The student has no layer of the teacher's names that reads hidden values, so it "
                "cannot predict any. Give a network whose layers keep their names as it grows."
            )

    def forward(self, student: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        paths = list(self.axes)
        with _read_by(self.teacher, paths) as wanted, torch.no_grad():
            self.teacher(x)
        with _read_by(student, paths) as seen:
            logits = student(x)
        missed = []
        for (path, axis), head in zip(self.axes.items(), self.heads, strict=True):
            predicted = head(seen[path].movedim(axis, -1))
            values = wanted[path].movedim(axis, -1).to(predicted)
            values = (values - values.mean()) / values.std().clamp_min(1e-3)
            missed.append(F.mse_loss(predicted, values))
        return logits, cross_entropy(logits, y) + torch.stack(missed).mean()


TEMPERATURE = 2.0
"""Of the soft predictions: at 1, a teacher that is sure says little more than the class."""


class Distillation(_OfTeacher):
    """Model compression, as distillation does it (Hinton et al., 2015): one half of the loss is for
    the classes, the other for the teacher's soft predictions."""

    def forward(self, student: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wanted = self.teacher(x)
        logits = student(x)
        found, wanted = (F.log_softmax(one / TEMPERATURE, -1) for one in (logits, wanted))
        apart = F.kl_div(found, wanted, log_target=True, reduction="none").sum(-1).mean()
        # Gradients shrink with the square of the temperature.
        return logits, (cross_entropy(logits, y) + TEMPERATURE**2 * apart) / 2


class Frozen(Lesson):
    """Weights that the student has from its teacher stay as they are, as in cascade-correlation
    (Fahlman and Lebiere, 1990); those of new units are trained, and what reads new units.

    Running statistics of norms are no weights, and follow the data.
    """

    def __init__(self, student: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.names: list[str] = []
        """Parameters of which a part is frozen; where, and at which values, is in buffers. A
        parameter that is frozen as a whole needs no gradient."""
        for name, parameter in student.named_parameters():
            ours = _from_teacher(plan, name, parameter.shape)
            if ours.all():
                parameter.requires_grad_(False)
            elif ours.any():
                self.register_buffer(f"ours{len(self.names)}", ours)
                self.register_buffer(f"values{len(self.names)}", parameter.detach().clone())
                self.names.append(name)

    @torch.no_grad()
    def stepped(self, student: nn.Module) -> None:
        # Zero gradients would not do: weight decay and momentum move what has none.
        for number, name in enumerate(self.names):
            ours, values = (self.get_buffer(f"{kind}{number}") for kind in ("ours", "values"))
            parameter = student.get_parameter(name)
            parameter.copy_(torch.where(ours, values, parameter))


def _from_teacher(plan: Plan, name: str, shape: torch.Size) -> Tensor:
    """Where a parameter of a padded student has its teacher's weights."""
    ours = torch.ones(shape, dtype=torch.bool)
    for axis in plan.recipes[name].axes:
        known = torch.from_numpy(axis.index) >= 0
        ours &= known.view([-1 if one == axis.dim else 1 for one in range(len(shape))])
    return ours


def _axes_of_units(model: nn.Module) -> dict[str, int]:
    """Linear and convolution layers, and the axis of units in what they read."""
    axes = {"in_features": -1, "in_channels": 1}
    return {
        path: axis
        for path, layer in model.named_modules()
        for name, axis in axes.items()
        if hasattr(layer, name) and isinstance(getattr(layer, "weight", None), Tensor)
    }


@contextmanager
def _read_by(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What these layers read when the model runs."""
    seen: dict[str, Tensor] = {}

    def note(path: str, layer: nn.Module, given: tuple[Any, ...]) -> None:
        seen[path] = given[0]

    layers = dict(model.named_modules())
    hooks = [layers[path].register_forward_pre_hook(partial(note, path)) for path in paths]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _evaluated(model: nn.Module, x: Tensor) -> None:
    """Run the model once, and leave it as it was."""
    training = model.training
    model.eval()(x)
    model.train(training)
