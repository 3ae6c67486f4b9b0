"""LSTM, GRU, SimpleRNN, ConvLSTM and Bidirectional.

A unit is one column in the kernel of every gate, the same columns and one row of the recurrent kernel, its biases
and its place in the states. Kernels: (*window, c_in, gates * units), recurrent (*window, units, gates * units).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, elements, on_axis
from edgeprune.graph.rules.activation import hold
from edgeprune.graph.rules.call_arguments import Operand, argument
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1, "ConvLSTM1D": 4, "ConvLSTM2D": 4, "ConvLSTM3D": 4}


def trace(call: Call, context: Context) -> Traced:
    """Fresh ids for the units; states that come in or go out carry them too."""
    layer = call.operation
    states = _states(argument(call, 1, "initial_state"))
    units, work = _recur(call, context, layer, states)
    axis = _channel_axis(layer)
    outputs = []
    for place, shape in enumerate(call.output_shapes):
        is_sequence = place == 0 and layer.return_sequences
        outputs.append(on_axis(units, len(shape), axis + 1 if is_sequence and axis > 0 else axis))
    return Traced(tuple(outputs), work)


def trace_bidirectional(call: Call, context: Context) -> Traced:
    """Two layers of one width: Keras takes the forward half's width for both, so units go in pairs."""
    layer = call.operation
    states = _states(argument(call, 1, "initial_state"))
    half = len(states) // 2
    pair = (layer.forward_layer, states[:half]), (layer.backward_layer, states[half:])
    if any(type(one).__name__ not in ("LSTM", "GRU", "SimpleRNN") for one, _ in pair):
        raise NoRuleError(f"Bidirectional around {type(layer.forward_layer).__name__}")
    (forward, first), (backward, second) = (
        _recur(replace(call, operation=one), context, one, incoming) for one, incoming in pair
    )
    if len(forward) != len(backward):
        raise NoRuleError("Bidirectional with halves of different widths")
    context.unite(forward, backward)
    context.layer_axis(call, "units", forward)
    ids = np.concatenate([forward, backward]) if layer.merge_mode == "concat" else forward
    sequences = 2 if layer.merge_mode is None else 1
    outputs = [
        on_axis(ids if place < sequences else forward, len(shape), -1) for place, shape in enumerate(call.output_shapes)
    ]
    return Traced(tuple(outputs), (*first, *second))


def _states(value: Any) -> list[Operand]:
    """Initial states that are tensors of the graph."""
    if value is None:
        return []
    states = list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(state, Operand) for state in states):
        raise NoRuleError("constant initial states")
    return states


def _channel_axis(layer: Any) -> int:
    """Axis of the units in a state."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def _recur(call: Call, context: Context, layer: Any, states: list[Operand]) -> tuple[np.ndarray, tuple[Work, ...]]:
    """Ids of the units of one layer, and its work over all time steps."""
    if layer.stateful:
        raise NoRuleError("a stateful layer keeps its states outside its weights")
    cell, gates = layer.cell, GATES[type(layer).__name__]
    sequence, mask = argument(call, 0, "sequences"), argument(call, 2, "mask")
    if not isinstance(sequence, Operand):
        raise NoRuleError("several inputs in one list")
    if isinstance(mask, Operand) and mask.ids.size > 1:
        raise NoRuleError("a mask with channels")
    convolutional = hasattr(cell, "filters")
    axis = _channel_axis(layer)
    incoming = along(sequence.ids, sequence.shape, axis + 1 if axis > 0 else axis)
    incoming = context.layer_axis(call, "in", incoming)
    units = context.issued(call, "units", cell.filters if convolutional else cell.units)
    columns = np.tile(units, gates)
    for state in states:
        context.unite(units, along(state.ids, state.shape, axis))
    last = cell.kernel.ndim - 1
    context.weight(call, cell.kernel, "kernel", {last - 1: incoming, last: columns}, produces=last)
    context.weight(call, cell.recurrent_kernel, "kernel", {last - 1: units, last: columns}, produces=last)
    if cell.bias is not None:
        context.weight(call, cell.bias, "bias", {cell.bias.ndim - 1: columns})
    for name in ("activation", "recurrent_activation"):  # the activations of all units, one gate at a time
        if hasattr(cell, name):
            hold(call, context, units, getattr(cell, name))

    steps = sequence.shape[1] or 1
    window = int(np.prod(cell.kernel.shape[:-2], dtype=np.int64))
    positions = steps * _positions(call, layer)
    kind = "conv" if convolutional else "dense"
    inner = (positions, columns)
    biases = () if cell.bias is None else (cell.bias,)
    work = (
        Work(kind, positions * window, (incoming, columns), inner, (cell.kernel, *biases)),
        Work(kind, positions * window, (units, columns), inner, (cell.recurrent_kernel,)),
        Work("copy", 0, (), None, ()),
    )
    return units, work


def _positions(call: Call, layer: Any) -> int:
    """Positions of a state for batch 1: 1, or the map of a ConvLSTM."""
    shape = call.output_shapes[0]
    if layer.return_sequences:
        shape = (shape[0], *shape[2:])
    return elements(shape, (_channel_axis(layer),))


def resize_units(config: Config, kept: KeptLengths) -> Config:
    """Fewer units."""
    return {**config, "units": kept["units"]}


def resize_filters(config: Config, kept: KeptLengths) -> Config:
    """Fewer filters."""
    return {**config, "filters": kept["units"]}


def resize_bidirectional(config: Config, kept: KeptLengths) -> Config:
    """Both halves get fewer units; they are built again from their new input."""
    changed = dict(config)
    for name in ("layer", "backward_layer"):
        half = {key: value for key, value in config[name].items() if key != "build_config"}
        changed[name] = {**half, "config": {**half["config"], "units": kept["units"]}}
    return changed


RECURRENT = Rule(trace, resize_units)
CONV_LSTM = Rule(trace, resize_filters)
BIDIRECTIONAL = Rule(trace_bidirectional, resize_bidirectional)
