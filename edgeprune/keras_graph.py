"""The calls of a functional Keras model in order: what every reader of a model's graph begins with."""

from __future__ import annotations

from typing import Any


def functional_graph(operation: Any) -> Any | None:
    """The functional graph inside an operation when it is a functional or built Sequential model, else None."""
    import keras

    if isinstance(operation, keras.Sequential):
        return operation._functional
    if isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth"):
        # A functional model whose class overrides call() does not run its graph.
        overridden = type(operation).call is not keras.Model.call and not type(operation).call.__module__.startswith(
            "keras."
        )
        return None if overridden else operation
    return None


def nested_graph(node: Any) -> Any | None:
    """The graph that a call runs, None where the call passes more than that graph's inputs (a mask)."""
    graph = functional_graph(node.operation)
    return graph if graph is not None and len(graph.inputs) == len(node.arguments.keras_tensors) else None


def nodes_in_order(graph: Any) -> list[Any]:
    """The graph's calls in execution order, inputs left out."""
    depths = sorted(graph._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in graph._nodes_by_depth[depth] if node.operation and not node.is_input]
