"""Callbacks of transformers' Trainer: grow at a step, and go on with what is new being young."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from net2net.errors import FolderError
from net2net.files import FolderPath
from net2net.hf.checkpoint import carried, grow_checkpoint
from net2net.optim.carried import Carried

log = logging.getLogger(__name__)


class GrowthCallback(TrainerCallback):
    """Stops a Trainer at a step, and grows the checkpoint that it saves there.

    The larger one lies beside it (``checkpoint-500-grown``), and is ``grown`` afterwards. A Trainer
    of the model in it goes on with ``resume_from_checkpoint``.

    Args:
        at: the step.
        options: as for ``grow_checkpoint``: widths or numbers of the configuration, method, state.
    """

    def __init__(self, at: int, **options: Any) -> None:
        self.at, self.options = at, options
        self.grown: Path | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Save and stop."""
        if state.global_step == self.at:
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Grow what was saved."""
        if state.global_step == self.at and state.is_world_process_zero:
            source = Path(args.output_dir) / f"checkpoint-{self.at}"
            target = source.with_name(f"{source.name}-grown")
            grow_checkpoint(source, target, **self.options)
            self.grown = target
            log.info(
                "grown at step %d: load the model in %s, and train with "
                "resume_from_checkpoint of that folder and a YoungCallback of it", self.at, target,
            )  # fmt: skip


class YoungCallback(TrainerCallback):
    """Scales the updates of what is new while it is younger than the optimiser's count of steps.

    Args:
        folder: the checkpoint that ``grow_checkpoint`` wrote.
    """

    def __init__(self, folder: FolderPath) -> None:
        self.folder = folder
        self.handle: Carried | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The optimiser has been loaded."""
        self.handle = carried(given["optimizer"], given["model"], self.folder)


def train_growing(
    make_trainer: Callable[[Path | None], Trainer], stages: Sequence[tuple[int, Mapping[str, Any]]]
) -> Trainer:
    """A whole life: train, grow at each of these steps, and train to the end.

    Args:
        make_trainer: a Trainer of the model in a folder; of the first one for None. All have one
            ``max_steps``, that of the whole life, so that one schedule goes through it.
        stages: steps, and how the model grows there, as ``GrowthCallback`` takes it.

    Returns:
        The last Trainer, which has trained to its end.

    Raises:
        FolderError: a Trainer came to its end before a step at which it should have grown.
    """
    folder: Path | None = None
    for at, options in stages:
        trainer = _trainer(make_trainer, folder)
        growth = GrowthCallback(at, **options)
        trainer.add_callback(growth)
        trainer.train(resume_from_checkpoint=None if folder is None else str(folder))
        folder = growth.grown
        if folder is None:
            raise FolderError(
                f"training ended before step {at}, so nothing has grown there. Give steps in "
                "order, each before max_steps."
            )
    trainer = _trainer(make_trainer, folder)
    trainer.train(resume_from_checkpoint=None if folder is None else str(folder))
    return trainer


def _trainer(make_trainer: Callable[[Path | None], Trainer], folder: Path | None) -> Trainer:
    trainer = make_trainer(folder)
    if folder is not None:
        trainer.add_callback(YoungCallback(folder))
    return trainer
