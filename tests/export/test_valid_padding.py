"""SAME on odd sizes becomes PAD and VALID, where that lets sparse kernels run."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgeprune.export.valid_padding import write_valid_padding
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.sparse_inference.predict import predict
from tests.tflite.convolution_nets import Net

pytestmark = pytest.mark.unit


def network(size=17, *, stem="same", stride2=3, sparse=True, storage="float32", tail=None):
    """A stem on an odd size (17 -> 9) and a depthwise layer that halves an odd map (9 -> 5), all SAME."""
    net = Net(size, sparse=sparse, storage=storage)
    x = net.conv(net.input, 16, 3, stride=2, padding="same") if stem == "same" else net.stem()
    x = net.depthwise(net.conv(x, 32), stride2, stride=2)
    return net.pack(net.head(net.block(tail(net, x) if tail else x)))


def verdict(content):
    return predict(parse_model(content, "m"), "ai-edge-litert", "2.3.0", ("neon",)).verdict


def output(content):
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (port,) = interpreter.get_input_details()
    interpreter.set_tensor(port["index"], np.random.default_rng(0).normal(size=port["shape"]).astype(np.float32))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_sparse_kernels_run_and_outputs_stay(kernel, storage):
    content = network(stride2=kernel, storage=storage)
    edited = write_valid_padding(content)
    assert (verdict(content), verdict(edited)) == ("dense", "sparse")
    np.testing.assert_array_equal(output(edited), output(content))
    model = parse_model(edited, "m")
    assert model.op_names.count("PAD") == 2
    # each PAD stands in front of its convolution, and writes what that reads
    shapes = [
        tuple(model.main.tensors[op.outputs[0]].shape) for op in model.main.operators if model.op_name(op) == "PAD"
    ]
    width = 9 + 2 * (kernel // 2)
    assert shapes == [(1, 19, 19, 3), (1, width, width, 32)]


def test_a_shared_pad_is_written_for_each_reader():
    """The converter makes one PAD of two that are equal; XNNPACK takes a PAD in only where it has one reader."""
    net = Net(16, sparse=True)
    padded = net.pad(net.conv(net.stem(), 32), 1, 1)
    both = [net.conv(net.depthwise(padded, stride=2, padding="valid"), 32) for _ in range(2)]
    content = net.pack(net.head(net.binary("ADD", *both)))
    edited = write_valid_padding(content)
    assert (verdict(content), verdict(edited)) == ("broken", "sparse")
    np.testing.assert_array_equal(output(edited), output(content))
    assert parse_model(edited, "m").op_names.count("PAD") == 3


def test_it_is_done_once():
    edited = write_valid_padding(network())
    assert write_valid_padding(edited) == edited


def test_other_files_stay_as_they_are():
    even = Net(16)
    for content in (
        network(sparse=False),  # dense files gain nothing
        even.pack(even.head(even.block(even.conv(even.input, 16, 3, stride=2, padding="same")))),
    ):
        assert write_valid_padding(content) is content


def test_a_file_that_would_break_stays():
    """Sparse kernels would start at the stem, stop at the pooling, and compute wrong numbers in between."""
    content = network(size=65, tail=lambda net, x: net.pool(net.block(x), 2))
    assert verdict(content) == "dense"
    assert write_valid_padding(content) is content
