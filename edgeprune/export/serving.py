"""A Keras model as a TensorFlow function with every size fixed: batch 1, inference mode, float32."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError
from edgeprune.export.modes import ModelFacts

SIGNATURE = "serving_default"

# Names Keras makes up from a process-wide counter; they would make two equal models differ in bytes.
_MADE_UP_NAME = re.compile(r"(keras_tensor|input_layer|input)(_\d+)?")
_DENSE_OPS = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"}
_LOOP_OPS = {"While", "StatelessWhile"}


@dataclass(frozen=True)
class Serving:
    """A traced model. `module` owns the variables and must stay alive as long as `function` is used.

    `input_names` are the signature's input names in the order of `model.inputs`; outputs are named
    output_0, output_1, ... in the order of `model.outputs`.
    """

    module: Any
    function: Any
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write a SavedModel with one signature into `folder`."""
        import tensorflow as tf

        tf.saved_model.save(self.module, str(folder), signatures={SIGNATURE: self.function})

    def facts(self) -> ModelFacts:
        """What of the traced graph decides on quantization modes."""
        graph = self.function.graph.as_graph_def()
        ops = {node.op for node in graph.node}
        ops.update(node.op for function in graph.library.function for node in function.node_def)
        return ModelFacts(fixed_size=True, has_dense=bool(ops & _DENSE_OPS), has_loop=bool(ops & _LOOP_OPS))


def trace(model: Any) -> Serving:
    """Trace `model` (functional or Sequential, float32) for one sample.

    The batch is fixed by the trace itself, not by a reshaped file, so the converter folds the sizes it would
    otherwise compute while running, and no layer is copied.
    """
    import keras
    import tensorflow as tf

    input_names = _input_names(model)
    output_names = tuple(f"output_{number}" for number in range(len(model.outputs)))
    specs = [
        tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=name)
        for name, tensor in zip(input_names, model.inputs, strict=True)
    ]

    def serve(*tensors: Any) -> dict[str, Any]:
        # Sequential has one input and defines `input` only once it has been called.
        sequential = isinstance(model, keras.Sequential)
        packed = tensors[0] if sequential else keras.tree.pack_sequence_as(model.input, list(tensors))
        outputs = model(packed, training=False)
        return dict(zip(output_names, keras.tree.flatten(outputs), strict=True))

    module = tf.Module()
    module.held_variables = [variable.value for variable in model.variables]
    module.serve = tf.function(serve, input_signature=specs, autograph=False)
    return Serving(module, module.serve.get_concrete_function(), input_names, output_names)


def model_facts(model: Any) -> ModelFacts:
    """The facts of a Keras model that `modes.allowed_modes` needs, found by tracing it (the time of one call)."""
    from edgeprune.export.float32 import as_float32

    if unfixed_inputs(model):
        return ModelFacts(fixed_size=False, has_dense=False, has_loop=False)
    return trace(as_float32(model)).facts()


def unfixed_inputs(model: Any) -> list[Any]:
    """The input tensors that have a None dimension behind the batch."""
    return [tensor for tensor in model.inputs if None in tensor.shape[1:]]


def check_exportable(model: Any) -> None:
    """Refuse what can't be a TFLite input.

    Raises:
        InputError: the model is not built, an input size is None, or an input holds text.
    """
    if not model.built or not getattr(model, "inputs", None):
        raise InputError(
            f'model "{model.name}" has no fixed inputs and can\'t be exported; build it as a functional or Sequential '
            "model with keras.Input"
        )
    for tensor in unfixed_inputs(model):
        shape = ", ".join(str(size) for size in tensor.shape[1:])
        raise InputError(
            f'input "{tensor.name}" has the size ({shape}); a board needs a fixed size: give --input-shape H,W,C'
        )
    for tensor in model.inputs:
        if tensor.dtype == "string":
            raise InputError(
                f'input "{tensor.name}" holds text, which TFLite can\'t take; move the text layers out of the model'
            )


def _input_names(model: Any) -> tuple[str, ...]:
    """Names for the signature: the user's own where there are any, letters, digits and underscores only, unique."""
    names: list[str] = []
    for number, tensor in enumerate(model.inputs):
        name = re.sub(r"[^A-Za-z0-9_]", "_", tensor.name)
        if _MADE_UP_NAME.fullmatch(name) or not name[:1].isalpha():
            name = f"input_{number}"
        names.append(f"{name}_{number}" if name in names else name)
    return tuple(names)
