"""Carry a plan out, on a copy of the teacher.

``apply.py`` selects and divides tensors, ``attributes.py`` sets the integers that modules keep of
their sizes, ``configs.py`` finds those that the model's class is built from. ``literals.py`` makes
a graph of the model where sizes are written into its code.
"""
