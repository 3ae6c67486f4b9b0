"""The prediction against what an emulated board did, and what is said of single rules."""

import numpy as np
import pytest

from edgeprune.target import load_target
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.lint import lint_model
from edgeprune.tflite.sparse_inference.clusters import rewrite
from edgeprune.tflite.sparse_inference.mends import MENDS
from edgeprune.tflite.sparse_inference.nodes import build_graph
from edgeprune.tflite.sparse_inference.partition import partitions
from edgeprune.tflite.sparse_inference.predict import predict
from edgeprune.tflite.sparse_inference.records import BREAKING_RULES
from edgeprune.tflite.sparse_inference.rules import RULES, is_verified, rules_for
from tests.tflite.convolution_nets import Net, csr_encoding
from tests.tflite.measured_verdicts import MEASURED, RUNTIMES
from tests.tflite.sparse_corpus import CASES

pytestmark = pytest.mark.unit

ARM = ("neon",)
LETTERS = {"sparse": "S", "partly": "S", "dense": "d", "none": "d", "broken": "WF"}
# It fails for an operation that no runtime has; the trap for that says so, not the prediction.
CUSTOM = "head_custom"


def predicted(case: str, version: str = "2.3.0", *, sparse: bool = True, isa=ARM):
    return predict(parse_model(CASES[case](sparse), case), "ai-edge-litert", version, isa)


def only_cluster(case: str, version: str = "2.3.0", *, sparse: bool = True):
    (cluster,) = predicted(case, version, sparse=sparse).clusters
    return cluster


def test_the_corpus_covers_what_it_should():
    assert set(CASES) == set(MEASURED)
    assert len(CASES) >= 60
    letters = {letter for name in CASES for letter in MEASURED[name]}
    assert letters == set("SdWF")


@pytest.mark.parametrize("column", range(len(RUNTIMES)), ids=[" ".join(runtime) for runtime in RUNTIMES])
def test_prediction_is_what_the_board_did(column):
    wrong = {}
    for name in sorted(set(CASES) - {CUSTOM}):
        prediction = predict(parse_model(CASES[name](True), name), *RUNTIMES[column], ARM)
        if MEASURED[name][column] not in LETTERS[prediction.verdict]:
            wrong[name] = (prediction.verdict, MEASURED[name][column])
    assert wrong == {}


def test_a_custom_operation_is_left_to_its_trap():
    result = lint_model(parse_model(CASES[CUSTOM](True), "m.tflite"), load_target("rpi4"))
    assert [trap.name for trap in result.traps] == ["custom-operations"]
    assert not result.passed
    assert result.missing_operations == ("Nothing",)


def test_x86_with_avx_is_always_dense():
    for name in CASES:
        prediction = predicted(name, isa=("sse4.1", "avx", "avx2"))
        assert prediction.verdict in ("dense", "none")
        assert prediction.verified
        assert prediction.clusters == ()


def test_dense_encodings_are_never_sparse():
    for name in CASES:
        prediction = predicted(name, sparse=False)
        assert prediction.verdict in ("dense", "none"), name
        for cluster in prediction.clusters:
            assert cluster.findings[0].rule == "not-encoded"


# case -> (operation and rule that stop it first, a word of the mend)
STOPS = {
    "stem_same": (("CONV_2D", "stem-padding"), "ZeroPadding2D(1)"),
    "stem_pad_0_1": (("CONV_2D", "stem-padding"), "ZeroPadding2D(1)"),
    "stem_5x5": (("CONV_2D", "convolution-kernel"), "stem"),
    "stem_4_channels": (("CONV_2D", "stem-channels"), "3 channels"),
    "stem_1x1_on_input": (("CONV_2D", "outside-input"), "begin"),
    "depthwise_3_stride_2_same": (("DEPTHWISE_CONV_2D", "depthwise-padding"), "5x5"),
    "depthwise_5_stride_2_valid_pad_1_2": (("DEPTHWISE_CONV_2D", "depthwise-padding"), "5x5"),
    "depthwise_multiplier": (("DEPTHWISE_CONV_2D", "depthwise-multiplier"), "depth_multiplier"),
    "depthwise_dilated": (("DEPTHWISE_CONV_2D", "dilation"), "dilation"),
    "depthwise_7_stride_1_same": (("DEPTHWISE_CONV_2D", "depthwise-kernel"), "5x5"),
    "conv_1x1_stride_2": (("CONV_2D", "convolution-stride"), "stride 1"),
    "conv_1x1_groups": (("CONV_2D", "groups"), "grouped"),
    "conv_3x3": (("CONV_2D", "convolution-kernel"), "1x1"),
    "conv_tanh": (("CONV_2D", "not-delegated"), "XNNPACK"),
    "average_pool": (("AVERAGE_POOL_2D", "pooling"), "global mean"),
    "concat": (("CONCATENATION", "operation"), "global pooling"),
    "constant_second_rank_0": (("MUL", "operand-rank"), "fold"),
    "constant_second_rank_4": (("MUL", "constant-order"), "swap"),
    "constant_first_map": (("MUL", "constant-shape"), "(1, 1, 1, channels)"),
    "gate_reshape": (("RESHAPE", "reshape"), "keepdims=True"),
    "double_by_add": (("ADD", "repeated-operand"), "itself"),
    "end_average_pool": (("AVERAGE_POOL_2D", "pooling"), "global mean"),
    "end_convolution": (("", "no-end"), "GlobalAveragePooling2D"),
    "zeros_60": (("", "zeros"), "2/3"),
}


@pytest.mark.parametrize("case", sorted(STOPS))
def test_the_first_rule_and_its_mend(case):
    cluster = only_cluster(case)
    (operation, rule), word = STOPS[case]
    stop = cluster.stop
    assert stop is not None
    assert (stop.name, stop.rule) == (operation, rule)
    assert word in stop.mend


def test_the_numbers_of_a_rule_are_named():
    assert "top 0, right 1, bottom 1, left 0" in only_cluster("stem_pad_0_1").findings[0].reason
    assert "SAME" in only_cluster("stem_same").findings[0].reason
    shortage = only_cluster("zeros_60").findings[-1]
    # 16 x 64 + 3 times 64 x 64 weights, 60 % of each matrix rounded: 614 + 3 x 2458.
    assert "7988 of 13312" in shortage.reason
    assert (only_cluster("zeros_60").zeros, only_cluster("zeros_60").weights) == (7988, 13312)


def test_what_breaks_is_named_beside_what_stops():
    cluster = only_cluster("average_pool")
    assert cluster.breakage is not None
    assert cluster.breakage.name == "CONV_2D"
    assert cluster.breakage.op is not None
    assert cluster.stop is not None
    assert cluster.breakage.op < cluster.stop.op
    assert (cluster.sparse_convolutions, cluster.convolutions) == (2, 4)


def test_what_stands_before_the_stem_does_not_matter():
    """scaled_before_stem runs sparse; with too few zeros, its rank-1 constant must not be blamed."""
    net = Net(zeros=0.5)
    scaled = net.binary("MUL", net.input, net.constant(0.5, (1,)))
    stem = net.conv(net.pad(scaled, 1, 1), 16, 3, stride=2)
    model = parse_model(net.pack(net.head(net.block(stem))), "m.tflite")
    (cluster,) = predict(model, "ai-edge-litert", "2.3.0", ARM).clusters
    assert [found.rule for found in cluster.findings] == ["zeros"]


def test_a_sparse_cluster_has_no_findings():
    cluster = only_cluster("plain")
    assert (cluster.verdict, cluster.sparse_convolutions, cluster.findings) == ("sparse", 4, ())


def test_every_rule_has_a_mend_and_every_mend_a_rule():
    seen = {"not-encoded"} | {
        finding.rule for name in CASES for cluster in predicted(name).clusters for finding in cluster.findings
    }
    assert seen <= set(MENDS)
    assert set(BREAKING_RULES) <= seen
    # Rules that the corpus does not meet: integers, odd ranks and strides, and what the trap says.
    assert set(MENDS) - seen <= {
        "data-type",
        "rank",
        "depthwise-stride",
        "resize-size",
        "float16-sparse",
        "outside-reader",
    }


def test_integers_always_run_dense():
    net = Net()
    result = net.head(net.block(net.stem()))
    for tensor in net.file.tensors:
        if tensor.buffer == 0 and len(tensor.shape) == 4:
            tensor.type = 9  # int8
    (cluster,) = predict(parse_model(net.pack(result), "m.tflite"), "ai-edge-litert", "2.3.0", ARM).clusters
    assert cluster.verdict == "dense"
    assert "data-type" in {finding.rule for finding in cluster.findings}


def test_exactly_two_thirds_of_zeros_are_not_enough():
    for zeros, verdict in ((2 / 3, "dense"), (2 / 3 + 1 / 48, "sparse")):
        net = Net(zeros=zeros)
        model = parse_model(net.pack(net.head(net.conv(net.stem(), 3))), "m.tflite")  # 48 weights: 32 or 33 zeros
        assert predict(model, "ai-edge-litert", "2.3.0", ARM).verdict == verdict


def test_versions_between_rows_take_the_older_row():
    assert rules_for("ai-edge-litert", "2.1.9").since == (2, 1)
    assert rules_for("ai-edge-litert", "9.0").since == (2, 2)
    assert rules_for("ai-edge-litert", "1.1.2").since == (0, 0)
    assert rules_for("something-else", "1.0") is RULES[0]
    assert is_verified("ai-edge-litert", "2.3.0")
    assert not is_verified("ai-edge-litert", "2.4.0")
    assert not is_verified("something-else", "2.3.0")


def test_every_measured_runtime_is_called_verified():
    named = {(rules.package, version) for rules in RULES for version in rules.verified}
    assert named == set(RUNTIMES)


def test_partitions_are_cut_at_foreign_operations():
    model = parse_model(CASES["not_delegated_inside"](True), "m.tflite")
    found = partitions(model, RULES[0])
    assert len(found) == 2
    names = [[model.op_names[op] for op in partition.ops] for partition in found]
    assert names[0][0] == "PAD"
    assert names[1][-1] == "SOFTMAX"
    assert "LOG_SOFTMAX" not in names[0] + names[1]
    assert all(partition.hinted for partition in found)


def test_padding_is_taken_over_by_a_valid_convolution_only():
    for padding, kinds in (("valid", ["fused", "convolution"]), ("same", ["pad", "convolution"])):
        net = Net()
        model = parse_model(net.pack(net.conv(net.pad(net.input, 1, 1), 16, 3, stride=2, padding=padding)), "m.tflite")
        (partition,) = partitions(model, RULES[0])
        graph = build_graph(model, partition, RULES[0])
        assert [node.kind for node in graph.nodes] == kinds
    assert graph.nodes[1].same


def test_the_stem_itself_does_not_read_nchw():
    model = parse_model(CASES["plain"](True), "m.tflite")
    (partition,) = partitions(model, RULES[0])
    state = rewrite(build_graph(model, partition, RULES[0]))
    stem = next(number for number, node in enumerate(state.graph.nodes) if node.kernel == (3, 3) and node.groups == 1)
    assert stem not in state.engaged
    assert state.graph.nodes[stem].outputs[0] in state.nchw


def test_csr_encoding_holds_what_it_was_given():
    dense = np.array([[0, 1, 0], [2, 0, 3]], np.float32)
    values, parameters = csr_encoding(dense)
    assert values.tolist() == [1, 2, 3]
    assert parameters.dimMetadata[1].arraySegments.values.tolist() == [0, 1, 3]
    assert parameters.dimMetadata[1].arrayIndices.values.tolist() == [1, 0, 2]


@pytest.mark.parametrize("case", ["stem_5x5", "stem_stride_1", "stem_4_channels"])
def test_nothing_before_a_refused_stem_is_blamed(case):
    """The stem is the first convolution, whatever its form; a CONCATENATION before it is no part of a cluster."""
    cluster = only_cluster(case)
    assert cluster.verdict == "dense"
    assert [found.name for found in cluster.findings][:1] == ["CONV_2D"]
    assert cluster.stop.rule in ("convolution-kernel", "stem-channels")


def test_a_file_with_a_sparse_and_a_dense_cluster_runs_partly_sparse():
    net = Net()
    ended = net.depth_to_space(net.block(net.block(net.stem())))
    # behind the RESHAPE a cluster of its own begins, without a stem
    again = net.conv(net.reshape(net.reshape(ended, (1, 4096)), (1, 16, 16, 16)), 32)
    prediction = predict(parse_model(net.pack(again), "m"), "ai-edge-litert", "2.3.0", ARM)
    assert [cluster.verdict for cluster in prediction.clusters] == ["sparse", "dense"]
    assert prediction.verdict == "partly"
