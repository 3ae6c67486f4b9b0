"""Give stride-2 convolutions as many zeros in front of the image as behind it.

TensorFlow's SAME on an even size pads (0, 1), or (1, 2) for 5x5; XNNPACK's sparse kernels take (1, 1) and (2, 2) only.
The sampling grid moves by one pixel, so outputs change: short fine-tuning must follow.
"""

from __future__ import annotations

from edgeprune.export.passes.layer_checks import is_a
from edgeprune.export.passes.layer_graph import Call, LayerGraph, remade
from edgeprune.export.passes.report import PassReport, Refusal
from edgeprune.export.passes.windows import CONVOLUTIONS, Windows, symmetric_refusal, windows_of

NAME = "pad_symmetrically"
EXACTNESS = "moves the sampling grid of each layer by one pixel: fine-tune afterwards"


def refusal(graph: LayerGraph, call: Call) -> str | None:
    """Why a stride-2 convolution keeps its padding."""
    windows = symmetric_refusal(graph, call)
    if isinstance(windows, str):
        return windows
    if any(axis.centered().count != axis.count for axis in windows.axes):
        return f"padding {windows.padding()}; with symmetric padding the output would have another size"
    return None


def run(graph: LayerGraph) -> PassReport:
    """Pad all stride-2 convolutions symmetrically, with a ZeroPadding2D of its own in front of each; all or none.

    A cluster that begins at a symmetric stem and stops at a refused layer computes wrong numbers.
    """
    wanted, refusals = [], []
    for call in list(graph.calls):
        if not is_a(call, *CONVOLUTIONS) or call.operation.strides != (2, 2) or call.operation.kernel_size == (1, 1):
            continue
        windows = windows_of(graph, call)
        if isinstance(windows, Windows) and windows.is_symmetric():
            continue
        reason = refusal(graph, call)
        if reason is not None:
            refusals.append(Refusal(call.name, reason))
        else:
            wanted.append(call)
    if refusals:
        refusals += [Refusal(call.name, f'"{refusals[0].layer}" is refused: all or none') for call in wanted]
        return PassReport(NAME, EXACTNESS, (), tuple(refusals))
    for call in wanted:
        windows = windows_of(graph, call)
        assert isinstance(windows, Windows)  # or it would have been refused
        with_padding(graph, call, windows, tuple(axis.kernel // 2 for axis in windows.axes))
    return PassReport(NAME, EXACTNESS, tuple(call.name for call in wanted))


def with_padding(graph: LayerGraph, call: Call, windows: Windows, padding: tuple[int, ...]) -> None:
    """Replace a convolution by ZeroPadding2D and the same convolution without padding of its own."""
    import keras

    layer = call.operation
    padded = graph.insert(call, keras.layers.ZeroPadding2D(padding, name=f"{call.name}_pad"), windows.source)
    new = remade(layer, padding="valid")
    output = graph.insert(call, new, padded)
    new.set_weights(layer.get_weights())
    new.trainable = layer.trainable
    graph.replace(call, output)
