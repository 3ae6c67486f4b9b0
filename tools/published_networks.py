"""The networks that latencies are published of, as lists of operations; what they compute does not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgeprune.cost.one_op import LayerShape

# (expansion, output channels, repeats, first stride, kernel)
_V2 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3), (6, 160, 3, 2, 3))
_V2_LAST = (6, 320, 1, 1, 3)
_LITE0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5))
_LITE0_LAST = (6, 320, 1, 1, 3)
_FPN = 64
_CLASSES, _ANCHORS = 90, 9


def convolution(size: int, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> LayerShape:
    """A square convolution with SAME padding."""
    return LayerShape("CONV_2D", size, size, inputs, outputs, (kernel, kernel), (stride, stride))


def depthwise(size: int, channels: int, kernel: int = 3, stride: int = 1) -> LayerShape:
    """A square depthwise convolution with SAME padding."""
    return LayerShape("DEPTHWISE_CONV_2D", size, size, channels, channels, (kernel, kernel), (stride, stride))


def plain(op: str, size: int, channels: int, kernel: int = 1, stride: int = 1) -> LayerShape:
    """An operation without weights."""
    return LayerShape(op, size, size, channels, channels, (kernel, kernel), (stride, stride))


def mobilenet_v1() -> Iterator[LayerShape]:
    """MobileNet 1.0 at 224 (Howard et al. 2017)."""
    yield convolution(224, 3, 32, 3, 2)
    size, channels = 112, 32
    for outputs, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2)):
        yield depthwise(size, channels, 3, stride)
        size //= stride
        yield convolution(size, channels, outputs)
        channels = outputs
    yield depthwise(7, 1024)
    yield convolution(7, 1024, 1024)
    yield from _head(7, 1024, 1000)


def mobilenet_v2() -> Iterator[LayerShape]:
    """MobileNetV2 1.0 at 224 (Sandler et al. 2018)."""
    yield convolution(224, 3, 32, 3, 2)
    yield from _inverted(112, 32, (*_V2, _V2_LAST))
    yield convolution(7, 320, 1280)
    yield from _head(7, 1280, 1000)


def efficientdet_lite0() -> Iterator[LayerShape]:
    """EfficientDet-lite0 at 320 (Tan et al. 2020, google/automl): EfficientNet-lite0, three BiFPN cells of 64 channels,
    heads of three separable convolutions on five levels, 90 classes, 9 anchors; scores as the file computes them."""
    yield convolution(320, 3, 32, 3, 2)
    yield from _inverted(160, 32, (*_LITE0, _LITE0_LAST))
    levels = {3: 40, 4: 20, 5: 10, 6: 5, 7: 3}
    yield convolution(10, 320, _FPN)
    yield plain("MAX_POOL_2D", 10, _FPN, 3, 2)
    yield plain("MAX_POOL_2D", 5, _FPN, 3, 2)
    for size, channels, times in ((40, 40, 1), (20, 112, 2), (10, 320, 2)):
        for _ in range(times):
            yield convolution(size, channels, _FPN)
    for _ in range(3):
        for level in (6, 5, 4, 3):
            yield plain("RESIZE_NEAREST_NEIGHBOR", levels[level], _FPN)
            yield from _fusion(levels[level], 1)
        for level in (4, 5, 6, 7):
            yield plain("MAX_POOL_2D", levels[level - 1], _FPN, 3, 2)
            yield from _fusion(levels[level], 1 if level == 7 else 2)
    for outputs in (_ANCHORS * _CLASSES, _ANCHORS * 4):
        for size in levels.values():
            for made in (_FPN, _FPN, _FPN, outputs):
                yield depthwise(size, _FPN)
                yield convolution(size, _FPN, made)
    boxes = sum(size * size for size in levels.values()) * _ANCHORS
    yield LayerShape("CONCATENATION", boxes, 1, _CLASSES, _CLASSES)
    yield LayerShape("LOGISTIC", boxes, 1, _CLASSES, _CLASSES)
    yield LayerShape("TFLite_Detection_PostProcess", boxes, 1, _CLASSES, _CLASSES)


NETWORKS: dict[str, Callable[[], Iterator[LayerShape]]] = {
    "V1": mobilenet_v1,
    "V2": mobilenet_v2,
    "EfficientDet-lite0": efficientdet_lite0,
}


def _inverted(size: int, channels: int, blocks: tuple[tuple[int, int, int, int, int], ...]) -> Iterator[LayerShape]:
    """Inverted residual blocks."""
    for expansion, outputs, repeats, first, kernel in blocks:
        for number in range(repeats):
            stride = first if number == 0 else 1
            inner = channels * expansion
            if expansion > 1:
                yield convolution(size, channels, inner)
            yield depthwise(size, inner, kernel, stride)
            size //= stride
            yield convolution(size, inner, outputs)
            if stride == 1 and channels == outputs:
                yield plain("ADD", size, outputs)
            channels = outputs


def _fusion(size: int, additions: int) -> Iterator[LayerShape]:
    """A BiFPN node: its inputs are added and go through a separable convolution."""
    for _ in range(additions):
        yield plain("ADD", size, _FPN)
    yield depthwise(size, _FPN)
    yield convolution(size, _FPN, _FPN)


def _head(size: int, channels: int, classes: int) -> Iterator[LayerShape]:
    yield plain("MEAN", size, channels)
    yield LayerShape("FULLY_CONNECTED", 1, 1, channels, classes)
    yield LayerShape("SOFTMAX", 1, 1, classes, classes)
