"""Experiments that measure what growing is worth: the teacher, its students, and a report.

One idea per file, so that new work is a small entry: a data set in ``data`` (text in ``texts``, a
user's images in ``folders``), a model in ``models`` (or ``gpt``, ``keras_mnist``), a task in
``tasks``, a way to obtain a student in ``arms``. ``run`` carries out a plan of runs and ``render``
draws what was recorded.
"""
