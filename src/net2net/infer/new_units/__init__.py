"""What new units may hold, and what that makes of every parameter.

``holds.py`` has the idea and the words. ``follow.py`` is the whole way of one group through the
traces: ``group.py`` says where its units are, ``back.py`` what has to be held, from the readers
back, ``on.py`` what is held then, from the makers on (``factors.py``: and by what number all that
is made of the whole group is multiplied), and ``parameters.py`` what parameters hold for it.
``learn.py`` tells zero units that would stay zero.
"""
