"""Models of Hugging Face's transformers: ``example_inputs(model)``, which every verb takes, and
larger ones built from a configuration that is ``changed``.

``examples`` chooses arguments and finds tensors that the model runs on, of those that ``layouts``
makes by the name of an argument; ``parts`` looks up sizes in a configuration and its parts.
transformers is imported when a function is called (``pip install 'net2net[hf]'``).
"""

from net2net.hf.examples import example_inputs

__all__ = ["example_inputs"]
