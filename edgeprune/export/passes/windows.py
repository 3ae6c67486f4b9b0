"""Where the windows of a convolution lie on its input: padding in front and behind, as TensorFlow and Keras define it.

Source: tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2; Keras ZeroPadding2D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgeprune.export.passes.layer_checks import is_a
from edgeprune.export.passes.layer_graph import Call, LayerGraph

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")


@dataclass(frozen=True)
class Axis:
    """One spatial axis. size: of the input without padding; kernel: with dilation; count: windows.

    before, after: zeros in front of and behind the input.
    """

    size: int
    kernel: int
    stride: int
    before: int
    after: int

    @property
    def count(self) -> int:
        return (self.size + self.before + self.after - self.kernel) // self.stride + 1

    @property
    def reached(self) -> int:
        """Zeros behind the input that the last window reaches; negative when it ends inside the input."""
        return self.stride * (self.count - 1) + self.kernel - self.size - self.before

    def centered(self) -> Axis:
        """As many zeros in front as behind, k // 2: where that moves the windows, by up to one element."""
        return replace(self, before=self.kernel // 2, after=self.kernel // 2)

    def mirrored(self) -> Axis:
        """The windows on the input read backwards. `before` is negative where they skip its first elements."""
        flipped = replace(self, before=self.reached, after=self.before)
        even = replace(flipped, after=flipped.before)
        return even if flipped.before >= flipped.after and even.count == self.count else flipped


@dataclass(frozen=True)
class Windows:
    """Both axes (height, width) of a convolution, and the tensor that it reads once ZeroPadding2D is looked through."""

    axes: tuple[Axis, Axis]
    source: Any

    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        first, second = self.axes
        return ((first.before, first.after), (second.before, second.after))

    def is_symmetric(self) -> bool:
        """Whether the padding is the one that sparse kernels take."""
        return all(axis == axis.centered() for axis in self.axes)


def windows_of(graph: LayerGraph, call: Call) -> Windows | str:
    """The windows of a convolution call, or why they are not known."""
    layer, source = call.operation, call.tensors[0]
    pads = ((0, 0), (0, 0))
    padding = graph.producer(source)
    if padding is not None and is_a(padding, "ZeroPadding2D") and layer.padding == "valid":
        pads = padding.operation.padding
        source = padding.tensors[0]
    sizes = source.shape[1:3]
    if None in sizes:
        return "the input's height or width is open"
    axes = []
    for size, kernel, stride, dilation, (before, after) in zip(
        sizes, layer.kernel_size, layer.strides, layer.dilation_rate, pads, strict=True
    ):
        reach = (kernel - 1) * dilation + 1
        if layer.padding == "same":
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            before, after = total // 2, total - total // 2
        axes.append(Axis(size, reach, stride, before, after))
    return Windows((axes[0], axes[1]), source)


def same_refusal(graph: LayerGraph) -> str | None:
    """Why no padding should be changed: a stride-2 layer on an odd size, whose symmetric padding is TensorFlow's SAME.

    The converter then writes SAME, even for a ZeroPadding2D, and sparse kernels refuse that. A cluster that has begun
    at a symmetric stem would end there, and XNNPACK computes wrong numbers where a cluster ends in the middle.
    """
    for call in graph.calls:
        if not is_a(call, *CONVOLUTIONS) or call.operation.strides != (2, 2) or call.operation.kernel_size == (1, 1):
            continue
        windows = windows_of(graph, call)
        if isinstance(windows, Windows) and windows.is_symmetric() and any(axis.size % 2 for axis in windows.axes):
            height, width = (axis.size for axis in windows.axes)
            return (
                f'the stride-2 layer "{call.name}" reads {height}x{width} values, an odd size, for which the converter '
                "writes SAME and sparse kernels stop; use an input size that stays even, such as a multiple of 32"
            )
    return None


def layer_takes(call: Call) -> str | None:
    """Why XNNPACK's sparse kernels never take a stride-2 convolution, whatever its padding; None when they do.

    Source: XNNPACK src/subgraph.c, the NCHW layout checks.
    """
    layer = call.operation
    if layer.dilation_rate != (1, 1):
        return f"dilation {layer.dilation_rate[0]}; sparse kernels take none"
    if is_a(call, "Conv2D"):
        channels = call.tensors[0].shape[-1]
        if layer.kernel_size != (3, 3) or channels != 3 or layer.groups != 1:
            height, width = layer.kernel_size
            return (
                f"a {height}x{width} stride-2 convolution of {channels} channels; sparse kernels take 3x3 "
                "convolutions of 3 channels (the first layer), depthwise ones and 1x1 ones"
            )
        return None
    if is_a(call, "SeparableConv2D"):
        return "a SeparableConv2D; write it as a depthwise and a 1x1 convolution"
    if layer.depth_multiplier != 1:
        return f"depth multiplier {layer.depth_multiplier}; sparse kernels take 1"
    if layer.kernel_size not in ((3, 3), (5, 5)):
        height, width = layer.kernel_size
        return f"a {height}x{width} depthwise kernel; sparse kernels take 3x3 and 5x5"
    return None
