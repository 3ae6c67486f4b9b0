"""SNIP and GraSP look at a model in training mode and leave it as it was."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.sparsity.criteria.table import as_criterion

pytestmark = pytest.mark.keras

X = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
Y = np.arange(10) % 3


def branching_model():
    """BatchNorm, dropout, noise, two outputs and so two tracked losses, metrics."""
    import keras

    layers = keras.layers
    inputs = keras.Input((6,))
    hidden = layers.Dense(5)(inputs)
    hidden = layers.Dropout(0.5)(layers.ReLU()(layers.BatchNormalization()(hidden)))
    hidden = layers.GaussianNoise(0.1)(hidden)
    kind = layers.Dense(3, activation="softmax", name="kind")(hidden)
    size = layers.Dense(1, name="size", kernel_regularizer="l2")(hidden)
    model = keras.Model(inputs, {"kind": kind, "size": size})
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    model.compile("adam", losses, metrics={"kind": ["accuracy"]})
    return model


def everything(model) -> list[np.ndarray]:
    return [variable.numpy() for variable in (*model.variables, *model.metrics_variables)]


@pytest.mark.parametrize("name", ["snip", "grasp", "apoz"])
def test_every_variable_is_bit_identical(name, evidence_of):
    data = (X, {"kind": Y, "size": X[:, :1]})
    model = branching_model()
    model.evaluate(*data, verbose=0)
    before = everything(model)
    scorer = as_criterion(name).bind(evidence_of(model, data, batch_size=4))
    scorer.scores()
    after = everything(model)
    assert len(before) == len(after) > 12
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_training_goes_on_as_if_nothing_had_looked(name, evidence_of):
    import keras

    data = (X, {"kind": Y, "size": X[:, :1]})
    found = []
    for look in (False, True):
        keras.utils.set_random_seed(3)
        model = branching_model()
        if look:
            as_criterion(name).bind(evidence_of(model, data))
        model.fit(*data, epochs=2, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["snip", "grasp", "apoz", "random"])
def test_the_same_evidence_gives_the_same_scores(name, evidence_of):
    data = (X, {"kind": Y, "size": X[:, :1]})
    model = branching_model()
    first, second = (as_criterion(name).bind(evidence_of(model, data, batch_size=4)).scores() for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_failure_leaves_the_model_too(evidence_of):
    from edgeprune.errors import InputError

    model = branching_model()
    before = [variable.numpy() for variable in model.variables]
    bad = X.copy()
    bad[-1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        as_criterion("snip").bind(evidence_of(model, (bad, {"kind": Y, "size": X[:, :1]}), batch_size=4))
    for a, b in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
