"""Carry out an experiment: the runs that are not complete yet, here or in other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from net2net_lab.experiments.plan import Experiment
from net2net_lab.experiments.run.faults import disk_told
from net2net_lab.experiments.run.results import RUNS, Results, load_results, save_experiment
from net2net_lab.experiments.run.runner import Progress, Runner, finish
from net2net_lab.experiments.run.waiting import Queue
from net2net_lab.experiments.run.workers import run_in_processes


def run_experiment(
    experiment: Experiment, out: Path, progress: Progress, workers: int = 1
) -> Results:
    """Do what is missing of an experiment, and return all of its runs.

    Args:
        workers: processes that runs are spread over; with one, all is done in this process.
    """
    experiment.machine.check()
    runner = Runner(experiment, out)  # reads the data: without them, nothing is left behind
    with disk_told():
        (out / RUNS).mkdir(parents=True, exist_ok=True)
        for left in (out / RUNS).glob("*.tmp"):  # of a process that was killed while it wrote
            left.unlink()
        save_experiment(experiment, out)
    todo = [key for key in experiment.keys if not runner.is_complete(key)]
    for key in experiment.keys:
        if key not in todo:
            progress(key, experiment.steps_of(key))
    queue = Queue(todo)
    if workers > 1 and len(todo) > 1:
        run_in_processes(runner, queue, progress, min(workers, len(todo)))
    else:
        with _threads(experiment.schedule.threads):
            while (next_key := queue.take()) is not None:
                runner.carry_out(next_key, progress)
                finish(runner, queue, next_key, progress)
    return load_results(out)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
