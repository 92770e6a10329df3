"""How long an experiment will take: by the seconds that a step of each arm took so far."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from net2net_lab.experiments.plan import Key


class Estimate:
    """The time that is left. Students are slower than their teacher, so it is kept by arm."""

    def __init__(
        self, steps: Mapping[Key, int], workers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left = dict(steps)
        self._workers = workers
        self._clock = clock
        self._last: dict[Key, float] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._steps: Counter[str] = Counter()

    def update(self, key: Key, steps: int) -> None:
        """So many steps more are done. What comes first tells where the run begins, so its time is
        not known."""
        now = self._clock()
        if key in self._last:
            self._seconds[key.arm] += now - self._last[key]
            self._steps[key.arm] += steps
        self._last[key] = now
        self._left[key] -= steps

    def is_done(self, key: Key) -> bool:
        return self._left[key] <= 0

    def runs(self) -> tuple[int, int]:
        """How many runs are done, and how many there are."""
        return sum(map(self.is_done, self._left)), len(self._left)

    def seconds_left(self) -> float | None:
        """None as long as nothing is known."""
        if not self._steps.total():
            return None
        usual = sum(self._seconds.values()) / self._steps.total()
        work = 0.0
        for key, left in self._left.items():
            known = self._steps[key.arm]
            work += left * (self._seconds[key.arm] / known if known else usual)
        done, runs = self.runs()
        return work / max(1, min(self._workers, runs - done))

    def __str__(self) -> str:
        left = self.seconds_left()
        if left is None:
            return ""
        return f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left"
