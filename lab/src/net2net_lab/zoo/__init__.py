"""The coverage: how many models of torchvision, timm and transformers grow, and why others do not.

``net2net-lab zoo`` measures every model in a process of its own and draws ``docs/zoo.md``. How to
build a model and an input for it is known here, in the ``build_*`` modules, and nowhere in the
rules. A new library is one module with ``LIBRARIES``, ``entries`` and ``build``, and its line in
``families.py``.
"""
