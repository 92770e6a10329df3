"""Run a model without its weights, and write down what it did.

``trace.py`` records the operations of a run, one at a time (``alone.py``; ``caches.py``: what
functions keep of it), of a copy without values (``meta_copy.py``; ``closures.py`` and
``shared.py``: what is no plain part of a copy; ``refused.py``: what cannot be copied or run), as
plain data (``recorded.py``; ``rejoined.py``: pieces that are put side by side again;
``unfused.py``: products that are added at once, ``spelled.py``: what else code may spell in
several ways, ``lengths.py``: weights of given lengths).
``traced_ints.py`` follows the integers that code reads as sizes back to where they come from,
``decisions.py`` finds where it branches on its input.
``graph.py``, ``needed.py`` and ``flops.py`` read a trace: who produces and uses a tensor, which
operations matter, and what they cost.
``input_spec.py``: inputs as plain data.
"""
