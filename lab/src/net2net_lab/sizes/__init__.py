"""timm's families by their sizes: into which larger model `transfer` goes, and why not into others.

``pairs.py`` has the families, ``measure.py`` measures one pair (in a process of its own, by
``run.py``), ``table.py`` draws ``docs/sizes.md``. A family is one line in ``pairs.py``.
"""
