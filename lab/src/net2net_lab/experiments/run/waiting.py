"""Which run is next: a seed's arms wait for its teacher."""

from __future__ import annotations

from collections.abc import Sequence

from net2net_lab.experiments.plan import TEACHER, Key


class Queue:
    """Runs that are to be done, in their order."""

    def __init__(self, todo: Sequence[Key]) -> None:
        self._waiting = list(todo)
        self._awaited = {key.seed for key in todo if key.arm == TEACHER}
        """Seeds whose teacher is not trained yet."""

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Key | None:
        """The first run that can begin; None if none can, yet or at all."""
        for key in self._waiting:
            if key.arm == TEACHER or key.seed not in self._awaited:
                self._waiting.remove(key)
                return key
        return None

    def finished(self, key: Key, usable: bool) -> list[Key]:
        """A run has ended. Returns the runs that can never begin, for a teacher is no use."""
        if key.arm != TEACHER:
            return []
        self._awaited.discard(key.seed)
        dropped = [] if usable else [one for one in self._waiting if one.seed == key.seed]
        self._waiting = [one for one in self._waiting if one not in dropped]
        return dropped
