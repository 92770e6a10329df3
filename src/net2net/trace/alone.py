"""One run of a model at a time.

A run changes what belongs to the whole process: hooks of all modules, the state of random numbers,
filters of warnings, torch's switches, what functions keep. Whoever runs a model holds this lock
meanwhile.
"""

from __future__ import annotations

import threading
from typing import Any

from net2net.trace.caches import Caches


class Alone:
    """A lock for one thread, which may take it again. What functions keep of a run is forgotten at
    its end."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._caches = Caches()
        self._misses: dict[Any, int] = {}

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._depth:
            self._misses = self._caches.misses()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        try:
            if self._depth == 1:
                self._caches.forget_since(self._misses)
        finally:
            self._depth -= 1
            self._lock.release()


ALONE = Alone()
