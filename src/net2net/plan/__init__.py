"""From what was asked for to a plan: which unit of the student copies which of the teacher's.

``globs.py`` finds what a name means, ``inside_asked.py`` whether heads grow inside, ``widths.py``
its new size, ``feasible.py`` the nearest that can be had; ``runnable.py`` names those at which a
student that stops would run, ``blame.py`` the spaces without which one holds. ``match.py`` makes
one map for every parameter axis, from the traces of teacher and student (``value_proxy.py``: a
student with values, where code branches on them; ``choices.py``: how often there may be units that
a router takes the best of); ``choose.py`` says which new units a group gets, ``new_positions.py``
what those that copy nothing are on an axis, ``initial.py`` how layers initialise themselves,
``steepest.py`` what reads zero units, by the gradient of a loss, ``calibrated.py`` which statistics
new units have behind batch norms.
``rescale.py``: heads of more features; ``numbers.py``: numbers that code makes of sizes, and
``compensate.py``: what makes up for them; ``outputs.py``: outputs that grow. ``widening.py``,
``deepening.py``, ``factoring.py`` and ``lengthening.py`` (of stacks, where new blocks stand as
``orders.py`` says) make the recipes. ``plan.py`` holds it all as plain data, ``document.py`` writes
it, ``format_1.py`` reads what version 0.1 wrote.
"""
