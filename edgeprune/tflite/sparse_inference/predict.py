"""The prediction for a file."""

from __future__ import annotations

from collections.abc import Sequence

from edgeprune.tflite.model import TfliteModel, dtype_name
from edgeprune.tflite.sparse_inference.breakage import breakages
from edgeprune.tflite.sparse_inference.clusters import rewrite
from edgeprune.tflite.sparse_inference.describe import Part, Places, components, describe
from edgeprune.tflite.sparse_inference.mends import MENDS
from edgeprune.tflite.sparse_inference.nodes import build_graph
from edgeprune.tflite.sparse_inference.partition import Partition, partitions
from edgeprune.tflite.sparse_inference.records import Prediction, Verdict
from edgeprune.tflite.sparse_inference.rules import RuntimeRules, is_verified, rules_for

_WORST_FIRST: tuple[Verdict, ...] = ("broken", "partly", "dense", "sparse", "none")


def predict(model: TfliteModel, runtime_package: str, runtime_version: str, isa: tuple[str, ...]) -> Prediction:
    """Whether XNNPACK's sparse kernels will run on the file's main graph.

    Args:
        model: a file that was read.
        runtime_package: "ai-edge-litert" or "tflite-runtime".
        runtime_version: such as "2.3.0".
        isa: extensions of the CPU as in targets/*.toml.
    """
    rules = rules_for(runtime_package, runtime_version)
    verified = is_verified(runtime_package, runtime_version)
    found = components(model)
    nothing: Verdict = "dense" if found else "none"
    if misreads_float16(model, rules):
        beside = "" if rules.sparse_float16 == "none" else " beside a float32 bias"
        what = f"{runtime_package} {runtime_version} reads sparse float16 weights{beside} wrongly"
        reason = f"{what}; {MENDS['float16-sparse']}"
        return Prediction("broken", reason, verified, ())
    if any(extension.startswith("avx") for extension in isa):
        return Prediction(nothing, "XNNPACK has no sparse kernels for x86 CPUs with AVX", True, ())
    if not rules.sparse_kernels:
        return Prediction(nothing, f"{runtime_package} {runtime_version} never runs sparse kernels", verified, ())
    parts = [_follow(model, partition, rules) for partition in partitions(model, rules)]
    places = Places(model, parts, rules)
    clusters = tuple(describe(places, ops) for ops in found)
    verdicts: set[Verdict] = {cluster.verdict for cluster in clusters}
    if {"sparse", "dense"} <= verdicts:
        verdicts.add("partly")
    verdict = next((known for known in _WORST_FIRST if known in verdicts), nothing)
    return Prediction(verdict, "", verified, clusters)


def misreads_float16(model: TfliteModel, rules: RuntimeRules) -> bool:
    """Whether the runtime gets sparse float16 weights wrong: any, or those that stand beside a float32 bias.

    A float16 bias is behind DEQUANTIZE, as converters write it.
    """
    if rules.sparse_float16 == "all":
        return False
    sparse = {
        int(operator.outputs[0])
        for operator, name in zip(model.main.operators, model.op_names, strict=True)
        if name == "DENSIFY" and _is_float16(model, operator.inputs) and len(operator.outputs)
    }
    if rules.sparse_float16 == "none":
        return bool(sparse)
    restored = {
        int(operator.outputs[0])
        for operator, name in zip(model.main.operators, model.op_names, strict=True)
        if name == "DEQUANTIZE"
        and _is_float16(model, operator.inputs)
        and len(operator.outputs)
        and int(operator.inputs[0]) in sparse
    }
    return any(
        not restored.isdisjoint(map(int, operator.inputs))
        and any(tensor >= 0 and _is_float32_constant(model, int(tensor)) for tensor in operator.inputs[2:])
        for operator in model.main.operators
    )


def _is_float16(model: TfliteModel, tensors: Sequence[int]) -> bool:
    return len(tensors) > 0 and tensors[0] >= 0 and dtype_name(model.main.tensors[tensors[0]]) == "float16"


def _is_float32_constant(model: TfliteModel, tensor: int) -> bool:
    stored = model.stored_weight(tensor)
    return stored is not None and dtype_name(stored) == "float32"


def _follow(model: TfliteModel, partition: Partition, rules: RuntimeRules) -> Part:
    state = rewrite(build_graph(model, partition, rules))
    return Part(partition, state, tuple(breakages(state)) if partition.hinted else ())
