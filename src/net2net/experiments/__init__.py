"""Experiments that measure what growing is worth: a teacher, its students, and a report.

One idea per file, so that new work is a small entry: a data set in ``data`` (text in ``texts``, a
user's images in ``folders``), what is trained on it by default in ``tasks``, a network in
``networks`` (``gpt``, ``keras_mnist``), a way to obtain a student in ``methods``, what is compared
with what in ``figures``, a loss in ``lessons``, an optimiser or a decay in ``schedule``. ``run``
carries out an experiment (``plan``), run by run (``runner``), each in its stages (``life``), in
several processes if there are cores (``workers``). What was recorded becomes numbers in
``summary``, sentences in ``findings``, and a ``report``; ``commands`` has the options.
"""
