"""Run a model without its weights, and write down what it did.

``trace.py`` records the operations of a run, ``meta_copy.py`` makes the copy without values that
runs (what cannot be run: ``refused.py``; one at a time: ``alone.py``), and ``traced_ints.py``
follows the integers that code reads as sizes back to where they come from. ``decisions.py``: where
code branches on its input. ``graph.py`` and ``flops.py`` read a trace: who produces and uses a
tensor, and what it costs. ``input_spec.py``: inputs as plain data.
"""
