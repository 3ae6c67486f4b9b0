"""Which TensorFlow release first ran a version of a TFLite operation.

Source: tensorflow/compiler/mlir/lite/tools/versioning/runtime_version.cc. Only what is newer than TensorFlow
2.11 is listed: every runtime for 64-bit boards that pip still offers runs the rest.
"""

from __future__ import annotations

# operation -> {first version of the operation: first TensorFlow release}
_FIRST_RELEASE: dict[str, dict[int, tuple[int, int]]] = {
    "ABS": {5: (2, 12)},
    "ADD": {5: (2, 13), 6: (2, 23)},
    "BATCH_TO_SPACE_ND": {4: (2, 12)},
    "BITCAST": {1: (2, 13)},
    "BITWISE_XOR": {1: (2, 13)},
    "CAST": {5: (2, 12), 6: (2, 15), 7: (2, 17), 8: (2, 21)},
    "CONCATENATION": {4: (2, 14), 5: (2, 21)},
    "CONV_2D": {8: (2, 15)},
    "DEQUANTIZE": {6: (2, 18), 7: (2, 21), 8: (2, 22)},
    "DILATE": {1: (2, 15)},
    "DYNAMIC_UPDATE_SLICE": {2: (2, 17), 3: (2, 19), 4: (2, 20), 5: (2, 21), 6: (2, 22)},
    "EMBEDDING_LOOKUP": {4: (2, 18), 5: (2, 21)},
    "EQUAL": {4: (2, 13), 5: (2, 21)},
    "EXP": {2: (2, 12)},
    "FILL": {4: (2, 12)},
    "FLOOR_DIV": {3: (2, 13)},
    "FLOOR_MOD": {2: (2, 13)},
    "FULLY_CONNECTED": {11: (2, 15), 12: (2, 17), 13: (2, 18), 14: (2, 21)},
    "GATHER": {6: (2, 13), 7: (2, 15)},
    "GATHER_ND": {4: (2, 13), 5: (2, 16)},
    "GREATER_EQUAL": {3: (2, 13)},
    "LESS": {3: (2, 13)},
    "LOG": {2: (2, 15)},
    "MIRROR_PAD": {3: (2, 12)},
    "MUL": {7: (2, 13), 8: (2, 23)},
    "NOT_EQUAL": {4: (2, 21)},
    "PACK": {4: (2, 13)},
    "PAD": {5: (2, 20)},
    "PADV2": {5: (2, 20)},
    "QUANTIZE": {4: (2, 21)},
    "RANGE": {2: (2, 14)},
    "REDUCE_WINDOW": {1: (2, 15)},
    "RIGHT_SHIFT": {1: (2, 13)},
    "RSQRT": {3: (2, 15)},
    "SELECT": {3: (2, 12)},
    "SELECT_V2": {2: (2, 12)},
    "SIGN": {2: (2, 12)},
    "SLICE": {6: (2, 14), 7: (2, 21)},
    "SPACE_TO_BATCH_ND": {4: (2, 12)},
    "SQRT": {2: (2, 21)},
    "STRIDED_SLICE": {7: (2, 14)},
    "TOPK_V2": {3: (2, 13)},
    "TRANSPOSE": {6: (2, 12), 7: (2, 15), 8: (2, 22)},
    "TRANSPOSE_CONV": {4: (2, 13), 5: (2, 15)},
    "UNIDIRECTIONAL_SEQUENCE_LSTM": {4: (2, 12)},
    "UNPACK": {5: (2, 22)},
}


def first_release(name: str, version: int) -> tuple[int, int] | None:
    """The first TensorFlow release, (major, minor), whose TFLite runs `name` at `version`.

    None when it is older than 2.12 or not known.
    """
    if name.startswith("STABLEHLO_"):
        return (2, 17)
    releases = [release for first, release in _FIRST_RELEASE.get(name, {}).items() if version >= first]
    return max(releases, default=None)


def runtime_release(package: str, version: str) -> tuple[int, int] | None:
    """The TensorFlow release, (major, minor), that a runtime package corresponds to.

    tflite-runtime shares TensorFlow's numbers. ai-edge-litert does not: 1.4.0, the last of 1.x, refuses what came
    with 2.20, so 2.19 is the newest that 1.x can be. None when unknown (ai-edge-litert 2 and later): nothing can be
    ruled out.
    """
    numbers = tuple(int(part) if part.isdigit() else 0 for part in (*version.split("."), "0")[:2])
    if package in ("tflite-runtime", "tensorflow"):
        return numbers[0], numbers[1]
    return (2, 19) if package == "ai-edge-litert" and numbers[0] == 1 else None
