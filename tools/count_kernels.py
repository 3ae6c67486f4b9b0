"""Count the instructions of one-operation models on an emulated board and note them in tools/kernel_counts.json.

    edgeprune boards setup rpi4
    python tools/count_kernels.py rpi4 [rpi-zero-2w@ai-edge-litert==2.3.0 ...]

tools/fit_cost.py fits the kernel coefficients of targets/ to these counts. A row is [operation, height and width of the
input, inputs, outputs, kernel, stride, instructions of the operation, tile of the kernel as XNNPACK names it].
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeprune.cost.one_op import LayerShape, Precision, one_op_model
from edgeprune.device.instructions import count_instructions
from edgeprune.records.instructions import InstructionCounts

COUNTS = Path(__file__).with_name("kernel_counts.json")
MODES: tuple[Precision, ...] = ("none", "dynamic", "int8")
_TILE = re.compile(r"gemm_?[a-z0-9_]*ukernel_(\d+)x(\d+)(?:v)?(?:c(\d+))?")


def square(op: str, size: int, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> LayerShape:
    return LayerShape(op, size, size, inputs, outputs, (kernel, kernel), (stride, stride))


def layers() -> Iterator[LayerShape]:
    """Channel counts on and beside tile borders, few and many positions, and whole layers of known networks."""
    for outputs in (1, 4, 7, 8, 9, 12, 15, 16, 17, 20, 24, 25, 28, 32, 33, 36, 40, 44, 48, 56, 64):
        yield square("CONV_2D", 14, 64, outputs)
    for inputs in (3, 4, 5, 8, 9, 12, 16, 17, 20, 24, 32, 48, 64, 96):
        yield square("CONV_2D", 14, inputs, 64)
    for size in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20):
        yield square("CONV_2D", size, 64, 64)
    for size, inputs, outputs in ((112, 16, 96), (112, 32, 64), (28, 256, 256), (14, 512, 512), (7, 160, 960)):
        yield square("CONV_2D", size, inputs, outputs)
    yield square("CONV_2D", 7, 960, 160)
    yield square("CONV_2D", 224, 3, 32, 3, 2)
    yield square("CONV_2D", 28, 64, 64, 3)
    yield square("CONV_2D", 14, 64, 64, 3, 2)
    yield square("CONV_2D", 14, 32, 32, 5)
    for channels in (1, 4, 7, 8, 9, 12, 16, 20, 24, 32, 40, 64, 96, 512):
        yield square("DEPTHWISE_CONV_2D", 14, channels, channels, 3)
    for size, channels, kernel, stride in (
        (7, 64, 3, 1),
        (28, 64, 3, 1),
        (56, 64, 3, 1),
        (28, 64, 5, 1),
        (28, 64, 5, 2),
    ):
        yield square("DEPTHWISE_CONV_2D", size, channels, channels, kernel, stride)
    yield square("DEPTHWISE_CONV_2D", 112, 96, 96, 3, 2)
    yield square("DEPTHWISE_CONV_2D", 28, 64, 64, 3, 2)
    for inputs, outputs in ((64, 64), (128, 128), (1024, 1000), (1280, 1000), (256, 10), (1000, 64), (31, 64)):
        yield square("FULLY_CONNECTED", 1, inputs, outputs)
    for op in ("ADD", "MUL", "LOGISTIC", "HARD_SWISH", "TANH", "MEAN"):
        for size in (7, 14, 28):
            yield square(op, size, 64, 64)
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        yield square(op, 28, 64, 64, 3, 2)
        yield square(op, 28, 64, 64, 2, 2)


def count(board: str, mode: Precision, folder: Path) -> list[list[Any]]:
    """The rows of one board and mode; a model that the runtime refuses has none."""
    known = list(layers())
    paths = [folder / f"{number}.tflite" for number in range(len(known))]
    for path, layer in zip(paths, known, strict=True):
        path.write_bytes(one_op_model(layer, mode))
    rows: list[list[Any]] = []
    for layer, counts in zip(known, count_instructions(paths, device=f"emulator:{board}"), strict=True):
        if isinstance(counts, InstructionCounts):
            # a kernel that is not known by its function stands under its own name
            inside = [taken for name, taken in counts.by_op.items() if name != "other"]
            own = counts.by_op.get(layer.op) or max(inside, default=0)
            tile = next((found for name in counts.by_kernel if (found := _TILE.search(name))), None)
            shape = "x".join(part or "1" for part in tile.groups()) if tile else ""
            rows.append(
                [layer.op, layer.height, layer.inputs, layer.outputs, layer.kernel[0], layer.stride[0], own, shape]
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("boards", nargs="+", metavar="BOARD")
    noted = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {}
    for board in parser.parse_args().boards:
        with tempfile.TemporaryDirectory() as folder:
            noted[board] = {mode: count(board, mode, Path(folder)) for mode in MODES}
        COUNTS.write_text(as_text(noted), encoding="utf-8")


def as_text(noted: dict[str, dict[str, list[list[Any]]]]) -> str:
    """JSON with one row a line."""
    boards = []
    for board, modes in noted.items():
        tables = [
            f"  {json.dumps(mode)}: [\n" + ",\n".join(f"   {json.dumps(row)}" for row in rows) + "\n  ]"
            for mode, rows in modes.items()
        ]
        boards.append(f" {json.dumps(board)}: {{\n" + ",\n".join(tables) + "\n }")
    return "{\n" + ",\n".join(boards) + "\n}\n"


if __name__ == "__main__":
    main()
