"""How many channels a kernel computes to make the ones that are asked for: the staircase of channel counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# XNNPACK's narrow float kernels make two channels at a time.
_NARROW_COLUMNS = 2


@dataclass(frozen=True)
class Tiles:
    """A kernel makes `columns` channels at a time. A last tile that is not full costs as much as a full one.

    narrow: where the counts leave more than one channel of a tile unused, the runtime takes a kernel of two columns for
    all of them, a multiply-accumulate of which costs this many of the wide one (XNNPACK, src/operators/
    convolution-nhwc.c and fully-connected-nc.c: gemm_nr2). 0: there is no such kernel.
    """

    columns: int = 1
    narrow: float = 0.0

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """Channels of the wide kernel that cost as much. channels: any shape -> the same, float64."""
        tiled = np.ceil(channels / self.columns) * self.columns
        if not self.narrow:
            return np.asarray(tiled)
        pairs = np.ceil(channels / _NARROW_COLUMNS) * _NARROW_COLUMNS
        # the wide kernel wastes no more channels than the narrow one
        wide = (tiled - channels <= pairs - channels) & (channels >= self.columns)
        return np.where(wide | (channels == 0), tiled, pairs * self.narrow)
