"""Net2WiderNet: a wider network of the same class that computes the same.

``widen.py`` is the whole way: from what is asked for (``request.py``) over the student at its new
widths (``student.py``, which tries some by ``attempt.py``; at those that a configuration can say by
``loadable.py``; a graph of the code where its class cannot follow: ``graph_instead.py``) to the
plan and the student (``made.py``; ``blamed.py``: where that computes something else) and the report
(``told.py``). ``estimate.py``: the same without the student.
"""
