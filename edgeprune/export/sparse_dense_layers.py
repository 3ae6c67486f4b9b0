"""Dense layers that the runtime computes from the stored weights, without unpacking them.

TFLite's own FULLY_CONNECTED (kernels/fully_connected.cc) reads float32 weights as rows of 1x4 blocks or of single
weights. XNNPACK leaves such an operation alone, and few weights must be left until that beats its dense kernel.
Instructions on an emulated Raspberry Pi 4 (Cortex-A72, ai-edge-litert 2.3), three layers of 1024 x 1024 on one row of
inputs, dense 1.44 M:

    share of zeros        0.5     0.75    0.8     0.85    0.9     0.95    0.98
    1x4 blocks           5.18 M  2.63 M  2.12 M  1.61 M  1.10 M  0.58 M  0.28 M
    single weights      22.09 M 11.07 M  8.87 M  6.68 M  4.45 M  2.27 M  0.95 M

It takes no other blocks and no float16; full int8 fails to load, int8 weights with float activations crash on ARM.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeprune.tflite.sparse_format import Occupancy, SparseFormat, rows_format, smallest_format

# Instructions from the table: a weight of the dense kernel, a stored 1x4 block, a stored single weight.
_DENSE_WEIGHT, _BLOCK, _SINGLE = 0.458, 13.0, 14.0
# Other boards have other kernels; a gain has to be clear.
_LEAST_GAIN = 0.1
# A form that computes faster may take this much more than the smallest.
_MORE_BYTES = 1.05


def direct_format(values: np.ndarray, rows: Sequence[int | None]) -> SparseFormat | None:
    """The format in which dense layers should read a weight as it is stored; None where they shouldn't.

    Args:
        values: (outputs, inputs) float32, the weight.
        rows: for each operation that reads it, how many rows of inputs it computes; None for an operation that can't.
            Only with one row is the dense kernel slow enough: it loads each weight once for all rows.
    """
    if any(count != 1 for count in rows) or not rows or values.ndim != 2:
        return None
    dense = _DENSE_WEIGHT * values.size
    candidates = []
    for block, instructions in (((1, 4), _BLOCK), ((1, 1), _SINGLE)):
        if values.shape[1] % block[1] == 0:
            form = rows_format(values.shape, block)
            seen = Occupancy(values != 0, block)
            stored = int(np.count_nonzero(seen.grid))
            if instructions * stored <= (1 - _LEAST_GAIN) * dense:
                seen.count_all()
                candidates.append((instructions * stored, seen.bytes(form.order, form.compressed, 4), form))
    if not candidates:
        return None
    _, least = smallest_format(values != 0, 4)
    small = [candidate for candidate in candidates if candidate[1] <= _MORE_BYTES * least]
    return min(small, key=lambda candidate: candidate[0])[2] if small else None
