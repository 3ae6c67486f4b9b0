"""The prediction for a file: clusters as a reader sees them, with the first rule that stops each."""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune.tflite.model import TfliteModel, dtype_name, shape_of, text
from edgeprune.tflite.sparse_inference.breakage import breakages
from edgeprune.tflite.sparse_inference.clusters import Rewrite, Stop, rewrite, weight_zeros
from edgeprune.tflite.sparse_inference.mends import MENDS
from edgeprune.tflite.sparse_inference.nodes import Graph, build_graph
from edgeprune.tflite.sparse_inference.partition import Partition, is_delegated, partitions, unpacks_constant
from edgeprune.tflite.sparse_inference.records import Cluster, Finding, Prediction, Verdict
from edgeprune.tflite.sparse_inference.rules import RuntimeRules, is_verified, rules_for

_WORST_FIRST: tuple[Verdict, ...] = ("broken", "partly", "dense", "sparse", "none")


@dataclass(frozen=True)
class _Part:
    """One partition, followed to its end. broken: what goes wrong when its sparse kernels run."""

    partition: Partition
    state: Rewrite
    broken: tuple[Stop, ...]


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
    components = _components(model)
    nothing: Verdict = "dense" if components else "none"
    if not rules.sparse_float16 and has_sparse_float16(model):
        reason = f"{runtime_package} {runtime_version} reads sparse float16 weights wrongly; {MENDS['float16-sparse']}"
        return Prediction("broken", reason, verified, ())
    if any(extension.startswith("avx") for extension in isa):
        return Prediction(nothing, "XNNPACK has no sparse kernels for x86 CPUs with AVX", True, ())
    if not rules.sparse_kernels:
        return Prediction(nothing, f"{runtime_package} {runtime_version} never runs sparse kernels", verified, ())
    parts = [_follow(model, partition, rules) for partition in partitions(model)]
    clusters = tuple(_cluster(model, ops, parts) for ops in components)
    verdicts = {cluster.verdict for cluster in clusters}
    verdict = next((known for known in _WORST_FIRST if known in verdicts), nothing)
    return Prediction(verdict, "", verified, clusters)


def has_sparse_float16(model: TfliteModel) -> bool:
    """Whether a float16 weight is stored sparsely."""
    return any(
        name == "DENSIFY" and len(operator.inputs) and dtype_name(model.main.tensors[operator.inputs[0]]) == "float16"
        for operator, name in zip(model.main.operators, model.op_names, strict=True)
    )


def _follow(model: TfliteModel, partition: Partition, rules: RuntimeRules) -> _Part:
    state = rewrite(build_graph(model, partition, rules))
    return _Part(partition, state, tuple(breakages(state)) if partition.hinted else ())


def _components(model: TfliteModel) -> list[list[int]]:
    """Operations connected by feature maps, in sets that hold a 1x1 convolution; sorted."""
    parents = list(range(len(model.main.operators)))

    def root(op: int) -> int:
        while parents[op] != op:
            parents[op] = parents[parents[op]]
            op = parents[op]
        return op

    for tensor, producer in model.producers.items():
        if len(shape_of(model.main.tensors[tensor])) != 4 or model.stored_weight(tensor) is not None:
            continue
        for reader in model.consumers.get(tensor, ()):
            parents[root(reader)] = root(producer)
    found: dict[int, list[int]] = {}
    for op in range(len(parents)):
        if not unpacks_constant(model, op):
            found.setdefault(root(op), []).append(op)
    return [ops for ops in found.values() if any(_is_1x1(model, op) for op in ops)]


def _is_1x1(model: TfliteModel, op: int) -> bool:
    operator = model.main.operators[op]
    if model.op_names[op] != "CONV_2D" or len(operator.inputs) < 2 or operator.inputs[1] < 0:
        return False
    return shape_of(model.main.tensors[operator.inputs[1]])[1:3] == (1, 1)


def _cluster(model: TfliteModel, ops: list[int], parts: list[_Part]) -> Cluster:
    inside = set(ops)
    nodes = [
        (part, number, node)
        for part in parts
        for number, node in enumerate(part.state.graph.nodes)
        if node.op in inside and node.is_1x1
    ]
    sparse = sum(part.partition.hinted and number in part.state.engaged for part, number, _ in nodes)
    counts = [weight_zeros(part.state.graph, node) for part, _, node in nodes]
    zeros, weights = sum(zero for zero, _ in counts), sum(weight for _, weight in counts)
    convolutions = sum(_is_1x1(model, op) for op in ops)
    broken = [_finding(part.state.graph, stop) for part in parts for stop in part.broken if _op(part, stop) in inside]
    findings = [
        _finding(part.state.graph, stop) for part in parts for stop in part.state.stops if _op(part, stop) in inside
    ]
    findings += [_not_delegated(model, op) for op in ops if not is_delegated(model, op)]
    if not findings and not sparse:
        findings += _refused_convolutions(parts, inside)
    findings = sorted({(found.op, found.rule): found for found in broken + findings}.values(), key=_position)
    if nodes and not any(part.partition.hinted for part, _, _ in nodes):
        findings.insert(
            0, _whole("not-encoded", "no weight is stored sparsely, so the runtime does not look for zeros")
        )
    if zeros * 3 <= weights * 2:
        findings.append(
            _whole("zeros", f"{zeros} of {weights} weights of its 1x1 convolutions are zero; more than 2/3 must be")
        )
    verdict: Verdict = "dense" if not sparse else "sparse" if sparse == convolutions else "partly"
    if broken:
        verdict = "broken"
    return Cluster(
        verdict, ops[0], ops[-1], convolutions, sparse, weights, zeros, () if verdict == "sparse" else tuple(findings)
    )


def _op(part: _Part, stop: Stop) -> int:
    return part.state.graph.nodes[stop.seen_from].op


def _refused_convolutions(parts: list[_Part], inside: set[int]) -> list[Finding]:
    """Where no cluster began at all: what keeps the first convolution out."""
    return [
        _finding(part.state.graph, Stop(number, number, refusal))
        for part in parts
        for number, refusal in sorted(part.state.refusals.items())
        if part.state.graph.nodes[number].op in inside
    ][:1]


def _finding(graph: Graph, stop: Stop) -> Finding:
    node = graph.nodes[stop.seen_from if stop.node is None else stop.node]
    tensor = text(graph.model.main.tensors[node.outputs[0]].name) if node.outputs else ""
    return Finding(node.op, node.name, tensor, stop.refusal.rule, stop.refusal.reason, MENDS[stop.refusal.rule])


def _not_delegated(model: TfliteModel, op: int) -> Finding:
    operator, name = model.main.operators[op], model.op_names[op]
    tensor = text(model.main.tensors[operator.outputs[0]].name) if len(operator.outputs) else ""
    reason = f"XNNPACK does not run this {name}, so the graph is cut here"
    return Finding(op, name, tensor, "not-delegated", reason, MENDS["not-delegated"])


def _whole(rule: str, reason: str) -> Finding:
    return Finding(None, "", "", rule, reason, MENDS[rule])


def _position(finding: Finding) -> int:
    return -1 if finding.op is None else finding.op
