"""Criteria under MirroredStrategy: two logical devices need a process of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.keras

SCRIPT = """
from edgeprune.quiet import silence
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
import numpy as np
from edgeprune.sparsity.criteria.base import Evidence
from edgeprune.sparsity.criteria.table import as_criterion
from edgeprune.sparsity.weights import prunable_weights

generator = np.random.default_rng(0)
data = generator.normal(size=(20, 4)), np.arange(20) % 3

def model_of():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model

def scores(name, model):
    return as_criterion(name).bind(Evidence(model, prunable_weights(model), data)).scores()

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    mirrored = model_of()
for name in ("magnitude", "snip", "grasp", "apoz"):
    expected = scores(name, model_of())
    outside = scores(name, mirrored)
    with strategy.scope():
        inside = scores(name, mirrored)
    for a, b, c in zip(expected, outside, inside):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6 * np.abs(a).max())
        np.testing.assert_allclose(c, a, rtol=1e-4, atol=1e-6 * np.abs(a).max())

scorer = as_criterion("movement").bind(Evidence(mirrored, prunable_weights(mirrored)))

@tf.function
def step():
    value = tf.convert_to_tensor(mirrored.layers[0].kernel.value)
    scorer.observe(0, value, tf.ones_like(value))

for _ in range(3):
    strategy.run(step)
copies = strategy.experimental_local_results(scorer.accumulators[0].value)
assert len(copies) == 2
for copy in copies:
    np.testing.assert_allclose(copy.numpy(), -3 * mirrored.layers[0].kernel.numpy(), rtol=1e-5)
np.testing.assert_array_equal(scorer.scores()[0], copies[0].numpy())
"""


def test_two_devices():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
