"""Runs in several processes, each with its own threads and its share of the machine.

A worker takes one run at a time and tells its steps through a pipe. It ignores Ctrl-C, which the
terminal sends to all, and ends when it is told to or when nobody is at the pipe's other end; what
it loses is since the last evaluation.
"""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from net2net_lab.experiments.plan import Experiment, Key
from net2net_lab.experiments.run.faults import out_of_memory
from net2net_lab.experiments.run.runner import Progress, Runner, finish
from net2net_lab.experiments.run.waiting import Queue


class WorkerError(Exception):
    """A run failed in another process, in a way that nobody foresaw."""


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    key: Key | None = None
    """What it does now."""


def run_in_processes(runner: Runner, queue: Queue, progress: Progress, count: int) -> None:
    """Do all runs of the queue.

    Raises:
        Net2NetError: one of them failed; the others have been ended.
        WorkerError: the same, with the traceback of the worker.
    """
    workers = [_started(runner) for _ in range(count)]
    try:
        while _give(workers, queue):
            busy = {worker.pipe: worker for worker in workers if worker.key is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                assert worker.key is not None
                match _received(worker, runner.experiment.schedule.batch_size):
                    case int(steps):
                        progress(worker.key, steps)
                    case None:
                        key, worker.key = worker.key, None
                        finish(runner, queue, key, progress)
                    case error:
                        raise error
    finally:
        _end(workers)


def _give(workers: list[_Worker], queue: Queue) -> bool:
    """Give runs to idle workers. Returns whether anything is being done."""
    for worker in workers:
        if worker.key is None and (key := queue.take()) is not None:
            worker.key = key
            with suppress(ConnectionError):  # it has ended, and receiving tells how
                worker.pipe.send(key)
    return any(worker.key is not None for worker in workers)


def _received(worker: _Worker, batch_size: int) -> Any:
    """What a worker says: steps done, None at the end of a run, or the error that ended it."""
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        if worker.process.exitcode == -signal.SIGKILL:  # the system's answer to a lack of memory
            return out_of_memory(f"run {worker.key}", batch_size)
        return WorkerError(
            f"The process of run {worker.key} ended with status {worker.process.exitcode}."
        )


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(10)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def _started(runner: Runner) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_work, args=(runner.experiment, runner.out, theirs), daemon=True
    )
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _work(experiment: Experiment, out: Path, pipe: Connection) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    torch.set_num_threads(experiment.schedule.threads)
    runner = None
    try:
        while True:
            key = pipe.recv()
            try:
                runner = runner or Runner(experiment, out)
                runner.carry_out(key, lambda _, steps: pipe.send(steps))
            except (EOFError, ConnectionError):
                raise
            except Exception as error:
                pipe.send(_portable(error))
            else:
                pipe.send(None)
    except (EOFError, ConnectionError):
        return


def _portable(error: Exception) -> Exception:
    """The error, or its text where it cannot pass through a pipe; with its traceback if it is none
    of those that are raised on purpose."""
    from net2net.errors import Net2NetError

    if isinstance(error, Net2NetError):
        try:
            return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]
        except Exception:
            return Net2NetError(str(error))
    return WorkerError("".join(traceback.format_exception(error)))
