"""Factorised layers: one layer becomes two, whose product it is.

``factorize.py`` is the verb. ``layers.py`` says which layers can be split and how wide they have to
be between, ``pairs.py`` what an activation between them costs.
"""
