"""One model in a process of its own:
``python -m net2net_lab.zoo.worker FAMILY NAME FACTOR METHOD MEMORY``.

Prints one JSON object, the fields of ``Measurement``, as the last line. The parent watches the
time; the memory limit (bytes) is this process's own, so that Python can still say what it was
doing.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict

import torch

from net2net_lab.zoo.families import family
from net2net_lab.zoo.measure import describe, measure, out_of_memory
from net2net_lab.zoo.records import Measurement


def limit_memory(limit: int) -> None:
    """Bound what the process allocates, where the system can do that."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def work(family_name: str, name: str, factor: float, method: str) -> Measurement:
    """Build and measure a model."""
    torch.manual_seed(0)
    try:
        subject = family(family_name).build(name)
    except Exception as error:
        return Measurement().fail("limit" if out_of_memory(error) else "build", describe(error))
    return measure(subject, factor, method)


def main(family_name: str, name: str, factor: float, method: str, memory: int) -> None:
    """Measure within these limits, and write the result."""
    torch.set_num_threads(1)
    limit_memory(memory)
    with redirect_stdout(sys.stderr):  # some models print
        measured = work(family_name, name, factor, method)
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a library's threads may not keep it


if __name__ == "__main__":
    _, family_, name_, factor_, method_, memory_ = sys.argv
    main(family_, name_, float(factor_), method_, int(memory_))
