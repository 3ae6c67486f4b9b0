"""Layers and operations with several inputs: elementwise merges and concatenation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeprune.graph.context import Call, Context, NoRuleError, Traced, Work, along, on_axis
from edgeprune.graph.rules.rule import Arguments, KeptMasks, Rule, single


def trace_elementwise(call: Call, context: Context) -> Traced:
    """Add, multiply and the like unite the ids of their operands.

    A number among the arguments changes nothing; a constant array is cut along the channels. An operand with one
    channel that is spread over many must stay: removing it would remove all of them.
    """
    shape = call.output_shapes[0]
    aligned = []
    for ids, operand in zip(call.inputs, call.shapes, strict=True):
        missing = len(shape) - len(operand)
        if missing and not hasattr(call.operation, "build"):
            raise NoRuleError("arithmetic on tensors of different ranks")  # only layers insert axes after the batch
        ids = ids.reshape((1,) * missing + ids.shape)
        operand = (1,) * missing + tuple(operand)
        spread = any(length == 1 and whole != 1 for length, whole in zip(operand[1:], shape[1:], strict=True))
        aligned.append((ids, spread, ids.size))
    widest = max(count for _, _, count in aligned)
    whole = next(ids for ids, _, count in aligned if count == widest)
    constants = _constants(call, whole)
    for ids, spread, count in aligned:
        if ids is whole:
            continue
        if spread and count == 1 and widest > 1:
            context.freeze(ids, call, "one channel is spread over many")
        else:
            context.unite(whole, ids)
    if call.kind == "Add" and _bias_can_be_misplaced(call, whole):
        context.freeze(whole, call, "Keras would add the vector along the channels")
    for axis in constants:
        context.layer_axis(call, str(axis), whole.reshape(-1))
    return single(whole, Work("copy"))


def _constants(call: Call, whole: np.ndarray) -> set[int]:
    """The axes, counted from the last, along which constant arrays among the arguments must be cut."""
    axes = set()
    for value in (*call.args, *call.kwargs.values()):
        constant = _array(value)
        if constant is None or constant.ndim == 0:
            continue
        if constant.ndim > whole.ndim:
            raise NoRuleError("arithmetic with a constant array of higher rank")
        for axis in range(-constant.ndim, 0):
            if constant.shape[axis] > 1 and whole.shape[axis] > 1:
                axes.add(axis)
            elif constant.shape[axis] > 1 and call.output_shapes[0][axis] != call.shapes[0][axis]:
                raise NoRuleError("a constant array that spreads the channels")
    if len(axes) > 1 or (axes and whole.size != whole.shape[next(iter(axes))]):
        raise NoRuleError("arithmetic with a constant array where channels lie on more than one axis")
    return axes


def _bias_can_be_misplaced(call: Call, whole: np.ndarray) -> bool:
    """Whether an operand with one long axis could be added along another axis after pruning.

    Keras 3.15 (backend.tensorflow.numpy.add) takes such an operand for a bias of the last axis, else of axis 1, when it
    is as long as that axis; a pruned axis can come to have that length. For batch 1 tensors look like constants to it.
    """
    shape = call.output_shapes[0]
    channels = next((axis for axis in range(1, whole.ndim) if whole.shape[axis] > 1), None)
    arrays = [_array(value) for value in (*call.args, *call.kwargs.values())]
    operands = [tuple(operand[1:]) for operand in call.shapes] + [array.shape for array in arrays if array is not None]
    if channels is None:
        return False
    for operand in operands:
        long = [axis - len(operand) for axis, length in enumerate(operand) if length != 1]
        if len(operand) >= len(shape) or len(long) != 1:
            continue
        axis = long[0] + len(shape)
        # After pruning `channels` is shorter; its length meets that of `other`, which stays.
        other = axis if axis != channels else len(shape) - 1
        stays = shape[other]
        if other != channels and channels in (1, len(shape) - 1) and (stays is None or 1 < stays < shape[channels]):
            return True
    return False


def _array(value: Any) -> np.ndarray | None:
    """The constant array behind an argument; None for tensors of the graph, lists of them and options."""
    if value is None or hasattr(value, "_keras_history") or isinstance(value, (str, bool, list, tuple, dict)):
        return None
    return np.asarray(value)


def cut_constants(args: tuple[Any, ...], kwargs: Mapping[str, Any], kept: KeptMasks) -> Arguments:
    """Constant arrays keep the entries of the kept channels."""

    def cut(value: Any) -> Any:
        constant = _array(value)
        for name, mask in kept.items():
            axis = int(name)
            if constant is not None and constant.ndim >= -axis and constant.shape[axis] == len(mask) > 1:
                value = constant = np.compress(mask, constant, axis=axis)
        return value

    return tuple(cut(value) for value in args), {name: cut(value) for name, value in kwargs.items()}


def trace_concatenate(call: Call, context: Context) -> Traced:
    """Concatenation along the channel axis lays id arrays end to end; along another axis it unites them."""
    rank = len(call.output_shapes[0])
    axis = call.operation.axis % rank
    if axis == 0:
        raise NoRuleError("concatenation along the batch")
    parts = list(call.inputs)
    if all(part.shape[axis] == 1 for part in parts) and any(part.size > 1 for part in parts):
        for part in parts[1:]:
            context.unite(parts[0], part)
        return single(parts[0], Work("copy"))
    if any(hasattr(value, "shape") and not hasattr(value, "_keras_history") for value in _operands(call)):
        raise NoRuleError("concatenation with a constant array")
    ids = np.concatenate([along(part, shape, axis) for part, shape in zip(parts, call.shapes, strict=True)])
    return single(on_axis(ids, rank, axis), Work("copy"))


def _operands(call: Call) -> list[Any]:
    """The members of the list that is concatenated."""
    return [value for argument in (*call.args, *call.kwargs.values()) for value in _members(argument)]


def _members(argument: Any) -> list[Any]:
    return list(argument) if isinstance(argument, (list, tuple)) else [argument]


ELEMENTWISE = Rule(trace_elementwise, rewrite=cut_constants)
CONCATENATE = Rule(trace_concatenate)
