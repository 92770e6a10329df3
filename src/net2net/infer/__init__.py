"""From a trace to spaces: units that can only grow together.

``infer.py`` walks over a trace and applies one of the ``rules/`` to each operation. Rules speak in
``relations.py``, of tensors of units (``values.py``, ``units.py``). What they tie becomes the
groups of interchangeable units in ``inference.py`` with three cases of their own: weights that are
tied (``tied.py``), heads of more features (``head_size.py``), and heads that queries share
(``shared_heads.py``; where code shows them or not, ``shown_once.py``), of which ``inside.py`` says
how they grow; ``shares.py`` says which weights
can be divided, ``sums.py`` what makes up for copies where none can (by ways in ``multiplied.py``),
``filled.py`` what becomes of tensors that code fills piece by piece, ``chosen.py`` what code
chooses among. ``size_uses.py`` finds integers that are sizes of groups, ``branches.py`` what the
code decides by its inputs (``made_axes.py``: axes of size 1 that it makes itself); ``together.py``
which groups grow only together; ``spaces.py`` is the table for people.
``new_units/`` tells what units that copy nothing may hold.
"""
