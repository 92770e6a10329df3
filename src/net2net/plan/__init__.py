"""From what was asked for to a plan: which unit of the student copies which of the teacher's.

``globs.py`` finds what a name means, ``widths.py`` its new size, ``feasible.py`` the nearest that
can be had; ``runnable.py`` names those at which a student that stops would run. ``maps.py`` chooses
what each new unit copies, ``match.py`` makes of it one index for every parameter axis, from the
traces of teacher and student (``stand_in.py``: a student with values, where code branches on them).
``rescale.py``: heads of more features; ``outputs.py``: outputs that grow. ``plan.py`` holds it all
as plain data.
"""
