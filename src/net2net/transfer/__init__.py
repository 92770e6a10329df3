"""A teacher's weights in a larger student that its own code built.

``transfer.py`` is the whole way; ``stacks.py`` finds which blocks were added, ``silence.py`` makes
them return their input, ``checks.py`` refuses what cannot be exact, ``plan.py`` holds it as plain
data.
"""
