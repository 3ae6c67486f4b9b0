"""Weights stored in the fewest bytes: against the smallest encoding, and run by the runtime beside the dense file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.cost.sparse_encoding import UNPACKING_BYTES
from edgeprune.export.encode_weights import encode_weights
from edgeprune.export.sparse_dense_layers import direct_format
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.inspect import min_runtime_version, summarize
from edgeprune.tflite.sparse_format import SparseFormat, smallest_format
from edgeprune.tflite.sparse_tensor import dense_values
from edgeprune.tflite.weights import index_bytes
from tests.tflite.convolution_nets import Net
from tests.tflite.model_files import ModelFile

pytestmark = pytest.mark.unit

MORE = 1.05


def layer(weight: np.ndarray, *, rows: int = 1, bias: bool = True, storage: str = "float32") -> ModelFile:
    """One dense layer (rank 2), or convolution (rank 4)."""
    file = ModelFile()
    dense = weight.ndim == 2
    data = (rows, weight.shape[1]) if dense else (1, 6, 6, weight.shape[3])
    outputs = len(weight)
    source = file.tensor(data, name="x")
    kernel = file.tensor(weight.shape, storage, weight.astype(storage), name="kernel")
    if storage == "float16":
        kernel = unpacked(file, kernel, weight.shape)
    added = file.tensor((outputs,), "float32", np.ones(outputs, np.float32)) if bias else -1
    if dense:
        result = file.tensor((rows, outputs))
        options = ("FullyConnectedOptions", schema.FullyConnectedOptionsT())
        file.op("FULLY_CONNECTED", [source, kernel, added], [result], options=options)
    else:
        result = file.tensor((1, 6, 6, outputs))
        options = schema.Conv2DOptionsT(padding=schema.Padding.SAME, strideH=1, strideW=1)
        file.op("CONV_2D", [source, kernel, added], [result], options=("Conv2DOptions", options))
    file.inputs, file.outputs = [source], [result]
    return file


def unpacked(file: ModelFile, kernel: int, shape: tuple[int, ...]) -> int:
    restored = file.tensor(shape)
    file.op("DEQUANTIZE", [kernel], [restored], version=3)
    return restored


def network(storage: str = "float32") -> bytes:
    net = Net(sparse=False, storage=storage)
    return net.pack(net.head(net.block(net.block(net.stem()))))


def weights_with_zeros(shape, share: float, block=(1, 1), seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    kept = random.random((*(-(-shape[0] // block[0]),), *shape[1:-1], -(-shape[-1] // block[1]))) >= share
    kept = kept.repeat(block[0], axis=0)[: shape[0]].repeat(block[1], axis=-1)[..., : shape[-1]]
    return (random.integers(1, 9, shape) * kept / 4).astype(np.float32)


def run(content: bytes) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    for number, port in enumerate(interpreter.get_input_details()):
        values = np.random.default_rng(number).normal(size=port["shape"]).astype(port["dtype"])
        interpreter.set_tensor(port["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(port["index"]) for port in interpreter.get_output_details()]


def kernel_of(content: bytes):
    """The stored weight and the dense values it stands for."""
    model = parse_model(content, "m.tflite")
    tensor = next(tensor for tensor in model.main.tensors if tensor.name == b"kernel")
    dtype = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.FLOAT16: "<f2", schema.TensorType.INT8: "i1"}
    stored = model.constant(tensor).view(dtype[tensor.type])
    return tensor, stored.reshape(tensor.shape) if tensor.sparsity is None else dense_values(tensor, stored)


def versions(content: bytes) -> dict[str, int]:
    return {op.name: op.version for op in summarize(parse_model(content, "m.tflite")).ops}


shapes = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 600)),
    st.tuples(st.integers(1, 24), st.sampled_from([1, 3]), st.sampled_from([1, 3]), st.integers(1, 300)),
)


@settings(max_examples=40, deadline=None)
@given(
    shapes,
    st.floats(0, 1),
    st.sampled_from([(1, 1), (1, 4), (4, 1), (4, 4), (1, 16)]),
    st.sampled_from(["float32", "float16"]),
    st.integers(0, 99),
)
def test_bytes_near_the_smallest_the_same_values_and_outputs(shape, share, block, storage, seed):
    weight = weights_with_zeros(shape, share, block, seed)
    plain = layer(weight, storage=storage).pack()
    content = encode_weights(plain)
    tensor, dense = kernel_of(content)
    np.testing.assert_array_equal(dense, weight)
    stored = index_bytes(tensor) + len(parse_model(content, "m").tree.buffers[tensor.buffer].data)
    best = min(smallest_format(dense != 0, dense.itemsize)[1], dense.nbytes)
    # What unpacks a tensor, and writing the file anew, take bytes too, which only small tensors feel.
    assert stored <= max(MORE * best, best + UNPACKING_BYTES + 100)
    assert len(content) <= len(plain)
    for found, wanted in zip(run(content), run(plain), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_whole_networks_compute_the_same(storage):
    plain = network(storage)
    content = encode_weights(plain)
    assert versions(content)["DENSIFY"] == 1
    assert len(content) < len(plain)
    for found, wanted in zip(run(content), run(plain), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_dense_file_comes_back_as_it_is():
    plain = layer(np.ones((40, 60), np.float32)).pack()
    assert encode_weights(plain) is plain


def test_the_same_file_gives_the_same_bytes():
    plain = layer(weights_with_zeros((40, 60), 0.9)).pack()
    assert encode_weights(plain) == encode_weights(plain)


def test_weights_stay_aligned():
    """schema.fbs wants the data of buffers at multiples of 16."""
    content = encode_weights(network())
    model = schema.Model.GetRootAs(content)
    for number in range(model.BuffersLength()):
        data = model.Buffers(number).DataAsNumpy()
        if not isinstance(data, int) and len(data):
            assert (data.ctypes.data - np.frombuffer(content, np.uint8).ctypes.data) % 16 == 0


@pytest.mark.parametrize(
    ("block", "share", "direct"),
    [((1, 4), 0.85, False), ((1, 4), 0.92, True), ((1, 1), 0.95, False), ((1, 1), 0.985, True)],
)
def test_dense_layers_read_few_weights_as_they_are_stored(block, share, direct):
    """The shares where the measured table says that it takes fewer instructions, and where not."""
    weight = weights_with_zeros((200, 200), share, block)
    plain = layer(weight).pack()
    content = encode_weights(plain)
    assert versions(content) == ({"FULLY_CONNECTED": 8} if direct else {"DENSIFY": 1, "FULLY_CONNECTED": 1})
    np.testing.assert_allclose(run(content)[0], run(plain)[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("change", [{"rows": 2}, {"storage": "float16"}])
def test_other_dense_layers_are_unpacked(change):
    content = encode_weights(layer(weights_with_zeros((200, 200), 0.95, (1, 4)), **change).pack())
    assert versions(content)["FULLY_CONNECTED"] == 1


def test_a_layer_without_bias_may_read_stored_weights():
    plain = layer(weights_with_zeros((200, 200), 0.95, (1, 4)), bias=False).pack()
    content = encode_weights(plain)
    assert versions(content) == {"FULLY_CONNECTED": 8}
    np.testing.assert_allclose(run(content)[0], run(plain)[0], rtol=1e-5, atol=1e-4)


def test_speed_does_not_cost_more_than_5_percent():
    """Of 600 inputs an index takes two bytes, of 200 outputs one: rows take 6 bytes per weight, columns 5."""
    assert direct_format(weights_with_zeros((200, 200), 0.985), [1]) == SparseFormat((0, 1), (False, True), (1, 1))
    assert direct_format(weights_with_zeros((200, 600), 0.985), [1]) is None


def quantized_layer(weight: np.ndarray, activation: str, op: str, zero_point: int = 0) -> bytes:
    file = ModelFile()
    scale = 0.5 if activation == "int8" else None
    dense = op == "FULLY_CONNECTED"
    data = (1, weight.shape[-1]) if dense else (1, 6, 6, weight.shape[-1])
    source = file.tensor(data, activation, name="x", scale=scale)
    stored = weight.astype(np.int8).reshape(weight.shape if dense else (len(weight), 1, 1, weight.shape[-1]))
    kernel = file.tensor(stored.shape, "int8", stored, name="kernel", scale=0.1, zero_point=zero_point)
    bias = "int32" if activation == "int8" else "float32"
    added = file.tensor((len(weight),), bias, np.zeros(len(weight), bias), scale=0.05 if scale else None)
    result = file.tensor((*data[:-1], len(weight)), activation, scale=scale)
    options = {
        "FULLY_CONNECTED": ("FullyConnectedOptions", schema.FullyConnectedOptionsT()),
        "CONV_2D": ("Conv2DOptions", schema.Conv2DOptionsT(strideH=1, strideW=1)),
    }[op]
    file.op(op, [source, kernel, added], [result], version=4 if dense else 3, options=options)
    file.inputs, file.outputs = [source], [result]
    return file.pack()


INT8 = np.where(np.random.default_rng(0).random((64, 96)) >= 0.9, 7, 0)


@pytest.mark.parametrize(
    ("activation", "op", "zero_point"),
    [
        ("float32", "CONV_2D", 0),
        ("float32", "FULLY_CONNECTED", 0),
        ("int8", "FULLY_CONNECTED", 0),
        ("int8", "CONV_2D", 7),
    ],
    ids=["dynamic convolution", "dynamic dense", "full-int8 dense", "zero is not 0"],
)
def test_int8_that_no_runtime_loads_or_that_means_something_else_stays_dense(activation, op, zero_point):
    plain = quantized_layer(INT8, activation, op, zero_point)
    assert encode_weights(plain) is plain


def test_full_int8_convolutions_are_encoded_and_scales_stored_once():
    plain = quantized_layer(INT8, "int8", "CONV_2D")
    content = encode_weights(plain)
    stored, dense = kernel_of(content)
    np.testing.assert_array_equal(dense.reshape(INT8.shape), INT8)
    assert stored.quantization is None
    assert len(content) < len(plain)


def test_what_else_reads_a_weight_keeps_it_dense():
    """Shared buffers, outputs, and weights in another place."""
    weight = weights_with_zeros((40, 60), 0.9)
    shared = layer(weight)
    shared.tensors[shared.tensor(weight.shape, name="twin")].buffer = shared.tensors[1].buffer
    returned = layer(weight)
    returned.outputs.append(1)
    multiplied = layer(weight)
    multiplied.op("RELU", [1], [multiplied.tensor(weight.shape)])
    for file in (shared, returned, multiplied):
        plain = file.pack()
        assert encode_weights(plain) is plain


@pytest.mark.parametrize(("noted", "expected"), [("1.5.0", "2.2.0"), ("2.3.0", "2.3.0"), (None, None)])
def test_the_least_runtime_is_raised(noted, expected):
    """DENSIFY came with TensorFlow 2.2."""
    file = layer(weights_with_zeros((40, 60), 0.9))
    if noted:
        file.note("min_runtime_version", noted.encode().ljust(16, b"\0"))
    assert min_runtime_version(parse_model(encode_weights(file.pack()), "m")) == expected
