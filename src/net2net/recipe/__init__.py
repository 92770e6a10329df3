"""How one tensor of a student comes from one of the teacher's.

``recipe.py`` has the recipe as plain data: the map of every axis (``axis_map.py``), numbers that
are drawn (``draw.py``), of which two weights it is one (``factor.py``), what it is overwritten with
(``fill.py``), what holds several of the teacher's (``stacked.py``). ``run.py`` carries it out,
on a whole tensor or on a block of its rows, with the same bits (``grown.py``: of the teacher's
units); ``layout.py``: how it lies in memory, ``memory.py``: in which. ``measured.py`` measures
first what is taken of whole tensors.
"""
