"""Read the image mirrored, so that TensorFlow's padding becomes the symmetric one: exact, and almost free.

A stride-2 convolution with SAME on an even size pads (0, 1): windows 2i .. 2i+2. On the mirrored image with the
mirrored kernel the same sums come from windows 2i-1 .. 2i+1, that is padding (1, 0), and a second zero behind is never
reached: (1, 1), which XNNPACK's sparse kernels take. 5x5 with (1, 2) becomes (2, 2) in the same way. Everything up to
the global pooling runs mirrored; the pooling forgets the order of positions. So nothing is trained again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeprune.export.passes.end_by_depth_to_space import leaves_cluster, turned_back
from edgeprune.export.passes.layer_checks import CHANNELS_FIRST, is_a, is_operation, layer_refusal
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal
from edgeprune.export.passes.windows import CONVOLUTIONS, Windows, layer_takes, windows_of

NAME = "mirror_image"
EXACTNESS = "exact: the same products, summed in another order"

# Layers that treat every position alike, and so run mirrored as they are (ZeroPadding2D is seen to).
_EVERYWHERE_ALIKE = (
    "Activation", "Add", "Average", "BatchNormalization", "Dropout", "ELU", "Identity", "LeakyReLU", "Maximum",
    "Minimum", "Multiply", "Normalization", "ReLU", "Rescaling", "SpatialDropout2D", "Subtract", "UpSampling2D",
    "ZeroPadding2D",
    # outside training these pass values on
    "GaussianNoise", "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation",
    "RandomZoom",
)  # fmt: skip
_ALIKE_OPERATIONS = (
    "Abs", "Add", "Clip", "Divide", "Gelu", "HardSigmoid", "HardSilu", "Maximum", "Minimum", "Multiply", "Relu",
    "Relu6", "Sigmoid", "Silu", "Softplus", "Subtract", "Tanh",
)  # fmt: skip
_POOLINGS = ("GlobalAveragePooling2D", "GlobalMaxPooling2D")


def run(graph: LayerGraph) -> PassReport:
    """Mirror images and kernels when that makes unequal stride-2 padding symmetric; all of the graph or nothing."""
    images = [tensor for tensor in graph.inputs if _is_image(tensor)]
    reached = _calls_behind(graph, images)
    if not any(_would_gain(graph, call) for call in reached):
        return PassReport(NAME, EXACTNESS)
    stems = [_stem(graph, image) for image in images]
    if None in stems:
        why = "an image does not go through one chain of layers to a Conv2D, where it could be mirrored"
        return PassReport(NAME, EXACTNESS, (), (Refusal(reached[0].name, why),))
    found = [Refusal(call.name, reason) for call in reached if (reason := refusal(graph, call)) is not None]
    mirrored = [*images, *(made for call in reached for made in call.outputs)]
    found += [
        Refusal(call.name, "it also reads values that are not made from the image, which stay as they are")
        for call in reached
        if not all(_is_pooled(read) or any(read is made for made in mirrored) for read in call.tensors)
    ]
    if found:
        return PassReport(NAME, EXACTNESS, (), tuple(found))
    changed = [
        call.name
        for call in reached
        if is_a(call, *CONVOLUTIONS) and _mirror_kernel(graph, call, is_stem=any(call is stem for stem in stems))
    ]
    for call in reached:
        if is_a(call, "ZeroPadding2D") and any(call is other for other in graph.calls):
            padding = tuple((after, before) for before, after in call.operation.padding)
            graph.replace(call, graph.insert(call, remade(call.operation, padding=padding), *call.tensors))
        elif leaves_cluster(graph, call):
            turned_back(graph, call)
    return PassReport(NAME, EXACTNESS, tuple(changed))


def refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why a call that reads images can't run mirrored."""
    if getattr(call.operation, "data_format", "channels_last") != "channels_last":
        return CHANNELS_FIRST
    if is_a(call, *_POOLINGS) or leaves_cluster(graph, call):
        return None
    if any(graph.is_output(made) and _is_image(made) for made in call.outputs):
        return "its output is an image of the model, and would come out mirrored"
    if is_a(call, *CONVOLUTIONS):
        return _convolution_refusal(graph, call)
    if is_a(call, "MaxPooling2D", "AveragePooling2D"):
        return _pooling_refusal(call)
    if is_a(call, "Concatenate"):
        return None if call.operation.axis in (-1, 3) else "it joins images along height or width"
    if not is_a(call, *_EVERYWHERE_ALIKE) and not is_operation(call, *_ALIKE_OPERATIONS):
        return f"{type(call.operation).__name__} may look at positions"
    if is_a(call, "Activation") and getattr(call.operation.activation, "__name__", "") not in _ACTIVATIONS:
        return "an activation of its own may look at positions"
    return None if _constants_fit(call) else "its constants differ from position to position"


_ACTIVATIONS = {
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "leaky_relu", "linear", "mish", "relu", "relu6",
    "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "tanh",
}  # fmt: skip


def _convolution_refusal(graph: LayerGraph, call: Call) -> str | None:
    reason = layer_refusal(graph, call)
    if reason is not None:
        return reason
    if _stays(call):
        return None
    windows = windows_of(graph, call)
    if isinstance(windows, str):
        return windows
    if any(axis.mirrored().before < 0 for axis in windows.axes):
        return (
            f"stride {call.operation.strides[0]}, padding {windows.padding()}: mirrored it would skip the first pixels"
        )
    if windows.is_symmetric() and layer_takes(graph, call) is None and not _mirrored(windows).is_symmetric():
        return "its symmetric padding would become unequal"
    return None


def _pooling_refusal(call: Call) -> str | None:
    layer = call.operation
    if layer.strides == (1, 1) and layer.padding == "same" and all(size % 2 for size in layer.pool_size):
        return None
    sizes = call.tensors[0].shape[1:3]
    if layer.strides == layer.pool_size and all(size and size % layer.strides[0] == 0 for size in sizes):
        return None
    return "pooling windows that would lie elsewhere on the mirrored image"


def _constants_fit(call: Call) -> bool:
    """Whether the constants of an elementwise call are the same at all positions."""
    import keras

    found = [value for value in keras.tree.flatten((call.args, call.kwargs)) if isinstance(value, np.ndarray)]
    return all(value.ndim < 2 or all(size == 1 for size in value.shape[-3:-1]) for value in found)


def _is_image(tensor: Any) -> bool:
    return len(tensor.shape) == 4 and tuple(tensor.shape[1:3]) != (1, 1)


def _is_pooled(tensor: Any) -> bool:
    return len(tensor.shape) == 4 and tuple(tensor.shape[1:3]) == (1, 1)


def _calls_behind(graph: LayerGraph, images: list[Any]) -> list[Call]:
    """The calls that images reach, up to global pooling."""
    reached, calls = list(images), []
    for call in graph.calls:
        if any(read is image for read in call.tensors for image in reached):
            calls.append(call)
            if not leaves_cluster(graph, call):
                reached += [made for made in call.outputs if _is_image(made)]
    return calls


def _would_gain(graph: LayerGraph, call: Call) -> bool:
    """Whether a convolution that sparse kernels could take becomes symmetric."""
    if not is_a(call, *CONVOLUTIONS) or call.operation.strides != (2, 2) or layer_takes(graph, call) is not None:
        return False
    windows = windows_of(graph, call)
    return isinstance(windows, Windows) and not windows.is_symmetric() and _mirrored(windows).is_symmetric()


def _mirrored(windows: Windows) -> Windows:
    first, second = windows.axes
    return Windows((first.mirrored(), second.mirrored()), windows.source)


def _stays(call: Call) -> bool:
    """A stride-1 SAME convolution with an odd reach keeps its padding."""
    layer = call.operation
    reaches = [(kernel - 1) * rate for kernel, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    return layer.strides == (1, 1) and (
        layer.kernel_size == (1, 1) or (layer.padding == "same" and all(reach % 2 == 0 for reach in reaches))
    )


def _stem(graph: LayerGraph, image: Any) -> Call | None:
    """The first convolution of an image, behind layers that treat pixels alike; None where others read it too."""
    reader = graph.only_reader(image)
    while reader is not None and not is_a(reader, "Conv2D"):
        alike = is_a(reader, *_EVERYWHERE_ALIKE) or is_operation(reader, *_ALIKE_OPERATIONS)
        reader = graph.only_reader(reader.output) if alike and len(reader.tensors) == 1 else None
    return reader if reader is not None and reader.operation.groups == 1 else None


def _mirror_kernel(graph: LayerGraph, call: Call, *, is_stem: bool) -> bool:
    """Mirror a convolution's kernel and padding, and the stem's image. False where nothing has to change."""
    import keras

    layer = call.operation
    if layer.kernel_size == (1, 1) and layer.strides == (1, 1) and not is_stem:
        return False
    kernel, *others = layer.get_weights()
    kernel = kernel[::-1, ::-1]
    new, source, padding = remade(layer), call.tensors[0], None
    if not _stays(call):
        windows = windows_of(graph, call)
        assert isinstance(windows, Windows)  # or it would have been refused
        windows = _mirrored(windows)
        new, source, padding = remade(layer, padding="valid"), windows.source, windows.padding()
    if is_stem:
        source = _read_backwards(graph, call, source)
        kernel = kernel[:, :, ::-1]
    if padding not in (None, ((0, 0), (0, 0))):
        source = graph.insert(call, keras.layers.ZeroPadding2D(padding, name=f"{call.name}_pad"), source)
    output = graph.insert(call, new, source)
    new.set_weights([kernel, *others])
    new.trainable = layer.trainable
    graph.replace(call, output)
    return True


def _read_backwards(graph: LayerGraph, before: Call, image: Any) -> Any:
    """The whole image as one row read backwards, channels too: a quarter of the instructions that reversing two axes
    takes (LiteRT 2.3), and older runtimes reverse one axis only."""
    import keras

    _, height, width, channels = image.shape
    row = graph.insert(before, keras.ops.reshape, image, (-1, height * width * channels))
    row = graph.insert(before, keras.ops.flip, row, axis=1)
    return graph.insert(before, keras.ops.reshape, row, (-1, height, width, channels))
