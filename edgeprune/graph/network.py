"""A trace and its groups as a Network record: every count a function of how many units each group keeps."""

from __future__ import annotations

import numpy as np

from edgeprune.graph.context import WeightAxes, Work, elements
from edgeprune.graph.groups import Groups
from edgeprune.graph.trace import Trace, TracedCall
from edgeprune.records.network import Extent, GroupRecord, Network, OpRecord, TensorRecord, WeightRecord


def to_network(trace: Trace, groups: Groups) -> Network:
    """Count everything the trace found."""
    builder = _Builder(trace, groups)
    weights = builder.weight_records()
    ops = builder.op_records()
    tensors = builder.tensor_records(ops)
    records = tuple(
        GroupRecord(name, len(units), layers)
        for name, units, layers in zip(groups.names, groups.units, groups.layers, strict=True)
    )
    fixed, units = builder.axes.table()
    return Network(records, fixed, units, ops, tensors, weights)


class _AxisTable:
    """Numbers id arrays; equal arrays of units get the same number. Axis 0 is the constant 1."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups
        self.numbers: dict[bytes, int] = {}
        self.fixed = [1]
        self.units = [np.zeros(len(groups.names), dtype=np.int64)]

    def number(self, ids: np.ndarray) -> int:
        """The axis with these ids on it. ids: (length,)."""
        group = self.groups.group_of_unit[self.groups.unit_of_id[ids]]
        free = group[group >= 0]
        counts = np.bincount(free, minlength=len(self.groups.names))
        widths = np.array([len(units) for units in self.groups.units], dtype=np.int64)
        per_unit = counts // np.maximum(widths, 1)
        fixed = len(ids) - len(free)
        key = per_unit.tobytes() + fixed.to_bytes(8, "little")
        if key not in self.numbers:
            self.numbers[key] = len(self.fixed)
            self.fixed.append(fixed)
            self.units.append(per_unit.astype(np.int64))
        return self.numbers[key]

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.fixed, dtype=np.int64), np.stack(self.units)


class _Builder:
    def __init__(self, trace: Trace, groups: Groups) -> None:
        self.trace = trace
        self.axes = _AxisTable(groups)
        self.weight_numbers: dict[int, int] = {}
        self.inner: list[Extent] = []
        self.alias = list(range(len(trace.tensors)))
        self.readers = np.zeros(len(trace.tensors), dtype=np.int64)
        for traced in trace.calls:
            np.add.at(self.readers, list(traced.inputs), 1)
        np.add.at(self.readers, list(trace.outputs), 1)

    def weight_records(self) -> tuple[WeightRecord, ...]:
        records = []
        for key, weight in self.trace.context.weights.items():
            self.weight_numbers[key] = len(records)
            records.append(WeightRecord(weight.layer, weight.role, self._weight_extent(weight)))
        return tuple(records)

    def _weight_extent(self, weight: WeightAxes) -> Extent:
        shape = tuple(weight.variable.shape)
        fixed = [length for axis, length in enumerate(shape) if axis not in weight.axes]
        axes = tuple(self.axes.number(ids) for ids in weight.axes.values())
        return Extent(int(np.prod(fixed, dtype=np.int64)), axes)

    def op_records(self) -> tuple[OpRecord, ...]:
        """One record per piece of work; fused and free work aliases its output to its input."""
        records: list[OpRecord] = []
        made_by: dict[int, int] = {}
        for traced in self.trace.calls:
            if self._folds(traced, made_by, records):
                for output in traced.outputs:
                    self.alias[output] = self.alias[traced.inputs[0]]
                records.append(self._record(traced, "fused", traced.works[0], (), ()))
                continue
            current = tuple(self.alias[number] for number in traced.inputs)
            for position, work in enumerate(traced.works):
                last = position == len(traced.works) - 1
                outgoing = traced.outputs if last else (self._add_inner(traced, work),)
                kind = "copy" if work.kind in ("fusable", "free") else work.kind
                records.append(self._record(traced, kind, work, current, outgoing))
                made_by.update(dict.fromkeys(outgoing, len(records) - 1))
                current = outgoing
        return tuple(records)

    def _folds(self, traced: TracedCall, made_by: dict[int, int], records: list[OpRecord]) -> bool:
        """Free work always folds; BatchNorm and ReLU fold when they alone read what an operation made."""
        kind = traced.works[0].kind
        if len(traced.works) != 1 or kind not in ("free", "fusable"):
            return False
        if kind == "free":
            return True
        source = self.alias[traced.inputs[0]]
        return source in made_by and self.readers[traced.inputs[0]] == 1

    def _record(
        self, traced: TracedCall, kind: str, work: Work, inputs: tuple[int, ...], outputs: tuple[int, ...]
    ) -> OpRecord:
        variables = getattr(traced.call.operation, "weights", ()) if work.variables is None else work.variables
        weights = tuple(self.weight_numbers[id(v)] for v in variables if id(v) in self.weight_numbers)
        axes = tuple(self.axes.number(ids) for ids in work.over)
        return OpRecord(
            traced.call.path, kind, Extent(work.factor, axes), inputs, outputs, weights, axes[-1] if axes else 0
        )

    def _add_inner(self, traced: TracedCall, work: Work) -> int:
        """A tensor between two pieces of work of one call."""
        if work.inner is None:
            extent = self._tensor_extent(traced.outputs[0])
        else:
            extent = Extent(work.inner[0], (self.axes.number(work.inner[1]),))
        self.inner.append(extent)
        return len(self.trace.tensors) + len(self.inner) - 1

    def _tensor_extent(self, number: int) -> Extent:
        """Elements of a tensor for batch 1: axes along which ids change are widths, others are factors."""
        tensor = self.trace.tensors[number]
        varying = tensor.varying_axes()
        return Extent(elements(tensor.shape, tuple(varying)), tuple(self.axes.number(ids) for ids in varying.values()))

    def tensor_records(self, ops: tuple[OpRecord, ...]) -> tuple[TensorRecord, ...]:
        """Sizes and lifetimes; model inputs and outputs live from the first to the last operation."""
        extents = [self._tensor_extent(number) for number in range(len(self.trace.tensors))] + self.inner
        first = np.full(len(extents), len(ops), dtype=np.int64)
        last = np.full(len(extents), -1, dtype=np.int64)
        for index, op in enumerate(ops):
            for number in (*op.inputs, *op.outputs):
                first[number] = min(first[number], index)
                last[number] = max(last[number], index)
        for number in (*self.trace.inputs, *(self.alias[n] for n in self.trace.outputs)):
            first[number], last[number] = 0, max(len(ops) - 1, 0)
        return tuple(
            TensorRecord(extent, int(start), int(end)) for extent, start, end in zip(extents, first, last, strict=True)
        )
