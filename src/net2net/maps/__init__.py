"""Kinds of new units, one small file each (``copy.py``, ``random.py``), and the methods that users
name (``methods.py``)."""
