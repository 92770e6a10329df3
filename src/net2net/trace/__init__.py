"""Run a model without its weights, and write down what it did.

``trace.py`` records the operations of a run, ``hollow.py`` makes the copy without values that runs,
and ``provenance.py`` follows the integers that code reads as sizes back to where they come from.
``graph.py`` and ``flops.py`` read a trace: who produces and uses a tensor, and what it costs.
``blank.py``: inputs as plain data.
"""
