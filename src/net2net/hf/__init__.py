"""Models of Hugging Face's transformers: ``example_inputs(model)``, which every verb takes, growth
by configuration, and folders in and out.

``examples`` chooses arguments and finds tensors that the model runs on, of those that ``layouts``
makes by the name of an argument; ``parts`` looks up sizes in a configuration and its parts.
``grow`` builds the larger model from a configuration that is ``changed``. ``numbers`` finds which
numbers of it are widths and depths, in part from a model's ``answers`` alone; ``proportion`` grows
all widths together, ``budget`` as far as a budget goes, a ``quantity``. ``wish`` is all that is
asked of a growth, ``costs`` what it would cost, from single ``passes``. ``source`` is whatever a
model is read from, and what becomes of it: ``folder`` grows what is saved in a folder, ``opened``
by its headers; ``streamed`` tensor by tensor where the model can be had ``unloaded`` and files are
``saved`` as they lie in it: ``rows`` are read of safetensors ``shards``, and ``stream`` writes
them; a ``journal`` says what is done, ``lineage`` where it comes from, a ``card`` tells people,
with what is ``plain_yaml`` in the source's; the result is ``checked``, ``blockwise`` where
``memory`` is too small. ``checkpoint`` grows what a Trainer saved, with its optimiser, if its files
are ``agreed``, also in parts that are ``sharded``; ``callbacks`` let a Trainer grow at a step.
transformers is imported when a function is called (``pip install 'net2net[hf]'``).
"""

from typing import Any

from net2net.hf.checkpoint import carried, grow_checkpoint
from net2net.hf.examples import example_inputs
from net2net.hf.folder import grow_folder

__all__ = ["carried", "example_inputs", "grow_checkpoint", "grow_folder"]

_OF_TRAINERS = ("GrowthCallback", "YoungCallback", "train_growing")


def __getattr__(name: str) -> Any:
    """What is made of classes of transformers, which is imported then."""
    if name in _OF_TRAINERS:
        from net2net.hf import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
