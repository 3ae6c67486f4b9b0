"""Writing a TFLite file from the schema's object tree."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

from edgeprune.tflite.flatbuffer import IDENTIFIER

# schema.fbs, Buffer.data: force_align. The generated writer doesn't know it.
_ALIGNMENT_BYTES = 16


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """A builder that starts vectors of bytes, which hold the weights, at multiples of 16."""

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        if x.dtype == np.uint8:
            self.Prep(_ALIGNMENT_BYTES, x.size)
        return int(super().CreateNumpyVector(x))


def pack(tree: Any) -> bytes:
    """The bytes of a ModelT: the same tree gives the same bytes."""
    size = sum(0 if buffer.data is None else len(buffer.data) for buffer in tree.buffers)
    builder = _AlignedBuilder(size + (1 << 16))
    builder.Finish(tree.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
