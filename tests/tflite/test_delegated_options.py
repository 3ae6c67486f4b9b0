"""Options that decide whether XNNPACK takes an operation; an emulated Raspberry Pi 4 did the same for each."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeprune.tflite.compat import traps
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.sparse_inference.predict import predict
from tests.tflite.convolution_nets import Net

pytestmark = pytest.mark.unit

ARM = ("neon",)


def verdict(name, inputs, size, options, version="2.3.0"):
    """The verdict on a network with one operation between two blocks. size: height and width of its output."""
    net = Net()
    maps = net.block(net.stem())
    repeated = inputs if isinstance(inputs, int) else 1
    constants = [] if isinstance(inputs, int) else [net.file.tensor(a.shape, a.dtype.name, a) for a in inputs]
    result = net.file.tensor((1, *size, 64 * repeated))
    net.file.op(name, [maps] * repeated + constants, [result], options=options)
    model = parse_model(net.pack(net.head(net.block(result))), "m.tflite")
    return predict(model, "ai-edge-litert", version, ARM).verdict


def pooling(kernel, stride):
    return "Pool2DOptions", schema.Pool2DOptionsT(
        padding=schema.Padding.VALID, strideH=stride, strideW=stride, filterHeight=kernel, filterWidth=kernel
    )


@pytest.mark.parametrize("name", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize(
    ("kernel", "stride", "size", "expected"),
    [(1, 1, 8, "sparse"), (1, 2, 4, "dense"), (2, 3, 3, "dense"), (2, 2, 4, "broken")],
)
def test_pooling(name, kernel, stride, size, expected):
    assert verdict(name, 1, (size, size), pooling(kernel, stride)) == expected


@pytest.mark.parametrize(("slope", "expected"), [(0.1, "sparse"), (-0.3, "sparse"), (0.0, "dense"), (1e-40, "dense")])
def test_the_slope_of_a_leaky_relu(slope, expected):
    assert verdict("LEAKY_RELU", 1, (8, 8), ("LeakyReluOptions", schema.LeakyReluOptionsT(alpha=slope))) == expected


@pytest.mark.parametrize(("beta", "expected"), [(1.0, "broken"), (2.0, "dense")])
def test_the_beta_of_a_softmax(beta, expected):
    assert verdict("SOFTMAX", 1, (8, 8), ("SoftmaxOptions", schema.SoftmaxOptionsT(beta=beta))) == expected


@pytest.mark.parametrize(("count", "expected"), [(5, "broken"), (6, "dense")])
def test_the_inputs_of_a_concatenation(count, expected):
    options = ("ConcatenationOptions", schema.ConcatenationOptionsT(axis=3))
    assert verdict("CONCATENATION", count, (8, 8), options) == expected


@pytest.mark.parametrize(("stride", "size", "expected"), [(1, 8, "broken"), (2, 4, "dense")])
def test_the_strides_of_a_slice(stride, size, expected):
    places = [np.array(values, np.int32) for values in ([0] * 4, [1, 8, 8, 64], [1, stride, stride, 1])]
    options = ("StridedSliceOptions", schema.StridedSliceOptionsT())
    assert verdict("STRIDED_SLICE", places, (size, size), options) == expected


@pytest.mark.parametrize(("version", "expected"), [("2.3.0", "sparse"), ("2.1.6", "sparse"), ("1.4.0", "dense")])
def test_logarithms_since_2_1(version, expected):
    assert verdict("LOG", 1, (8, 8), None, version) == expected


@pytest.mark.parametrize(("change", "expected"), [("depthwise", "sparse"), ("resize", "sparse"), ("none", "broken")])
def test_a_map_of_one_channel_may_leave(change, expected):
    net = Net()
    maps = net.block(net.stem())
    one = net.conv(maps, 1, act="none")
    left = {"depthwise": net.depthwise, "resize": lambda x: net.resize(x, 16), "none": lambda x: x}[change](one)
    model = parse_model(net.pack(net.head(net.block(maps)), left), "m.tflite")
    assert predict(model, "ai-edge-litert", "2.3.0", ARM).verdict == expected


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("bias", ["absent", "minus one", "given"])
def test_convolutions_without_bias(name, bias):
    net = Net()
    result = net.depthwise(net.stem()) if name == "DEPTHWISE_CONV_2D" else net.conv(net.stem(), 8)
    operator = net.file.operators[-1] if len(net.file.operators[-1].inputs) == 3 else net.file.operators[-2]
    inputs = list(operator.inputs)
    operator.inputs = np.array({"absent": inputs[:2], "minus one": [*inputs[:2], -1], "given": inputs}[bias], np.int32)
    model = parse_model(net.pack(net.head(net.block(result))), "m.tflite")
    for board in (("ai-edge-litert", "2.3.0", ARM), ("tflite-runtime", "2.14.0", ARM)):
        names = [trap.name for trap in traps(model, *board)]
        assert names == ([] if bias == "given" else ["convolution-without-bias"])


class _HalfBiases(Net):
    """Writes constants as float16 behind DEQUANTIZE, as the converter writes biases."""

    def constant(self, values, shape=None):
        array = np.asarray(values, np.float16)
        array = np.broadcast_to(array, array.shape if shape is None else shape)
        stored = self.file.tensor(array.shape, "float16", array.copy(), name=f"half{len(self.file.tensors)}")
        restored = self.file.tensor(array.shape)
        self.file.op("DEQUANTIZE", [stored], [restored], version=3)
        return restored


@pytest.mark.parametrize(
    ("kind", "version", "expected"),
    [
        (Net, "2.3.0", "sparse"),
        (Net, "2.1.6", "broken"),
        (Net, "1.4.0", "broken"),
        (_HalfBiases, "2.3.0", "sparse"),
        (_HalfBiases, "2.1.6", "sparse"),
        (_HalfBiases, "1.4.0", "sparse"),
        (_HalfBiases, "1.3.0", "broken"),
    ],
)
def test_sparse_float16_needs_float16_biases(kind, version, expected):
    net = kind(storage="float16")
    model = parse_model(net.pack(net.head(net.block(net.stem()))), "m.tflite")
    assert predict(model, "ai-edge-litert", version, ARM).verdict == expected


@pytest.mark.parametrize("version", ["2.3.0", "2.1.6", "1.4.0"])
def test_int8_weights_that_are_restored_to_floats(version):
    net = Net(storage="int8")
    model = parse_model(net.pack(net.head(net.block(net.stem()))), "m.tflite")
    assert traps(model, "ai-edge-litert", version, ARM) == ()
    assert predict(model, "ai-edge-litert", version, ARM).verdict == "sparse"
