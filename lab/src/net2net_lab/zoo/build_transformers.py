"""transformers: a tiny random model of every type, and inputs that it runs on."""

from __future__ import annotations

from net2net.hf.examples import find_example
from net2net_lab.zoo.subject import Entry, Readin, Readout, Subject, first_output
from net2net_lab.zoo.transformers_configs import tiny
from net2net_lab.zoo.transformers_overrides import FED, INPUTS

LIBRARIES = ("transformers",)

FEATURES = ("last_hidden_state", "logits_per_image", "logits")
"""Outputs that are read first, if there are any of that name."""

PREDICTIONS = ("logits", "scores")
"""Words in the names of outputs that are no features."""


def entries() -> list[Entry]:
    """All types that ``AutoModel`` knows."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return [Entry("", name) for name in sorted(MODEL_MAPPING_NAMES)]


def build(name: str) -> Subject:
    """A model with random weights, and an input for it."""
    from transformers import CONFIG_MAPPING, AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    config = tiny(CONFIG_MAPPING[name], name)
    config.architectures = []  # of several classes for a type, the first
    model = AutoModel.from_config(config).eval()  # type: ignore[no-untyped-call]
    example = find_example(model, INPUTS.get(name))
    inputs, output = example.inputs, example.output
    if fed := FED.get(name, ()):
        model = Readin(model, {one: inputs[one].shape[-1] for one in fed})
        inputs = model.of(inputs)
    key, tensor = next(
        ((key, output[key]) for key in FEATURES if isinstance(output, dict) and key in output),
        None,
    ) or first_output(output)
    if isinstance(key, str) and any(word in key for word in PREDICTIONS):
        return Subject(Readout(model, [(key, -1, 0)]), inputs, example.note)
    axis = _features(tuple(tensor.shape), of_pictures=any("pixel" in name for name in inputs))
    return Subject(Readout(model, [(key, axis, tensor.shape[axis])]), inputs, example.note)


def _features(shape: tuple[int, ...], of_pictures: bool) -> int:
    """The axis of an output's features: the last, or of maps the one before both sides, which are
    equal here."""
    last = len(shape) - 1
    maps = of_pictures and last >= 3 and shape[-1] == shape[-2]
    return last - 2 if maps else last
