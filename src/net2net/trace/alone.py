"""One run of a model at a time.

A run changes what belongs to the whole process: hooks of all modules, the state of random numbers,
filters of warnings, torch's switches. Whoever runs a model holds this lock meanwhile.
"""

from __future__ import annotations

import threading

ALONE = threading.RLock()
