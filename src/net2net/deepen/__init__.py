"""Net2DeeperNet: new layers that are identities.

``deepen.py`` is the whole way. ``layers.py`` makes a student with new layers, at the ``places.py``
that a glob means: ``after_layer.py`` puts a layer like it behind a layer, if such a kind fits there
(``fits.py``), ``after_block.py`` a copy behind a module around layers, and ``attach.py`` stacks
blocks of the caller's own, or the paper's ``pair.py``, on top of any module, where the values that
arrive allow it. ``stacks.py`` makes one with longer stacks of residual blocks: ``how.py`` says what
can be asked, ``kinds.py`` tells the blocks apart, ``longer.py`` says where new ones stand,
``counted.py`` finds what code counts them by, ``returned.py`` where what they return has gone;
``both.py``: layers in a model whose stacks get longer too. ``made.py`` is what all hand back. All
stand on ``identity/``.
"""
