"""Experiments that measure what growing is worth: a teacher, its students, and a report.

One idea per file, so that new work is a small entry: a data set in ``data/``, what is trained on it
by default in ``tasks``, a network in ``networks`` (``gpt``, ``keras_mnist``), a way to obtain a
student in ``methods``, what is compared with what in ``figures``, a loss in ``lessons``, an
optimiser or a decay in ``schedule``. A ``plan`` names one of each, ``run/`` carries it out,
``show/`` makes tables, plots and a report of the records; ``commands`` has the options.
``symmetry`` is apart: which methods' new units become units of their own.
"""
