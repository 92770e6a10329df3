"""Recurrence: LSTM, GRU and plain cells, one step or whole sequences, padded or packed.

Row ``j`` of every gate makes hidden unit ``j``, and column ``j`` of the recurrent weight reads it:
one parameter makes units on one axis and divides among their copies on the other. Layers and
directions of one call share its ``hidden_size``, so the units at one position of all of them grow
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.rules.contract import add_bias
from net2net.infer.units import NO_UNIT, UnitIds
from net2net.infer.values import Part, Value

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@dataclass(frozen=True)
class _Weights:
    """What one direction of one layer computes with."""

    ih: Value
    hh: Value
    biases: tuple[Value, ...] = ()
    hr: Value | None = None
    """LSTM: projects the hidden state to a smaller one."""

    @property
    def hidden(self) -> UnitIds:
        """The units of the hidden state: the columns that read it."""
        return _along(self.hh, 1)

    def gates(self, gates: int) -> UnitIds:
        """The rows that make each unit: ``[gates, units]``."""
        return _along(self.hh, 0).reshape(gates, -1)


def _along(value: Value, axis: int) -> UnitIds:
    ids = value.ids(axis)
    return np.full(value.shape[axis], NO_UNIT) if ids is None else ids


def _weights(params: Sequence[Value], cells: int, has_biases: bool) -> list[_Weights]:
    """The flat list of parameters, cut into those of each layer and direction."""
    each = len(params) // cells
    runs = [list(params[start : start + each]) for start in range(0, len(params), each)]
    biases = 2 if has_biases else 0
    return [
        _Weights(run[0], run[1], tuple(run[2 : 2 + biases]), *run[2 + biases :]) for run in runs
    ]


def _step(site: OpSite, value: Value, weights: _Weights, gates: int) -> None:
    """The gates of one direction read the input and the hidden state, and make the next one."""
    read = _read(site, value, weights.ih)
    recurrent = _read(site, _state(weights.hidden), weights.hh)
    shape = (*value.shape[:-1], recurrent.shape[-1])
    both = site.pointwise([read, recurrent], shape)
    for bias in weights.biases:
        add_bias(site, both, bias, -1)
    for weight in (weights.ih, weights.hh):
        site.gate(weight, 0, gates)
    rows = weights.gates(gates)
    if weights.hr is None:
        site.units.bundle(np.concatenate([rows, weights.hidden[None]]), (0,))
    else:
        made = _read(site, _state(rows[0]), weights.hr)
        site.units.bundle(rows, (0,))
        site.tie(_along(made, -1), weights.hidden)


def _read(site: OpSite, value: Value, weight: Value) -> Value:
    batch = list(range(value.ndim - 1))
    return site.contract([value, weight], [[*batch, "in"], ["out", "in"]], [*batch, "out"])


def _state(ids: UnitIds) -> Value:
    return Value((1, len(ids)), (Part((1,), ids),))


def _start(site: OpSite, given: Value, units: UnitIds) -> None:
    """An initial state meets the units that it stands for; where it is an input of the model, they
    stay as they are. Zeros fit any width."""
    given = site.confine(given, range(given.ndim - 1), "starts from it")
    ids = given.ids(-1)
    if ids is not None:
        site.tie(ids, units)
    elif not given.constant:
        site.fix(units, "starts from the model's input or a constant")


def _of_cell(site: OpSite, given: Value, cell: int) -> Value:
    """The initial state of one layer and direction, out of the stack of all."""
    if given.ids(0) is not None:
        site.pin(given, 0, "has layers along it")
    return given.take(0, [cell]).without([0])


@rule(*_GATES)
def sequence(site: OpSite) -> list[Value]:
    """All steps of all layers: the outputs of the last one, and the final states of each."""
    gates = _GATES[site.name]
    value: Value = site["data"] if "data" in site.args else site["input"]
    value = site.confine(value, range(value.ndim - 1), "runs along it")
    directions = 2 if site["bidirectional"] else 1
    cells = _weights(site["params"], site["num_layers"] * directions, site["has_biases"])
    starts = site["hx"] if isinstance(site["hx"], list) else [site["hx"]]
    states = [
        np.stack([cell.hidden for cell in cells]),
        np.stack([cell.gates(gates)[0] for cell in cells]),
    ][: len(starts)]
    for layer in range(site["num_layers"]):
        layers = cells[layer * directions : (layer + 1) * directions]
        for cell in layers:
            _step(site, value, cell, gates)
        ids = np.concatenate([cell.hidden for cell in layers])
        value = Value((*value.shape[:-1], len(ids)), (Part((value.ndim - 1,), ids),))
    for start, units in zip(starts, states, strict=True):
        site.units.bundle(units, (0,))
        for number, own in enumerate(units):
            _start(site, _of_cell(site, start, number), own)
    finals = [
        Value(shape, (_stacked(units, len(shape)),))
        for units, shape in zip(states, site.outputs[1:], strict=True)
    ]
    return [value, *finals]


def _stacked(units: UnitIds, ndim: int) -> Part:
    """Final states: layers in front, units at the end."""
    return Part((ndim - 1,), units[0]) if len(units) == 1 else Part((0, ndim - 1), units)


@rule(*(f"{name}_cell" for name in _GATES))
def cell(site: OpSite) -> list[Value]:
    """One step: from the last states to the next."""
    gates = _GATES[site.name.removesuffix("_cell")]
    biases = tuple(b for b in (site["b_ih"], site["b_hh"]) if b is not None)
    weights = _Weights(site["w_ih"], site["w_hh"], biases)
    starts = site["hx"] if isinstance(site["hx"], list) else [site["hx"]]
    value: Value = site["input"]
    value = site.confine(value, range(value.ndim - 1), "takes a step with it")
    _step(site, value, weights, gates)
    states = [weights.hidden, weights.gates(gates)[0]][: len(starts)]
    for start, units in zip(starts, states, strict=True):
        _start(site, start, units)
    return [
        Value(shape, (Part((len(shape) - 1,), units),))
        for units, shape in zip(states, site.outputs, strict=True)
    ]


@rule("_pack_padded_sequence")
def pack(site: OpSite) -> list[Value]:
    """``[time, batch, …]`` becomes ``[steps, …]``."""
    value: Value = site["input"]
    inner = site.confine(value, range(2), "packs it")
    return [
        Value(site.shape, tuple(part.moved(lambda axis: axis - 1) for part in inner.parts)),
        Value(site.outputs[1]),
    ]


@rule("_pad_packed_sequence")
def pad(site: OpSite) -> list[Value]:
    """``[steps, …]`` becomes ``[time, batch, …]``."""
    value: Value = site["data"]
    inner = site.confine(value, range(1), "pads it")
    return [
        Value(site.shape, tuple(part.moved(lambda axis: axis + 1) for part in inner.parts)),
        Value(site.outputs[1]),
    ]
