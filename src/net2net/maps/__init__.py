"""How new units are made: the methods that users name (``methods.py``), the paper's random map of
copies (``copy.py``), and what each copy is worth to its readers (``shares.py``)."""
