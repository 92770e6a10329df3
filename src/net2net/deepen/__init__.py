"""Net2DeeperNet: new layers that are identities.

``deepen.py`` is the whole way, to the ``places.py`` that a glob means. ``after_layer.py`` puts a
layer like it behind a layer, ``after_block.py`` a copy behind a module around layers, and
``attach.py`` stacks blocks of the caller's own on top of any module, where the values that arrive
allow it. All stand on ``identity/``.
"""
