"""The race: which growth in the middle of a training saves compute, its teacher's counted.

``tasks.py`` has what is learnt, and which network (``nets.py``) is small and large; ``arms.py`` the
ways to get there: methods, what the optimiser keeps, sizes on the way, each one a small entry.
``grow.py`` makes one network the next, ``train.py`` is one run, ``optimisers.py`` what makes its
steps. ``plan.py`` says which runs a stage has, from the ``records.py`` of the stages before
(``rates.py``: the learning rates that these settle); ``engine.py`` carries runs out, here or on
many machines. ``ranks.py`` and ``statistics.py`` judge, ``choices.py`` says what one choice does
all else alike; ``tables.py`` and ``curves.py`` show;
``command.py`` is what is typed, ``demo.py`` a small race of few arms, ``progressive.py`` one way to
grow, of one's own choice.
"""
