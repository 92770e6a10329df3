"""Layers and blocks that return what they are given.

``insertion.py``: identity layers after a module, as data, and how they get there. ``blocks.py``: a
row of layers as plain data. ``calibrate.py`` measures what their batch norms have to undo,
``ranges.py`` says which values can arrive. ``fills.py``: what makes a block of a traced model
return its input.
"""
