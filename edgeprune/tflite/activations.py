"""How much memory the activations of a TFLite file take, planned as the runtime plans them."""

from __future__ import annotations

import numpy as np

from edgeprune.tflite.arena import plan_arena
from edgeprune.tflite.model import UNPACKING_OPS, TfliteModel, dense_bytes


def peak_arena_bytes(model: TfliteModel) -> int:
    """Peak bytes of the main subgraph's arena, at the shapes stored in the file.

    Lifetimes follow `ArenaPlanner::PlanAllocations`: inputs and variables live throughout, outputs and tensors
    nobody reads live from their operation to the end, others until their last reader. Not counted: constants and
    what is unpacked from them (see `unpacked_weight_bytes`), scratch memory of kernels, and the work space that
    XNNPACK keeps for the operations it takes over. The runtime may share a buffer between the input and the output
    of a reshape or elementwise operation, so its own figure can be lower.
    """
    end = len(model.main.operators)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    settled = {int(index) for index in model.main.outputs}
    resident = [int(index) for index in model.main.inputs]
    resident += [index for index, tensor in enumerate(model.main.tensors) if tensor.isVariable]
    for index in resident:
        first[index], last[index] = 0, end
        settled.add(index)
    for position, operator in enumerate(model.main.operators):
        for index in (int(index) for index in operator.outputs if index >= 0):
            first.setdefault(index, position)
            last.setdefault(index, end)
    # Reversed, so that the first reader met is the last one to run.
    for position in range(end - 1, -1, -1):
        for index in (int(index) for index in model.main.operators[position].inputs):
            if index in first and index not in settled:
                # A damaged order (read before written) still gets a lifetime of one operation.
                last[index] = max(position, first[index])
                settled.add(index)
    planned = [index for index in first if model.stored_weight(index) is None]
    _, peak = plan_arena(
        np.array([dense_bytes(model.main.tensors[index]) for index in planned], dtype=np.int64),
        np.array([first[index] for index in planned], dtype=np.int64),
        np.array([last[index] for index in planned], dtype=np.int64),
    )
    return peak


def unpacked_weight_bytes(model: TfliteModel) -> int:
    """Bytes of weights that are made from stored ones when the model loads (sparse to dense, float16 to float32).

    TFLite's own kernels keep these for good; XNNPACK packs its own copy instead.
    """
    return sum(
        dense_bytes(model.main.tensors[int(index)])
        for operator, name in zip(model.main.operators, model.op_names, strict=True)
        if name in UNPACKING_OPS
        for index in operator.outputs
        if index >= 0 and model.stored_weight(int(index)) is not None
    )
