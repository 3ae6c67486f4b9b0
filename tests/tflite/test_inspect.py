"""Summaries of files whose contents are known by construction."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.activations import peak_arena_bytes, unpacked_weight_bytes
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.inspect import OpCount, inspect, min_runtime_version, summarize
from edgeprune.tflite.quantization import quantization_of
from tests.tflite.model_files import ModelFile, dense_network, pool, sparse_encoding

pytestmark = pytest.mark.unit


def summary_of(file: ModelFile):
    return summarize(parse_model(file.pack(), "m.tflite"))


def test_a_small_dense_network(tmp_path):
    kernel = np.ones((4, 8), np.float32)
    kernel[:, :2] = 0
    file = dense_network(version=4, data=kernel)
    file.note("min_runtime_version", b"2.3.0".ljust(16, b"\0"))
    path = tmp_path / "m.tflite"
    path.write_bytes(file.pack())
    summary = inspect(path)
    assert summary.size_bytes == path.stat().st_size
    assert summary.ops == (OpCount("FULLY_CONNECTED", 4, 1),)
    assert summary.tensors == 4
    # kernel 4 x 8 and bias 4, float32
    assert summary.constant_bytes == {"float32": 4 * 8 * 4 + 4 * 4}
    assert summary.other_bytes == summary.size_bytes - 144
    (weight,) = summary.weights
    assert (weight.name, weight.shape, weight.dtype, weight.encoding) == ("kernel", (4, 8), "float32", "dense")
    assert weight.zero_fraction == summary.zero_fraction == 0.25
    assert summary.quantization == "none"
    assert [(port.name, port.shape, port.dtype, port.scale) for port in summary.inputs] == [
        ("x", (1, 8), "float32", None)
    ]
    assert [port.shape for port in summary.outputs] == [(1, 4)]
    assert summary.min_runtime_version == "2.3.0"
    assert (summary.custom_ops, summary.dynamic_tensors, summary.signatures) == ((), (), ())
    assert summary.subgraphs == ("main",)


def test_operations_are_counted_in_order_of_appearance():
    file = ModelFile()
    x = file.tensor((1, 2, 2, 1))
    y, z, out = (file.tensor((1, 2, 2, 1)) for _ in range(3))
    file.inputs, file.outputs = [x], [out]
    pool(file, x, y)
    file.op("RELU", [y], [z])
    pool(file, z, out)
    assert summary_of(file).ops == (OpCount("MAX_POOL_2D", 1, 2), OpCount("RELU", 1, 1))


def test_sparse_weights_count_zeros_in_the_dense_form():
    # 4 rows of 8, columns 0 and 3 stored: 8 of 32 stored, one of them zero -> 7 nonzero.
    values = np.array([1, 2, 3, 0, 5, 6, 7, 8], np.float32)
    file = dense_network(sparsity=sparse_encoding(4, [0, 3]), unpack="DENSIFY", data=values)
    summary = summary_of(file)
    (weight,) = summary.weights
    assert weight.encoding == "sparse"
    assert weight.is_sparse
    assert weight.zero_fraction == 1 - 7 / 32
    # 5 row segments and 8 column indices, one byte each
    assert summary.sparse_index_bytes == 13
    assert weight.stored_bytes == 8 * 4 + 13
    assert summary.unpacked_weight_bytes == 4 * 8 * 4
    assert summary.quantization == "none"


def test_block_sparse_weights_name_their_block():
    # Each row stores the one 1x4 block at block column 1.
    file = dense_network(sparsity=sparse_encoding(4, [1], block=4), data=np.ones(16, np.float32))
    (weight,) = summary_of(file).weights
    assert weight.encoding == "block 1x4"
    assert weight.zero_fraction == 0.5


def test_zero_means_the_zero_point_in_integer_weights():
    file = dense_network("int8", "int8", data=np.array([5] * 8 + [0] * 24, np.int8))
    file.tensors[1].quantization.zeroPoint = np.array([5], np.int64)
    assert summary_of(file).weights[0].zero_fraction == 0.25


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (dense_network(), "none"),
        (dense_network(weight="float16", unpack="DEQUANTIZE"), "float16"),
        (dense_network(weight="int8"), "dynamic"),
        (dense_network(weight="int8", unpack="DEQUANTIZE"), "dynamic"),
        (dense_network("int8", "int8"), "int8"),
    ],
)
def test_quantization_of_one_layer(network, expected):
    assert quantization_of(parse_model(network.pack(), "m.tflite")) == expected


@pytest.mark.parametrize(
    ("second_activation", "second_weight", "first", "expected"),
    [
        ("float32", "float32", ("float32", "int8"), "dynamic"),
        ("float32", "float32", ("int8", "int8"), "mixed"),
        ("float32", "int8", ("int8", "int8"), "mixed"),
    ],
)
def test_quantization_of_two_layers(second_activation, second_weight, first, expected):
    file = dense_network(*first)
    x = file.tensor((1, 8), second_activation)
    kernel = file.tensor((4, 8), second_weight, np.ones((4, 8), second_weight))
    file.op("FULLY_CONNECTED", [x, kernel, -1], [file.tensor((1, 4), second_activation)])
    assert quantization_of(parse_model(file.pack(), "m.tflite")) == expected


def test_quantized_ports_show_scale_and_zero_point():
    file = dense_network("int8", "int8")
    file.tensors[0].quantization.zeroPoint = np.array([-3], np.int64)
    port = summary_of(file).inputs[0]
    assert (port.dtype, port.scale, port.zero_point) == ("int8", 0.5, -3)


def test_peak_arena_by_hand():
    """x 64 B -> a 64 B -> b 64 B -> y 64 B. x lives throughout, y to the end; a and b overlap at operation 1, a and y
    never meet, so y takes a's place: x, a|y, b = 192 bytes."""
    file = ModelFile()
    x, a, b, y = (file.tensor((1, 1, 1, 16)) for _ in range(4))
    for source, result in ((x, a), (a, b), (b, y)):
        pool(file, source, result)
    file.inputs, file.outputs = [x], [y]
    assert peak_arena_bytes(parse_model(file.pack(), "m.tflite")) == 192


def test_variables_and_unread_results_stay_in_the_arena():
    """As above plus a variable, and a result nobody reads, which the runtime never frees: x, v, unread, a|y, b."""
    file = ModelFile()
    x, a, b, y, unread = (file.tensor((1, 1, 1, 16)) for _ in range(5))
    file.tensor((1, 1, 1, 16), variable=True)
    for source, result in ((x, unread), (x, a), (a, b), (b, y)):
        pool(file, source, result)
    file.inputs, file.outputs = [x], [y]
    assert peak_arena_bytes(parse_model(file.pack(), "m.tflite")) == 5 * 64


def test_unpacked_weights_are_not_activations():
    file = dense_network(weight="float16", unpack="DEQUANTIZE")
    model = parse_model(file.pack(), "m.tflite")
    assert unpacked_weight_bytes(model) == 4 * 8 * 4
    # x: 32 bytes at 0, y: 16 bytes at 64
    assert peak_arena_bytes(model) == 80


def test_shared_buffers_are_counted_once():
    file = dense_network()
    second = file.tensor((4, 8), name="twin")
    file.tensors[second].buffer = file.tensors[1].buffer
    summary = summary_of(file)
    assert summary.constant_bytes == {"float32": 144}
    assert len(summary.weights) == 2


def test_dynamic_shapes_custom_operations_subgraphs_and_signatures_are_named():
    file = dense_network()
    file.tensors[0].shapeSignature = np.array([-1, 8], np.int32)
    file.op("CUSTOM", [3], [file.tensor((1, 4))], custom="FlexErf")
    file.signatures.append(schema.SignatureDefT(inputs=[], outputs=[], signatureKey="train"))
    other = schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[], name="body")
    summary = summarize(parse_model(file.pack((other,)), "m.tflite"))
    assert summary.dynamic_tensors == ("x",)
    assert summary.inputs[0].shape == (-1, 8)
    assert summary.custom_ops == ("FlexErf",)
    assert summary.subgraphs == ("main", "body")
    assert summary.signatures == ("train",)


def test_names_can_not_reach_the_terminal_as_control_sequences():
    file = dense_network()
    file.tensors[0].name = "a\x1b[31mb\n"
    assert summary_of(file).inputs[0].name == "a\N{REPLACEMENT CHARACTER}[31mb\N{REPLACEMENT CHARACTER}"


def test_no_noted_version_is_none():
    file = dense_network()
    file.note("min_runtime_version", b"\0" * 16)
    assert min_runtime_version(parse_model(file.pack(), "m.tflite")) is None
    assert min_runtime_version(parse_model(dense_network().pack(), "m.tflite")) is None
