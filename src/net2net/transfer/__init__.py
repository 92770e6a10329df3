"""Into a student that its own code built.

``transfer.py`` is the verb, ``request.py`` what is asked of it. ``made.py`` goes from two models to
a plan and its student, and ``told.py`` says what came of it. ``pair.py`` brings teacher and student
together: ``stacks.py`` says which block is which, ``longer.py`` which rows are new, ``kernels.py``
where more taps are zero, ``groups.py`` which groups of channels are larger, ``beside.py`` what
added blocks put beside the rest, ``gained.py`` which biases are new, ``headed.py`` of which part of
the student the teacher is all, ``experts.py`` which experts are copies; ``checks.py`` what cannot
be exact. What no unit tells of is a ``difference.py``. ``recipes.py``: where every tensor comes
from. ``weighed.py``: what copies of experts put out together. ``upcycle.py``: experts in place of
MLPs.
"""
