"""Keras model to TFLite bytes: one sample per call, every size fixed, builtin operations only."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeprune.atomic import disk_error
from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.errors import EdgepruneError, InputError, nearest
from edgeprune.export.encode_weights import encode_weights
from edgeprune.export.failures import explain
from edgeprune.export.float32 import as_float32
from edgeprune.export.io_order import order_inputs_and_outputs, unfixed_tensors
from edgeprune.export.modes import INT8_LOOP, SPARSE_DYNAMIC, SPARSE_MODES
from edgeprune.export.quantize import Representative, named_samples, set_mode
from edgeprune.export.serving import SIGNATURE, Serving, check_exportable, trace
from edgeprune.export.valid_padding import write_valid_padding
from edgeprune.quiet import muted_native_output, silence


def convert(
    model: Any,
    mode: str,
    representative: Representative | None = None,
    *,
    per_channel_dense: bool = True,
    sparse: bool = False,
) -> bytes:
    """Convert a functional or Sequential Keras model; the model itself is not changed.

    model: Keras 3 model with fixed input sizes (the batch is set to 1); mixed precision becomes float32.
    mode: none, float16, dynamic or int8; see `quantize.set_mode`. Inputs and outputs are float32 in each.
    representative: for int8, returns batches [(n, *shape), ...] in the order of `model.inputs`, scaled as
        in training; a few hundred samples of the training data.
    per_channel_dense: False gives int8 Dense weights one scale per tensor, which old runtimes need
        (`modes.allowed_modes` says when).
    sparse: store each weight in the sparse encoding that takes the fewest bytes, where one takes fewer than all its
        values; not with dynamic.

    The file's inputs and outputs are in the order of `model.inputs` and `model.outputs`; its signature names inputs as
    the model does and outputs output_0, output_1, ... The same model, samples and TensorFlow give the same bytes.

    Raises:
        InputError: unknown mode, a model that TFLite can't hold (names the operation and layer), missing or
            wrong representative inputs, or no space in the temporary folder.
    """
    silence()
    if mode not in QUANTIZE_MODES:
        raise InputError(f'unknown quantization mode "{mode}"; {nearest(mode, QUANTIZE_MODES)}')
    if mode == "int8" and representative is None:
        raise InputError("int8 needs representative inputs to find the value ranges; give training data")
    if sparse and mode == "dynamic":
        raise InputError(f"the mode dynamic can't be combined with sparse weights: {SPARSE_DYNAMIC}; {SPARSE_MODES}")
    check_exportable(model)
    model = as_float32(model)
    layer_names = {layer.name for layer in model._flatten_layers(include_self=False)}
    with _failures_explained(mode, layer_names), _quiet_conversion():
        serving = trace(model)
        if mode == "int8" and serving.facts().has_loop:
            raise InputError(f"{INT8_LOOP}; use another --quantize mode or set unroll=True")
        content = _run_converter(model, serving, mode, representative, per_channel_dense)
    if sparse:
        content = write_valid_padding(encode_weights(content))
    content = order_inputs_and_outputs(content, serving.input_names, serving.output_names)
    unfixed = unfixed_tensors(content)
    if unfixed:
        raise InputError(
            f"the size of {', '.join(unfixed)} depends on the data and would be unknown to the board; "
            "make it fixed (a top-k or padding instead of a filter)"
        )
    return content


def _run_converter(
    model: Any,
    serving: Serving,
    mode: str,
    representative: Representative | None,
    per_channel_dense: bool,
) -> bytes:
    import tensorflow as tf

    samples = None if representative is None else named_samples(representative, serving.input_names, model.inputs)
    with tempfile.TemporaryDirectory(prefix="edgeprune-") as folder:
        serving.save(Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        set_mode(converter, mode, samples)
        # No public switch exists for this one; tests watch that it still works.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = not per_channel_dense
        return bytes(converter.convert())


@contextlib.contextmanager
def _quiet_conversion() -> Iterator[None]:
    with warnings.catch_warnings(), muted_native_output():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _failures_explained(mode: str, layer_names: set[str]) -> Iterator[None]:
    try:
        yield
    except (EdgepruneError, MemoryError):
        raise
    except OSError as error:
        cause = disk_error(error, Path(tempfile.gettempdir()))
        if cause is error:
            raise
        raise cause from error
    # The converter, TensorFlow's tracing and users' layers raise any class; all mean "this model can't be converted".
    except Exception as error:
        raise explain(error, mode, layer_names) from error
