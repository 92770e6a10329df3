"""One machine for all that returns what it is given, new layers and added blocks alike.

``layers.py`` says what fills a single layer or norm. ``insertion.py`` puts new layers after a
module (``blocks.py``: blocks as plain data; ``residual.py``: a branch beside what it is given),
``fills.py`` finds in a trace what makes a whole block an identity, or the turn of the loop around
it (``turn.py``). ``ranges.py``: which values
arrive, where an activation has to leave them as they are; ``calibrate.py``: what a norm has to
undo.
"""
