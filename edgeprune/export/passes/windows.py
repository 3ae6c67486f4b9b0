"""Where the windows of a convolution lie on its input: padding in front and behind, as TensorFlow and Keras define it.

Source: tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2; Keras ZeroPadding2D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgeprune.export.passes.layer_checks import is_a, layer_refusal
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


def is_stem(graph: LayerGraph, call: Call) -> bool:
    """Whether a call is a convolution of values that no convolution has made: of the image."""
    if not is_a(call, "Conv2D"):
        return False
    waiting = [graph.producer(tensor) for tensor in call.tensors]
    while waiting:
        source = waiting.pop()
        if source is not None:
            if is_a(source, *CONVOLUTIONS, "Dense"):
                return False
            waiting += [graph.producer(tensor) for tensor in source.tensors]
    return True


def is_accepted_stem(graph: LayerGraph, call: Call) -> bool:
    """Whether sparse kernels can start at a call: 3x3, stride 2, of 3 channels, padded by 1 on all sides."""
    if not is_a(call, "Conv2D"):
        return False
    layer = call.operation
    accepted = (
        (layer.kernel_size, layer.strides, layer.dilation_rate) == ((3, 3), (2, 2), (1, 1))
        and (layer.groups, call.tensors[0].shape[-1]) == (1, 3)
        and layer.data_format == "channels_last"
    )
    windows = windows_of(graph, call) if accepted else ""
    return isinstance(windows, Windows) and windows.is_symmetric()


def symmetric_refusal(graph: LayerGraph, call: Call) -> Windows | str:
    """The windows of a stride-2 convolution that may be given symmetric padding, or why it keeps its own."""
    reason = layer_refusal(graph, call) or layer_takes(graph, call)
    return reason if reason is not None else windows_of(graph, call)


def layer_takes(graph: LayerGraph, call: Call) -> str | None:
    """Why XNNPACK's sparse kernels never take a convolution that is not 1x1, whatever its padding; None when they do.

    A convolution of the image passes whatever its kernel: recast_stem makes 3x3 ones of 3 channels from it.
    Source: XNNPACK src/subgraph.c, the NCHW layout checks.
    """
    layer = call.operation
    if layer.dilation_rate != (1, 1):
        return f"dilation {layer.dilation_rate[0]}; sparse kernels take none"
    if is_a(call, "Conv2D"):
        channels = call.tensors[0].shape[-1]
        if layer.groups == 1 and ((layer.kernel_size, channels) == ((3, 3), 3) or is_stem(graph, call)):
            return None
        height, width = layer.kernel_size
        return (
            f"a {height}x{width} convolution of {channels} channels, stride {layer.strides[0]}; sparse kernels take "
            "3x3 convolutions of 3 channels (the first layer), depthwise ones and 1x1 ones"
        )
    if is_a(call, "SeparableConv2D"):
        return "a SeparableConv2D; write it as a depthwise and a 1x1 convolution"
    if layer.depth_multiplier != 1:
        return f"depth multiplier {layer.depth_multiplier}; sparse kernels take 1"
    if layer.kernel_size not in ((3, 3), (5, 5)):
        height, width = layer.kernel_size
        return f"a {height}x{width} depthwise kernel; sparse kernels take 3x3 and 5x5"
    return None
