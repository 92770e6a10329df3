"""Into a student that its own code built.

``transfer.py`` is the verb. ``pair.py`` brings teacher and student together: ``stacks.py`` says
which block is which, ``longer.py`` which rows are new, ``kernels.py`` where more taps are zero,
``groups.py`` which groups of channels are larger, ``beside.py`` what added blocks put beside the
rest, ``gained.py`` which biases are, ``headed.py`` of which part of the student the teacher is all;
``checks.py`` what cannot be exact. ``recipes.py``:
where every tensor comes from. ``upcycle.py``: experts in place of MLPs.
"""
