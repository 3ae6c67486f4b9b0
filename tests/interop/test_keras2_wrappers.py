"""Models wrapped by TFMOT: the wrappers go, the zeros and centroids stay."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.interop.keras2 import from_keras2
from edgeprune.interop.packages import wrapper_classes
from tests.interop.keras2_models import assert_equal_outputs, layers, sequential, with_random_weights

pytestmark = pytest.mark.keras


def prune(layer):
    wrapper_classes()
    from tensorflow_model_optimization.sparsity import keras as sparsity

    return sparsity.prune_low_magnitude(layer, sparsity.ConstantSparsity(0.5, 0, frequency=1))


def cluster(layer, count, **options):
    wrapper_classes()
    from tensorflow_model_optimization.clustering import keras as clustering

    return clustering.cluster_weights(layer, count, **options)


def pruned():
    """A nested model with a wrapped convolution, and a wrapped head; trained for some steps, so that masks are set."""
    wrapper_classes()
    import tf_keras
    from tensorflow_model_optimization.sparsity import keras as sparsity

    ls = layers()
    inner = tf_keras.Sequential([prune(ls.Conv2D(4, 3, input_shape=(8, 8, 3), name="conv")), ls.BatchNormalization()])
    image = ls.Input((8, 8, 3))
    x = ls.Flatten()(inner(image))
    old = tf_keras.Model(image, prune(ls.Dense(3, name="head"))(x))
    old.compile("adam", "mse")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(32, 8, 8, 3)), generator.normal(size=(32, 3))
    old.fit(x, y, epochs=1, batch_size=8, verbose=0, callbacks=[sparsity.UpdatePruningStep()])
    return old, inner.name


def assert_half_is_zero(kernel) -> None:
    kernel = np.asarray(kernel)
    assert np.count_nonzero(kernel) == kernel.size // 2
    assert not np.signbit(kernel[kernel == 0]).any()


@pytest.mark.parametrize("ending", [None, ".h5", ".keras", ""])
def test_pruned_models(ending, tmp_path):
    from tensorflow_model_optimization.sparsity import keras as sparsity

    old, inner = pruned()
    if ending is None:
        new = from_keras2(old)
    else:
        path = tmp_path / f"pruned{ending}"
        old.save(path, **({} if ending else {"save_format": "tf"}))
        new = from_keras2(path)
    assert_equal_outputs(old, new)
    assert_equal_outputs(sparsity.strip_pruning(old), new)
    assert_half_is_zero(new.get_layer(inner).get_layer("conv").kernel)
    assert_half_is_zero(new.get_layer("head").kernel)


def test_masks_win_over_weights_that_moved():
    old, _ = pruned()
    head = next(layer for layer in old.layers if layer.name.endswith("head"))
    mask = head.pruning_vars[0][1].numpy()
    head.layer.kernel.assign(np.full(mask.shape, -3.0, "float32"))  # as after a step without the callback
    kernel = np.asarray(from_keras2(old).get_layer("head").kernel)
    np.testing.assert_array_equal(kernel, np.where(mask == 1, -3, 0))
    assert not np.signbit(kernel[mask == 0]).any()


def test_a_pruned_first_layer_and_recurrent_layers():
    ls = layers()
    old = with_random_weights(
        sequential((6, 3), prune(ls.GRU(4, return_sequences=True)), prune(ls.LSTM(2)), prune(ls.Dense(2)))
    )
    new = from_keras2(old)
    assert [layer.name.split("_")[0] for layer in new.layers] == ["gru", "lstm", "dense"]
    assert_equal_outputs(old, new)


@pytest.mark.parametrize("ending", [None, ".h5", ".keras"])
def test_clustered_models(ending, tmp_path):
    ls = layers()
    old = sequential(
        (6, 3),
        cluster(ls.LSTM(4, return_sequences=True, name="lstm"), 3),
        cluster(ls.Bidirectional(ls.GRU(3), name="both"), 3),
        cluster(ls.Dense(4, name="dense"), 2),
    )
    if ending is not None:
        old.save(tmp_path / f"clustered{ending}")
    new = from_keras2(old if ending is None else tmp_path / f"clustered{ending}")
    assert [layer.name for layer in new.layers] == ["lstm", "both", "dense"]
    assert len(np.unique(new.get_layer("dense").kernel)) == 2
    assert len(np.unique(new.get_layer("lstm").cell.kernel)) <= 3
    assert_equal_outputs(old, new)


def test_a_clustered_saved_model(tmp_path):
    old = sequential((4,), cluster(layers().Dense(6, name="dense"), 3))
    old.save(tmp_path / "folder", save_format="tf")
    new = from_keras2(tmp_path / "folder")
    assert len(np.unique(new.get_layer("dense").kernel)) == 3
    assert_equal_outputs(old, new)


def test_clustered_attention():
    import tf_keras

    ls = layers()
    steps = ls.Input((5, 4))
    attention = ls.MultiHeadAttention(2, 3, name="attention")
    attended = tf_keras.Model(steps, attention(steps, steps))
    old = tf_keras.models.clone_model(attended, clone_function=lambda layer: layer)
    old = cluster(old, 3)
    new = from_keras2(old)
    assert len(np.unique(new.get_layer("attention").query_dense.kernel)) <= 3
    assert_equal_outputs(old, new)


LEGACY_TEST = """
import os
from edgeprune.interop.packages import wrapper_classes
assert set(wrapper_classes()) >= {"PruneLowMagnitude", "ClusterWeights"}
import tensorflow as tf
print(os.environ.get("TF_USE_LEGACY_KERAS"), tf.keras.layers.Dense.__module__.split(".")[0])
"""


@pytest.mark.parametrize(("before", "after"), [(None, "None keras"), ("1", "1 tf_keras")])
def test_the_environment_and_tf_keras_stay_as_the_user_has_them(before, after):
    environment = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    if before is not None:
        environment["TF_USE_LEGACY_KERAS"] = before
    done = subprocess.run(
        [sys.executable, "-c", LEGACY_TEST], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == after, done.stderr


@pytest.mark.parametrize("package", ["tf_keras", "tensorflow_model_optimization"])
def test_missing_packages_are_named(package, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # what Python takes for "not installed"
    with pytest.raises(InputError) as caught:
        wrapper_classes()
    assert f"read with {package}, which is not installed" in str(caught.value)
    assert 'pip install "edgeprune[keras2]"' in str(caught.value)
