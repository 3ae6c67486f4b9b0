"""Puts a TFLite file's inputs and outputs into the Keras model's order.

The converter sorts inputs by name and outputs by an order of its own. Programs on boards index
`get_input_details()` and `get_output_details()` by position, so two inputs of equal shape would be swapped unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ai_edge_litert import schema_py_generated as schema

from edgeprune.errors import ValidationError


def order_inputs_and_outputs(model: bytes, input_names: Sequence[str], output_names: Sequence[str]) -> bytes:
    """A copy of the flatbuffer whose first subgraph lists inputs and outputs as named.

    Only the two index vectors are overwritten where they stand: nothing is re-encoded, so sizes and the
    alignment of the weights stay as the converter made them.

    Raises:
        ValidationError: the file's signature does not have exactly these names.
    """
    content = bytearray(model)
    root = schema.Model.GetRootAs(content)
    signature = root.SignatureDefs(0)
    inputs = {signature.Inputs(i).Name().decode(): signature.Inputs(i) for i in range(signature.InputsLength())}
    outputs = {signature.Outputs(i).Name().decode(): signature.Outputs(i) for i in range(signature.OutputsLength())}
    # numpy views into `content`
    subgraph = root.Subgraphs(0)
    for kind, found, names, vector in (
        ("inputs", inputs, input_names, subgraph.InputsAsNumpy()),
        ("outputs", outputs, output_names, subgraph.OutputsAsNumpy()),
    ):
        if set(found) != set(names) or len(vector) != len(names):
            raise ValidationError(f"the converter made the {kind} {sorted(found)} of {list(names)}; please report this")
        vector[:] = [found[name].TensorIndex() for name in names]
    return bytes(content)


def unfixed_tensors(model: bytes) -> list[str]:
    """Names of the inputs and outputs whose size is not fixed in the file."""
    subgraph = schema.Model.GetRootAs(model).Subgraphs(0)
    indices = [*subgraph.InputsAsNumpy(), *subgraph.OutputsAsNumpy()]
    tensors = [subgraph.Tensors(int(index)) for index in indices]
    return [
        tensor.Name().decode()
        for tensor in tensors
        if tensor.ShapeSignatureLength() and any(size < 0 for size in tensor.ShapeSignatureAsNumpy())
    ]
