"""From recipes and edits of structure to a student: the targets that a plan can be applied to.

``module.py``: a copy of the teacher (or of the student that the user built), its structure edited,
with the student's tensors. ``state_dict.py``: names and tensors in, names and tensors out.
``fingerprint.py``: what a plan knows of the tensors of both. The edits
(``edits.py``): integers that modules and configurations keep (``attributes.py``, ``configs.py``,
found by ``config_search.py``, tried on few blocks by ``shallow.py``, built and compared by
``builds.py``, without weights by ``unfilled.py``; why none fits: ``unsayable.py``; under
adapters: ``exchanged.py``; those that count
blocks: ``progressions.py``, ``depth_configs.py``; numbers that classes make of a configuration:
``config_numbers.py``; the field that says an ε: ``config_floats.py``; numbers kept by name:
``kept_numbers.py``), a graph of the code (``exported_graph.py``), longer lists of blocks
(``extend_list.py``), two layers for one (``split_layer.py``), inserted layers
(``identity/insertion.py``).
"""
