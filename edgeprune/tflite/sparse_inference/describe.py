"""The outcome as a reader sees it: clusters of connected operations, and the first rule that stops each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf

from edgeprune.tflite.model import TfliteModel, shape_of, text
from edgeprune.tflite.sparse_inference.clusters import Rewrite, Stop, weight_zeros
from edgeprune.tflite.sparse_inference.mends import MENDS
from edgeprune.tflite.sparse_inference.nodes import Graph, Node
from edgeprune.tflite.sparse_inference.partition import Partition, is_delegated, unpacks_constant
from edgeprune.tflite.sparse_inference.records import Cluster, Finding, Verdict
from edgeprune.tflite.sparse_inference.rules import RuntimeRules


@dataclass(frozen=True)
class Part:
    """One partition, followed to its end. broken: what goes wrong when its sparse kernels run."""

    partition: Partition
    state: Rewrite
    broken: tuple[Stop, ...]


class Places:
    """Where each operation of the file went.

    nodes: operation -> its partition and its node's number there. stops: operation -> what the runtime met at it; the
    flag says that it breaks the model. counted: (partition, leader) -> nodes whose weights the 2/3 rule counts.
    """

    def __init__(self, model: TfliteModel, parts: list[Part], rules: RuntimeRules) -> None:
        self.model, self.rules, self.parts = model, rules, parts
        self.nodes: dict[int, tuple[int, int]] = {}
        self.stops: dict[int, list[tuple[Part, Stop, bool]]] = defaultdict(list)
        self.counted: dict[tuple[int, int], list[Node]] = defaultdict(list)
        for at, part in enumerate(parts):
            for number, node in enumerate(part.state.graph.nodes):
                self.nodes[node.op] = (at, number)
                if node.is_counted:
                    self.counted[at, part.state.leaders[number]].append(node)
            for stops, breaks in ((part.broken, True), (part.state.stops, False)):
                for stop in stops:
                    self.stops[part.state.graph.nodes[stop.seen_from].op].append((part, stop, breaks))


def components(model: TfliteModel) -> list[list[int]]:
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


def describe(places: Places, ops: list[int]) -> Cluster:
    """The cluster of these connected operations."""
    model = places.model
    convolutions = [op for op in ops if _is_1x1(model, op)]
    placed = [places.nodes[op] for op in convolutions if op in places.nodes]
    sparse = sum(
        places.parts[at].partition.hinted and number in places.parts[at].state.engaged for at, number in placed
    )
    zeros, weights = _zeros(places, placed)
    met = [found for op in ops for found in places.stops.get(op, ())]
    findings = [_finding(part.state.graph, stop) for part, stop, breaks in met if breaks]
    broken = bool(findings)
    findings += [_finding(part.state.graph, stop) for part, stop, breaks in met if not breaks]
    before, after = _before(places, ops), _after(places, ops)
    foreign = [op for op in ops if not is_delegated(model, op, places.rules)]
    findings += [_not_delegated(model, op) for op in foreign if op in before or op in after]
    findings += _refused(places, ops, before, after)
    findings = sorted({(found.op, found.rule): found for found in findings}.values(), key=_position)
    if placed and not any(places.parts[at].partition.hinted for at, _ in placed):
        reason = "no weight is stored sparsely, so the runtime does not look for zeros"
        findings.insert(0, _whole("not-encoded", reason))
    if zeros * 3 <= weights * 2:
        findings.append(_whole("zeros", f"{zeros} of {weights} weights that count are zero; more than 2/3 must be"))
    verdict: Verdict = "dense" if not sparse else "sparse" if sparse == len(convolutions) else "partly"
    if broken:
        verdict = "broken"
    kept = () if verdict == "sparse" else tuple(findings)
    return Cluster(verdict, ops[0], ops[-1], len(convolutions), sparse, weights, zeros, kept)


def _zeros(places: Places, placed: list[tuple[int, int]]) -> tuple[int, int]:
    """(zeros, elements) of the weights that decide: those of the convolutions and of what shares their cluster."""
    keys = {(at, places.parts[at].state.leaders[number]) for at, number in placed}
    counts = [
        weight_zeros(places.parts[at].state.graph, node) for at, leader in keys for node in places.counted[at, leader]
    ]
    return sum(zeros for zeros, _ in counts), sum(weights for _, weights in counts)


def _before(places: Places, ops: list[int]) -> set[int]:
    """The 1x1 convolutions and what feeds them, back to the stem: what stands before that may be anything."""
    model = places.model
    found: set[int] = set()
    leading: set[int] = set()
    for op in reversed(ops):
        outputs = map(int, model.main.operators[op].outputs)
        readers = [reader for tensor in outputs for reader in model.consumers.get(tensor, ())]
        if _is_1x1(model, op) or not leading.isdisjoint(readers):
            found.add(op)
            if not _is_stem(places, op):
                leading.add(op)
    return found


def _after(places: Places, ops: list[int]) -> set[int]:
    """What 1x1 convolutions feed."""
    found: set[int] = set()
    for op in ops:
        producers = {places.model.producers.get(int(tensor)) for tensor in places.model.main.operators[op].inputs}
        if any(
            producer in found or (producer is not None and _is_1x1(places.model, producer)) for producer in producers
        ):
            found.add(op)
    return found


def _is_stem(places: Places, op: int) -> bool:
    """Whether an operation is the first convolution: what stands before that is no part of a cluster."""
    model = places.model
    if model.op_names[op] != "CONV_2D" or _is_1x1(model, op):
        return False
    waiting, seen = [op], {op}
    while waiting:
        sources = {model.producers.get(int(tensor)) for tensor in model.main.operators[waiting.pop()].inputs}
        for source in sources:
            if source is None or source in seen:
                continue
            if model.op_names[source] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                return False
            seen.add(source)
            waiting.append(source)
    return True


def _refused(places: Places, ops: list[int], before: set[int], after: set[int]) -> list[Finding]:
    """What has no place in a cluster and stands before a 1x1 convolution, or ends the feature maps without a mean."""
    found = []
    for op in ops:
        at, number = places.nodes.get(op, (-1, -1))
        if at < 0 or number not in places.parts[at].state.refusals:
            continue
        state = places.parts[at].state
        sources = (state.graph.producers.get(tensor) for tensor in state.graph.nodes[number].inputs)
        pooled = any(source is not None and state.graph.nodes[source].kind == "reduce" for source in sources)
        if op in before or (op in after and not pooled):
            found.append(_finding(state.graph, Stop(number, number, state.refusals[number])))
    return found


def _finding(graph: Graph, stop: Stop) -> Finding:
    if stop.refusal.rule == "no-end":
        return _whole(stop.refusal.rule, stop.refusal.reason)
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


def _position(finding: Finding) -> float:
    return inf if finding.op is None else finding.op
