"""Which quantization modes a target and a model allow, and why not: the known traps, kept away before converting.

Sources: measured on tflite-runtime 2.14, ai-edge-litert 1.0.1 to 2.3 and TensorFlow 2.21's converter.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.target import Runtime, Target
from edgeprune.tflite.sparse_inference.rules import rules_for

# TensorFlow 2.21 gives int8 Dense weights of the dynamic mode one scale per output channel. That is
# FULLY_CONNECTED version 12, which runtimes older than these refuse to load; every ai-edge-litert knows it.
_FIRST_WITH_PER_CHANNEL_DENSE = {"tflite-runtime": (2, 17), "tensorflow": (2, 17)}


@dataclass(frozen=True)
class ModelFacts:
    """What of a model decides on modes.

    fixed_size: no input has a None dimension behind the batch. has_dense: multiplies by a matrix of
    weights. has_loop: runs a while loop, as LSTM, GRU and other RNN layers do unless unrolled.
    """

    fixed_size: bool
    has_dense: bool
    has_loop: bool


@dataclass(frozen=True)
class ModeVerdict:
    """Whether `mode` may be used; `reason` says why not, or what is done differently ("" when nothing is).

    `per_channel_dense` is the argument `convert` needs for this target.
    """

    mode: str
    allowed: bool
    reason: str
    per_channel_dense: bool = True


def allowed_modes(
    target: Target, facts: ModelFacts, *, has_samples: bool = True, sparse: bool = False
) -> tuple[ModeVerdict, ...]:
    """One verdict per mode, in the order of QUANTIZE_MODES.

    `has_samples`: representative inputs are at hand (int8 needs them). `sparse`: the weights will be stored sparsely.
    """
    return tuple(_verdict(mode, target, facts, has_samples, sparse) for mode in QUANTIZE_MODES)


def _verdict(mode: str, target: Target, facts: ModelFacts, has_samples: bool, sparse: bool) -> ModeVerdict:
    if not facts.fixed_size:
        return ModeVerdict(mode, False, "an input size is None, and such a file does not load; give --input-shape")
    # The converter writes float16 biases, which the rule "without float32 bias" asks for.
    rules = rules_for(target.runtime.package, target.runtime.version)
    if mode == "float16" and sparse and rules.sparse_float16 == "none":
        runtime = f"{target.runtime.package} {target.runtime.version}"
        return ModeVerdict(mode, False, f"{runtime} reads sparse float16 weights wrongly")
    if mode == "dynamic" and sparse:
        return ModeVerdict(mode, False, SPARSE_DYNAMIC)
    if mode == "int8" and not has_samples:
        return ModeVerdict(mode, False, "int8 needs representative inputs to find the value ranges; give --data")
    if mode == "int8" and facts.has_loop:
        return ModeVerdict(mode, False, INT8_LOOP)
    if mode == "dynamic" and facts.has_dense and not _knows_per_channel_dense(target.runtime):
        runtime = f"{target.runtime.package} {target.runtime.version}"
        reason = f"Dense weights get one scale per tensor: one per channel does not load on {runtime}"
        return ModeVerdict(mode, True, reason, per_channel_dense=False)
    return ModeVerdict(mode, True, "")


# Sparse convolutions don't load (ai-edge-litert 2.3, TensorFlow 2.21), block-sparse Dense crashes on ARM.
SPARSE_DYNAMIC = "runtimes don't load, or crash on, sparse weights with dynamic-range int8"
SPARSE_MODES = "use float16, none or int8"
INT8_LOOP = "TensorFlow's int8 calibration crashes on loops (LSTM, GRU or another RNN layer without unroll=True)"


def _knows_per_channel_dense(runtime: Runtime) -> bool:
    first = _FIRST_WITH_PER_CHANNEL_DENSE.get(runtime.package.lower().replace("_", "-"))
    return first is None or _release(runtime.version) >= first


def _release(version: str) -> tuple[int, ...]:
    """(2, 14) of "2.14.0": the leading numbers, as many as needed to compare major and minor."""
    numbers = []
    for part in version.split(".")[:2]:
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
