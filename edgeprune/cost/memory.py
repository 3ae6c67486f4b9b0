"""Peak RAM of a TFLite file on its runtime, predicted from the file alone."""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune.cost.counts import ExtentTable
from edgeprune.cost.file_latency import sparse_convolutions
from edgeprune.cost.file_network import file_network, mode_of
from edgeprune.cost.precision import PRECISIONS
from edgeprune.target import Target
from edgeprune.tflite.activations import peak_arena_bytes, unpacked_weight_bytes
from edgeprune.tflite.model import TfliteModel

# What interpreter and delegate take beside a model: resident bytes on top of Python with the runtime imported.
# ai-edge-litert 2.3.0 on the emulated Raspberry Pi 4, five models of 4 to 17 MB, each in a process of its own: 11.1 to
# 12.1 MB. tflite-runtime was not measured.
_RUNTIME_BYTES = 11_400_000
# And what each operation adds: NASNetMobile's 567 take 25.5 MB with the part above.
_BYTES_PER_OPERATION = 24_000


@dataclass(frozen=True)
class RamPrediction:
    """Bytes that loading and running a model takes at most, on top of Python with the runtime imported; not measured.

    arena: activations, as the runtime places them. file: the file, which is mapped into memory and read once. unpacked:
    weights made dense or float32 at load. packed: XNNPACK's own copy of all weights, in the order its kernels read.
    runtime: interpreter and delegate.
    """

    arena: int
    file: int
    unpacked: int
    packed: int
    runtime: int

    @property
    def total(self) -> int:
        """The peak."""
        return self.arena + self.file + self.unpacked + self.packed + self.runtime


def predict_ram(model: TfliteModel, target: Target) -> RamPrediction:
    """Predict the peak RAM of a file's main graph on a target's runtime, within 15 % on the emulated board."""
    network = file_network(model, sparse_convolutions(model, target))
    elements = ExtentTable([weight.extent for weight in network.weights]).values(network.widths(network.full))
    packed = sum(
        int(elements[weight]) * PRECISIONS[mode_of(model, position)].kernel_ram
        for position, op in enumerate(network.ops)
        for weight in op.weights
    )
    return RamPrediction(
        arena=peak_arena_bytes(model),
        file=len(model.content),
        unpacked=unpacked_weight_bytes(model),
        packed=packed,
        runtime=_RUNTIME_BYTES + _BYTES_PER_OPERATION * len(model.main.operators),
    )
