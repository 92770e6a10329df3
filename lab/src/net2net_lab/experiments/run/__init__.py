"""Carry out an experiment: from its plan to records.

``run.py`` does what is missing, run by run (``runner.py``), in several processes if there are cores
(``workers.py``, ``waiting.py``: who waits for whom). A run is a ``life.py`` of one or more stages,
each a ``train.py``, kept in a ``checkpoint.py`` on the way and in ``records.py`` at its end.
``results.py``: all records of a directory. ``faults.py``: what can happen to a machine;
``estimate.py``: the time left.
"""
