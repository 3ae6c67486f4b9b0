"""Keras 2 files: nothing in them is executed, and what can't be read is said in one line."""

from __future__ import annotations

import json
import marshal
import zipfile

import h5py
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.interop.keras2 import from_keras2
from edgeprune.interop.keras2_files import is_keras2_folder, keras2_version, must_convert
from edgeprune.interop.packages import import_tf_keras
from tests.interop.keras2_models import assert_equal_outputs, layers, sequential

pytestmark = pytest.mark.keras


def saved(model, folder, ending):
    path = folder / f"model{ending}"
    model.save(path, **({} if ending else {"save_format": "tf"}))
    return path


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        from_keras2(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ending", [".h5", ".keras", ""])
def test_files_become_the_same_model(ending, tmp_path):
    ls = layers()
    old = sequential((8, 8, 3), ls.DepthwiseConv2D(3, name="conv"), ls.BatchNormalization(), ls.Flatten(), ls.Dense(2))
    old.get_layer("conv").trainable = False
    # a loss that is an object stands in the file; how a model was compiled is not read
    old.compile("adam", import_tf_keras().losses.SparseCategoricalCrossentropy(from_logits=True))
    path = saved(old, tmp_path, ending)
    new = from_keras2(str(path))
    assert_equal_outputs(old, new)
    assert [layer.name for layer in new.layers] == [layer.name for layer in old.layers]
    assert [layer.trainable for layer in new.layers] == [False, True, True, True]
    assert not new.compiled
    if ending:
        assert keras2_version(path).startswith("2.")
        assert not must_convert(path)
    else:
        assert is_keras2_folder(path)


@pytest.mark.parametrize("ending", [".h5", ".keras", ""])
def test_a_lambda_is_never_unmarshalled(ending, tmp_path, monkeypatch):
    path = saved(sequential((3,), layers().Lambda(lambda x: x + 1, name="code")), tmp_path, ending)
    monkeypatch.setattr(marshal, "loads", lambda *_: pytest.fail("code was read from the file"))
    assert '"code" (Lambda) runs Python code' in refusal(path)


def test_a_function_in_the_file_is_not_called(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    import tf_keras

    image = layers().Input((3,))
    path = saved(tf_keras.Model(image, image + 1.0), tmp_path, ".h5")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["function"] = "io.gfile.rmtree"
        config["config"]["layers"][1]["inbound_nodes"] = [["input_1", 0, 0, {"path": str(victim)}]]
        file.attrs["model_config"] = json.dumps(config)
    assert "calls tf.io.gfile.rmtree" in refusal(path)
    assert victim.exists()


def test_a_custom_layer_is_named(tmp_path):
    import tf_keras

    class Doubled(tf_keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    path = saved(sequential((3,), Doubled(name="mine")), tmp_path, "")
    assert 'layer "mine" (Doubled) has no translation' in refusal(path)


def test_a_subclassed_saved_model_is_refused(tmp_path):
    import numpy as np
    import tf_keras

    class Handmade(tf_keras.Model):
        def call(self, inputs):
            return 2 * inputs

    model = Handmade()
    model(np.ones((1, 3), "float32"))
    assert "Handmade is a subclassed model" in refusal(saved(model, tmp_path, ""))


def test_damaged_and_foreign_files(tmp_path):
    assert "no model file" in refusal(tmp_path / "none.h5")
    assert "no SavedModel folder with Keras 2 layers" in refusal(tmp_path)
    junk = tmp_path / "junk.h5"
    junk.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    assert "can't be read" in refusal(junk)
    weights = tmp_path / "only.weights.h5"
    sequential((3,), layers().Dense(2)).save_weights(weights)
    assert "holds no model config" in refusal(weights)


def test_a_file_without_its_weights(tmp_path):
    path = saved(sequential((3,), layers().Dense(2)), tmp_path, ".h5")
    with h5py.File(path, "r+") as file:
        del file["model_weights"]
    assert "can't be read by tf_keras" in refusal(path)
    folder = saved(sequential((3,), layers().Dense(2)), tmp_path, "")
    for file in (folder / "variables").iterdir():
        file.unlink()
    assert "can't be read by tf_keras" in refusal(folder)
    (folder / "keras_metadata.pb").write_bytes(b"\xff" * 50)
    assert "keras_metadata.pb can't be read" in refusal(folder)


@pytest.mark.parametrize("depth", [600, 20_000])
def test_endless_nesting_is_refused(depth, tmp_path):
    path = tmp_path / "deep.keras"
    layer = '{"class_name": "Sequential", "config": {"layers": ['
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        archive.writestr("config.json", layer * depth + "]}}" * depth)
    refusal(path)
    must_convert(path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    ls = layers()
    parts = (ls.Conv2D(2, 3, activation="relu"), ls.BatchNormalization(), ls.Flatten(), ls.Dropout(0.5), ls.Dense(2))
    path = saved(sequential((6, 6, 3), *parts), tmp_path_factory.mktemp("plain"), ".keras")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def converted_or_refused(path):
    """Anything else than an InputError of one line fails the test."""
    try:
        from_keras2(path)
    except InputError as error:
        if "\n" in str(error):
            raise AssertionError("a message must be one line") from error


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data())
def test_a_wrong_config_is_refused_in_one_line_or_loads(plain, tmp_path, data):
    config = json.loads(plain["config.json"])
    layer = data.draw(st.sampled_from(config["config"]["layers"]))
    victim = data.draw(st.sampled_from([layer, layer["config"], config["config"], config]))
    victim[data.draw(st.sampled_from(sorted(victim)))] = data.draw(
        st.sampled_from(
            [None, -1, 0, 2.5, True, [], {}, "x", {"class_name": "Conv2D"}, [None, 0], ["a"], "keras.layers"]
        )
    )
    path = tmp_path / "wrong.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**plain, "config.json": json.dumps(config)}.items():
            archive.writestr(name, content)
    converted_or_refused(path)


def test_mixed_precision_and_adapted_statistics_are_read(tmp_path):
    import numpy as np
    import tf_keras

    statistics = layers().Normalization()
    statistics.adapt(np.random.default_rng(0).normal(3, 2, (20, 4)))
    policy = tf_keras.mixed_precision.Policy("mixed_float16")
    old = tf_keras.Sequential([layers().InputLayer((4,)), statistics, layers().Dense(3, dtype=policy)])
    for ending in (".h5", ".keras", ""):
        new = from_keras2(saved(old, tmp_path, ending))
        assert new.layers[1].dtype_policy.name == "mixed_float16"
        assert_equal_outputs(old, new, tolerance=2e-3)


def test_files_of_keras_3_are_told_apart(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="hard_sigmoid")])
    for ending in (".h5", ".keras"):
        model.save(tmp_path / f"new{ending}")
        assert keras2_version(tmp_path / f"new{ending}") == ""
    with pytest.raises(InputError, match="is a Keras 3 file already"):
        from_keras2(tmp_path / "new.keras")
    model.export(tmp_path / "exported", verbose=False)
    assert not is_keras2_folder(tmp_path / "exported")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("other", "")
    assert keras2_version(tmp_path / "empty.keras") == ""


def test_files_that_keras_3_would_misread(tmp_path):
    ls = layers()
    gated = saved(sequential((4, 3), ls.LSTM(2, recurrent_activation="hard_sigmoid")), tmp_path, ".h5")
    assert must_convert(gated)
    thresholded = saved(sequential((3,), ls.ThresholdedReLU()), tmp_path, ".keras")
    assert must_convert(thresholded)
    assert not must_convert(tmp_path / "none.h5")
