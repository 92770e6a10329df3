"""What is learnt: ready-made images (``data.py``), a user's (``folders.py``), and ``texts.py``."""
