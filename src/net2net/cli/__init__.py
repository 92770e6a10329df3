"""The command line: ``net2net``. The only part of the library that prints.

``main`` is the group of commands, each in a file of its name: ``grow``, ``estimate``,
``inspect_`` and ``verify_`` (not to hide what they call), ``plan``. ``options`` has the
options that several share, in the groups that ``--help`` shows, and ``words`` reads what is typed:
sizes, widths, numbers of a configuration; ``steps`` is what commands do alike, ``progress`` draws
how far a target is written, ``recipes`` puts what was typed on top of a recipe.
"""

from net2net.cli.main import Commands, main

__all__ = ["Commands", "main"]
