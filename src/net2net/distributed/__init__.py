"""Growth on many machines: models whose parameters lie in parts on several processes.

    with torch.device("meta"):
        teacher = Model()
    grown = net2net.widen(teacher, 1.5, inputs, verify=False)   # alike on every rank, no weights
    student = fully_shard(grown.model).to_empty(device="cuda")
    net2net.distributed.apply(grown.plan, sharded_teacher, student)
    handle = net2net.distributed.carry(grown.plan, sharded_teacher, student, optimizer)

``apply.py`` fills a student, ``carry.py`` lets an optimiser go on; ``gather.py`` brings what they
need together, one tensor at a time, and ``rank.py`` makes what a rank has of a tensor. ``dcp.py``
grows what torch.distributed.checkpoint saved, in one process: ``stored.py`` reads and writes it one
by one, ``stored_models.py`` and ``stored_optimizers.py`` say what stands in whose place.
"""

from net2net.distributed.apply import apply
from net2net.distributed.carry import carry
from net2net.distributed.dcp import grow_dcp

__all__ = ["apply", "carry", "grow_dcp"]
