"""Net2DeeperNet: new layers that are identities.

``deepen.py`` is the whole way; ``identity.py`` has the layers and their plan, ``calibrate.py``
measures their batch norms. ``attach.py`` stacks blocks of the caller's own (``blocks.py``: as plain
data) on top of any module, where the values that arrive allow it (``ranges.py``).
"""
