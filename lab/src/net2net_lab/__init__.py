"""The paper's experiments and a zoo of models, on net2net, which never imports them.

``models`` is InceptionBN, the paper's network; ``experiments/`` has the figures,
``race/`` which growth is worth it, ``zoo/`` measures every model of three libraries; ``cli`` is
what is typed.
"""

__version__ = "0.1.0"
