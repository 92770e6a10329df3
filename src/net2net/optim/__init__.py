"""An optimiser goes on with the student: its parameters exchanged, its state grown by the plan.

``carry.py`` is the whole way. ``entries.py`` knows what optimisers keep, ``state.py`` grows that of
one parameter, ``states.py`` of all by name (an optimiser's, or a checkpoint's); ``groups.py`` says
which group each of the student's is in. ``own.py`` says which positions of a tensor were the
teacher's; the others are younger (``young.py``) than the optimiser's count of steps.
``carried.py`` sees to it that they are updated by their age (``age.py``): where they are rows, as
tensors of their own (``apart.py``).
"""
