"""Engines: who carries runs out. A run is whole in itself: it needs nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from net2net.errors import Net2NetError
from net2net_lab.race.records import Record, Spec
from net2net_lab.race.train import carry_out


class EngineError(Net2NetError):
    """An engine that is not installed."""


Engine = Callable[[Sequence[Spec], int], Iterator[Record]]
"""From runs, and how many at a time, to their records as they come."""


def local(specs: Sequence[Spec], workers: int) -> Iterator[Record]:
    """Processes of this machine; with one worker, this process."""
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch=workers)
    yield from pool(delayed(carry_out)(spec) for spec in specs)


def ray(specs: Sequence[Spec], workers: int) -> Iterator[Record]:
    """A cluster of Ray, each run a task of one core; the lab has to be installed on all machines.

    Raises:
        EngineError: Ray is not installed.
    """
    try:
        import ray as cluster
    except ImportError as error:
        raise EngineError(
            "Ray is not installed. Install the lab's extra (pip install 'net2net-lab[ray]'), or "
            "take --engine local."
        ) from error
    cluster.init(ignore_reinit_error=True)
    remote = cluster.remote(num_cpus=1)(carry_out)
    waiting = list(reversed(specs))
    running: list[object] = []
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(remote.remote(waiting.pop()))
        done, running = cluster.wait(running)
        yield from cluster.get(done)


ENGINES: dict[str, Engine] = {"local": local, "ray": ray}
