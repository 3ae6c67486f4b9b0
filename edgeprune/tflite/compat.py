"""Known traps: files that convert and run on a desk, and fail or gain nothing on the board.

Each was measured with the runtimes named in its reason. The table at the end lists all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeprune.tflite.flatbuffer import read_model
from edgeprune.tflite.inspect import min_runtime_version
from edgeprune.tflite.model import TfliteModel, dtype_name, shape_of, text
from edgeprune.tflite.op_versions import first_release, runtime_release
from edgeprune.tflite.quantization import WEIGHTED_OPS, operation_mode
from edgeprune.tflite.sparse_inference.mends import MENDS
from edgeprune.tflite.sparse_inference.predict import predict
from edgeprune.tflite.sparse_inference.records import Prediction
from edgeprune.tflite.weights import encoding_of

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D")


@dataclass(frozen=True)
class Trap:
    """One reason not to use a file on a board. severity: "fails" does not load or crashes; "slow" gains nothing."""

    name: str
    severity: Literal["fails", "slow"]
    reason: str
    remedy: str


@dataclass(frozen=True)
class Board:
    """What decides whether a trap applies. isa: extensions as in targets/*.toml, such as ("neon", "dotprod").
    prediction: whether sparse kernels will run there."""

    package: str
    version: str
    isa: tuple[str, ...]
    prediction: Prediction

    @property
    def has_avx(self) -> bool:
        """x86 with AVX: XNNPACK never runs sparse kernels there, so their bugs don't show."""
        return any(extension.startswith("avx") for extension in self.isa)


def traps(
    model: Path | TfliteModel,
    runtime_package: str,
    runtime_version: str,
    isa: tuple[str, ...],
    prediction: Prediction | None = None,
) -> tuple[Trap, ...]:
    """The traps a file holds for one runtime on one kind of CPU.

    Args:
        model: a path, or a file that was already read.
        runtime_package: "ai-edge-litert" or "tflite-runtime".
        runtime_version: such as "2.14.0".
        isa: extensions of the CPU as in targets/*.toml, such as ("neon",) or ("sse4.1", "avx", "avx2").
        prediction: what `predict` says of this file and runtime, where that is known already.

    Raises:
        InputError: the file is missing, not TFLite, or damaged.
    """
    read = model if isinstance(model, TfliteModel) else read_model(model)
    prediction = prediction or predict(read, runtime_package, runtime_version, isa)
    board = Board(runtime_package, runtime_version, isa, prediction)
    return tuple(trap for rule in _RULES for trap in rule(read, board))


def _weighted(model: TfliteModel) -> Iterator[tuple[str, Any, Any, str]]:
    """(operation name, OperatorT, stored weight TensorT, mode) of the main subgraph's operations with weights."""
    for operator, name in zip(model.main.operators, model.op_names, strict=True):
        mode = operation_mode(model, operator, name)
        if mode is not None:
            yield name, operator, model.stored_weight(int(operator.inputs[WEIGHTED_OPS[name][1]])), mode


def _computes_on_integers(operator: Any, name: str, mode: str, model: TfliteModel) -> bool:
    """Whether the runtime itself multiplies floats by int8 weights; behind a DEQUANTIZE it computes on floats."""
    return mode == "dynamic" and dtype_name(model.main.tensors[operator.inputs[WEIGHTED_OPS[name][1]]]) != "float32"


def _sparse_dynamic_convolution(model: TfliteModel, board: Board) -> Iterator[Trap]:
    count = sum(
        name in _CONVOLUTIONS and _computes_on_integers(operator, name, mode, model) and encoding_of(weight) != "dense"
        for name, operator, weight, mode in _weighted(model)
    )
    if count:
        yield Trap(
            "dynamic-int8-sparse-convolution",
            "fails",
            f"{count} convolution(s) have sparse-encoded int8 weights and float activations; no runtime loads that",
            "quantize with float16 or full int8, or export without the sparse encoding",
        )


def _block_sparse_dynamic_dense(model: TfliteModel, board: Board) -> Iterator[Trap]:
    count = sum(
        name == "FULLY_CONNECTED"
        and _computes_on_integers(operator, name, mode, model)
        and encoding_of(weight).startswith("block")
        for name, operator, weight, mode in _weighted(model)
    )
    if count and not board.has_avx:
        yield Trap(
            "dynamic-int8-block-sparse-dense",
            "fails",
            f"{count} dense layer(s) have block-sparse int8 weights and float activations; "
            "ai-edge-litert 1.4 to 2.3 crashes on ARM",
            "quantize with float16 or full int8, or export without the sparse encoding",
        )


def _sparse_integer_dense(model: TfliteModel, board: Board) -> Iterator[Trap]:
    count = sum(
        name == "FULLY_CONNECTED" and mode == "int8" and encoding_of(weight) != "dense"
        for name, _, weight, mode in _weighted(model)
    )
    if count and board.package == "ai-edge-litert":
        yield Trap(
            "int8-sparse-dense",
            "fails",
            f"{count} full-int8 dense layer(s) have sparse-encoded weights; ai-edge-litert 2.3 stops with "
            '"failed to delegate FULLY_CONNECTED"',
            "store the weights of these layers densely, or use float16",
        )


def _sparse_full_integer(model: TfliteModel, board: Board) -> Iterator[Trap]:
    count = sum(mode == "int8" and encoding_of(weight) != "dense" for _, _, weight, mode in _weighted(model))
    if count:
        yield Trap(
            "int8-sparse",
            "slow",
            f"{count} full-int8 layer(s) have sparse-encoded weights; the file is smaller, but int8 always runs dense",
            "remove channels instead, or use float16 with the sparse encoding where speed counts",
        )


def _broken_sparse_kernels(model: TfliteModel, board: Board) -> Iterator[Trap]:
    """Sparse kernels that run on ARM alone, and there compute wrong numbers or stop the model from loading."""
    prediction = board.prediction
    if prediction.verdict != "broken":
        return
    if not prediction.clusters:
        yield Trap("float16-sparse", "fails", prediction.reason, MENDS["float16-sparse"])
    for cluster in prediction.clusters:
        broken, stop = cluster.breakage, cluster.stop
        if broken is None:
            continue
        cause = "" if stop is None else f" (what stops the rest: {stop.name or 'the cluster'}, {stop.reason})"
        yield Trap(
            "pooled-convolution-head" if broken.rule == "pooled-convolution" else "sparse-layouts",
            "fails",
            f"sparse kernels run, and {board.package} {board.version} computes wrong numbers or does not load: "
            f"operation {broken.op}, {broken.name}: {broken.reason}{cause}",
            broken.mend if stop is None or broken.rule != "leak" else stop.mend,
        )
        return


def _convolution_without_bias(model: TfliteModel, board: Board) -> Iterator[Trap]:
    count = sum(
        name in ("CONV_2D", "DEPTHWISE_CONV_2D") and (len(operator.inputs) < 3 or operator.inputs[2] < 0)
        for operator, name in zip(model.main.operators, model.op_names, strict=True)
    )
    if count:
        yield Trap(
            "convolution-without-bias",
            "fails",
            f"{count} convolution(s) have no bias; TFLite does not load them, or crashes when it runs them",
            "give each convolution a bias of zeros, as TensorFlow's converter does",
        )


def _unknown_input_size(model: TfliteModel, board: Board) -> Iterator[Trap]:
    for index in model.main.inputs:
        tensor = model.main.tensors[index]
        if -1 in shape_of(tensor)[1:]:
            yield Trap(
                "unknown-input-size",
                "fails",
                f'input "{text(tensor.name)}" has the shape {shape_of(tensor)}; '
                "a size that is known only at run time does not load, except for the batch",
                "export with a fixed input size",
            )


def missing_operations(model: TfliteModel, runtime_package: str, runtime_version: str) -> tuple[str, ...]:
    """Operations that a runtime lacks: custom ones by name, newer ones as "NAME vN (TensorFlow 2.17)"."""
    custom = {
        model.op_name(operator): None
        for graph in model.tree.subgraphs
        for operator in graph.operators
        if model.is_custom(operator)
    }
    return (*custom, *_newer_than(model, runtime_release(runtime_package, runtime_version)))


def _newer_than(model: TfliteModel, release: tuple[int, int] | None) -> dict[str, None]:
    return {
        f"{name} v{model.op_code(operator).version} (TensorFlow {needed[0]}.{needed[1]})": None
        for graph in model.tree.subgraphs
        for operator in graph.operators
        for name in (model.op_name(operator),)
        for needed in (first_release(name, model.op_code(operator).version),)
        if release is not None and needed is not None and needed > release
    }


def _newer_operations(model: TfliteModel, board: Board) -> Iterator[Trap]:
    release = runtime_release(board.package, board.version)
    if release is None:
        return
    newer = _newer_than(model, release)
    noted = min_runtime_version(model)
    noted_release = runtime_release("tensorflow", noted) if noted else None
    if not newer and (noted_release is None or noted_release <= release):
        return
    what = ", ".join(newer) if newer else f"the file asks for TensorFlow {noted}"
    yield Trap(
        "newer-than-runtime",
        "fails",
        f"{board.package} {board.version} is too old: {what}",
        "use ai-edge-litert 2 on the board, or another quantization (float16 and none use older operations)",
    )


def _foreign_operations(model: TfliteModel, board: Board) -> Iterator[Trap]:
    names = {
        model.op_name(operator): None
        for graph in model.tree.subgraphs
        for operator in graph.operators
        if model.is_custom(operator)
    }
    if names:
        yield Trap(
            "custom-operations",
            "fails",
            f"{', '.join(names)}: {board.package} has no such operation",
            "replace the layers that need it with ones TFLite has; don't convert with SELECT_TF_OPS",
        )


_RULES: tuple[Callable[[TfliteModel, Board], Iterator[Trap]], ...] = (
    _sparse_dynamic_convolution,
    _block_sparse_dynamic_dense,
    _sparse_integer_dense,
    _broken_sparse_kernels,
    _convolution_without_bias,
    _unknown_input_size,
    _newer_operations,
    _foreign_operations,
    _sparse_full_integer,
)
