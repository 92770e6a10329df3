"""Net2DeeperNet: new layers that are identities.

``deepen.py`` is the whole way. ``attach.py`` stacks blocks of the caller's own on top of any
module, where the values that arrive allow it. Both stand on ``identity/``.
"""
