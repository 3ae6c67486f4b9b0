"""What all tests of passes use: random weights, outputs of both models, and one pass run alone."""

from __future__ import annotations

import numpy as np

from edgeprune.export.passes.layer_graph import read_model


def randomize(model, seed=0):
    """Random weights of a size that keeps values near 1, and norms with real statistics."""
    import keras

    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.Model):
            continue
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.weights:
                low, high = (0.3, 2.0) if variable.path.endswith(("gamma", "variance")) else (-0.6, 0.6)
                variable.assign(rng.uniform(low, high, variable.shape))
        elif not isinstance(layer, keras.layers.Normalization):
            for variable in layer.weights:
                reach = variable.shape[:2] if "Depthwise" in type(layer).__name__ else variable.shape[:-1]
                variable.assign(rng.normal(0, 1.2 / np.sqrt(np.prod(reach) or 1), variable.shape))
    return model


def images(model, seed=1, count=3):
    """Random inputs for a model with one input, in [-1, 1)."""
    shape = model.inputs[0].shape[1:]
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype(np.float32)


def outputs(model, inputs):
    return [np.asarray(value) for value in _flat(model(inputs, training=False))]


def assert_same(model, rewritten, inputs=None, tolerance=1e-5):
    """Equal outputs within tolerance x the largest output, equal shapes and names of inputs and outputs."""
    inputs = images(model) if inputs is None else inputs
    for before, after in zip(outputs(model, inputs), outputs(rewritten, inputs), strict=True):
        assert before.shape == after.shape
        assert np.abs(before).max() > 1e-3, "the oracle needs outputs that are not zero"
        np.testing.assert_allclose(after, before, rtol=0, atol=tolerance * np.abs(before).max())
    assert input_names(rewritten) == input_names(model)
    assert [tensor.shape for tensor in rewritten.inputs] == [tensor.shape for tensor in model.inputs]
    assert rewritten.output_names == model.output_names


def run_alone(each, model):
    """(model after one pass, its report); the pass finds nothing more to change in its own result."""
    graph = read_model(model)
    report = each.run(graph)
    rewritten = graph.build()
    again = read_model(rewritten)
    assert each.run(again).changed == ()
    assert again.edits == 0
    return rewritten, report


def reasons(report):
    return {refusal.layer: refusal.reason for refusal in report.refusals}


def of_class(model, name):
    return [layer for layer in model.layers if type(layer).__name__ == name]


def _flat(value):
    import keras

    return keras.tree.flatten(value)


def input_names(model):
    return [tensor._keras_history.operation.name for tensor in model.inputs]
