"""Model files: what loads, and one clear line for what does not. The user's file is never changed."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import sys
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.model_file import load_model, save_model

pytestmark = pytest.mark.keras


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refusal(path, **options) -> str:
    """The one-line message `load_model` gives; the file keeps its bytes."""
    before = sha256(path) if path.is_file() else None
    with pytest.raises(InputError) as caught:
        load_model(path, **options)
    assert before is None or sha256(path) == before
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def loaded_or_refused(path):
    """The model, or None where `load_model` raised a one-line InputError; anything else it raises fails the test."""
    try:
        return load_model(path)
    except InputError as error:
        if "\n" in str(error):
            raise AssertionError("a message must be one line") from error
        return None


@pytest.fixture(scope="session")
def small():
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2))
    model.compile("adam", "mse")
    return model


@pytest.fixture
def saved(small, tmp_path):
    path = tmp_path / "good.keras"
    small.save(path)
    return path


@pytest.mark.parametrize("ending", [".keras", ".h5", ".hdf5"])
def test_loads_what_keras_saves_and_leaves_the_file_alone(small, tmp_path, ending):
    path = tmp_path / f"model{ending}"
    small.save(path)
    before, changed = sha256(path), path.stat().st_mtime_ns
    path.chmod(0o444)
    model = load_model(path)
    images = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    np.testing.assert_allclose(model.predict(images, verbose=0), small.predict(images, verbose=0), rtol=1e-5)
    # A legacy .h5 written with loss="mse" names it in a form that Keras 3 can't read back.
    assert model.compiled or ending != ".keras"
    assert (sha256(path), path.stat().st_mtime_ns) == (before, changed)


def test_saved_model_loads_again(small, tmp_path):
    path = tmp_path / "new" / "model.keras"
    save_model(small, path)
    for mine, theirs in zip(load_model(path).get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [file.name for file in path.parent.iterdir()] == ["model.keras"]


def test_full_disk_keeps_the_old_file(small, saved, monkeypatch):
    before = sha256(saved)

    def full(path):
        path.write_bytes(b"half a mod")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(small, "save", full)
    with pytest.raises(InputError, match="no space left"):
        save_model(small, saved)
    assert sha256(saved) == before
    assert [file.name for file in saved.parent.iterdir()] == ["good.keras"]


def test_save_wants_a_keras_ending(small, tmp_path):
    with pytest.raises(InputError, match=r"\.keras"):
        save_model(small, tmp_path / "model.h5")


def test_missing_file_names_the_nearest(saved):
    assert 'did you mean "good.keras"?' in refusal(saved.with_name("godo.keras"))
    assert "holds no .keras" in refusal(saved.parent / "nowhere" / "x.keras")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.keras", b"", "is empty"),
        ("empty.h5", b"", "is empty"),
        ("junk.keras", b"junk" * 99, "is damaged"),
        ("junk.h5", b"junk" * 99, "not an HDF5 file"),
        ("zip.h5", b"PK\x03\x04" + bytes(99), "rename it"),
        ("hdf5.keras", b"\x89HDF\r\n\x1a\n" + bytes(99), "rename it to hdf5.h5"),
        ("lite.keras", b"\x1c\x00\x00\x00TFL3" + bytes(99), "is a TFLite model"),
        ("model.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(99), "is a TFLite model"),
        ("model.onnx", b"\x08\x07" + bytes(99), "allowed endings"),
    ],
)
def test_foreign_files(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    assert said in refusal(path)


def test_folders(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    assert "SavedModel" in refusal(tmp_path)


def test_archive_without_weights(saved):
    with zipfile.ZipFile(saved) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("config.json", config)
    assert "lacks model.weights.h5" in refusal(saved)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_cut_files(small, tmp_path, ending, share):
    path = tmp_path / f"cut{ending}"
    small.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refusal(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data())
def test_a_damaged_archive_loads_the_same_or_is_refused(small, saved, data):
    content = bytearray(saved.read_bytes())
    damaged = saved.with_name("damaged.keras")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged.write_bytes(content)
    model = loaded_or_refused(damaged)
    if model is not None:
        for mine, theirs in zip(model.get_weights(), small.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data())
def test_a_wrong_config_with_right_checksums_is_refused_or_loads(saved, data):
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    layer = data.draw(st.sampled_from(config["config"]["layers"]))
    victim = data.draw(st.sampled_from([layer, layer["config"], config["config"], config]))
    victim[data.draw(st.sampled_from(sorted(victim)))] = data.draw(
        st.sampled_from([None, -1, [], {}, "x", {"class_name": "Conv2D"}, [None, 0], "keras.layers"])
    )
    members["config.json"] = json.dumps(config).encode()
    wrong = saved.with_name("wrong.keras")
    with zipfile.ZipFile(wrong, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    loaded_or_refused(wrong)


CUSTOM = """
import keras

@keras.saving.register_keras_serializable("my_layers")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_custom_layer_needs_its_module(tmp_path, monkeypatch, ending):
    import keras

    monkeypatch.chdir(tmp_path)
    (tmp_path / f"layers_of_mine_{ending[1:]}.py").write_text(CUSTOM)
    path = tmp_path / f"custom{ending}"
    namespace: dict = {}
    exec(CUSTOM, namespace)
    doubled = namespace["Doubled"]
    keras.Sequential([keras.Input((3,)), doubled()]).save(path)
    keras.saving.get_custom_objects().pop("my_layers>Doubled")
    message = refusal(path)
    assert "Doubled" in message
    assert "register_keras_serializable" in message
    assert "--import" in message
    model = load_model(path, imports=[f"layers_of_mine_{ending[1:]}"])
    assert model.predict(np.ones((1, 3)), verbose=0).tolist() == [[2.0, 2.0, 2.0]]
    keras.saving.get_custom_objects().pop("my_layers>Doubled")
    assert str(tmp_path) not in sys.path


def test_custom_loss_is_named(small, tmp_path):
    import keras

    def my_loss(truth, answers):
        return keras.ops.mean(truth - answers)

    path = tmp_path / "loss.keras"
    model = keras.models.clone_model(small)
    model.compile("adam", my_loss)
    model.save(path)
    assert 'custom function "my_loss"' in refusal(path)


def test_modules_that_can_not_be_imported(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_module.py").write_text("1 / 0")
    assert "--import no_such_module: ModuleNotFoundError" in refusal(saved, imports=["no_such_module"])
    assert "--import broken_module: ZeroDivisionError" in refusal(saved, imports=["broken_module"])


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_lambda_needs_the_flag(tmp_path, ending):
    import keras

    path = tmp_path / f"lambda{ending}"
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)]).save(path)
    message = refusal(path)
    assert "Lambda" in message
    assert "--allow-lambda only if you trust the file" in message
    model = load_model(path, allow_lambda=True)
    assert model.predict(np.zeros((1, 2)), verbose=0).tolist() == [[1.0, 1.0]]
    # the flag holds for that call only
    assert "Lambda" in refusal(path)


def test_open_size_behind_a_trusted_lambda(tmp_path):
    import keras

    path = tmp_path / "lambda.keras"
    keras.Sequential([keras.Input((None, None, 3)), keras.layers.Lambda(lambda x: 2 * x)]).save(path)
    model = load_model(path, allow_lambda=True, input_shape=(2, 2, 3))
    assert model.predict(np.ones((1, 2, 2, 3)), verbose=0).tolist() == [[[[2.0] * 3] * 2] * 2]


def test_unbuilt_model(tmp_path):
    import keras

    path = tmp_path / "unbuilt.keras"
    keras.Sequential([keras.layers.Dense(2)]).save(path)
    assert "not built" in refusal(path)


def test_subclassed_model(tmp_path):
    import keras

    @keras.saving.register_keras_serializable("edgeprune_tests")
    class Handmade(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.dense = keras.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    model = Handmade()
    model(np.zeros((1, 4)))
    path = tmp_path / "handmade.keras"
    model.save(path)
    message = refusal(path)
    assert "Handmade is a subclassed model" in message
    assert "keras.Model(inputs, outputs)" in message


def test_weights_alone(small, tmp_path):
    path = tmp_path / "only.weights.h5"
    small.save_weights(path)
    assert "weights only" in refusal(path)


def test_layer_of_another_version_is_named(tmp_path):
    import keras

    path = tmp_path / "old.h5"
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.DepthwiseConv2D(3, name="conv_dw_1")]).save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "3.99.0"
    message = refusal(path)
    assert 'layer "conv_dw_1" (DepthwiseConv2D), saved by Keras 3.99.0' in message
    assert "groups" in message


def keras_2_model(*parts):
    from edgeprune.interop.packages import import_tf_keras

    tf_keras = import_tf_keras()
    model = tf_keras.Sequential([tf_keras.layers.InputLayer((8, 8, 3)), *parts, tf_keras.layers.Dense(2)])
    model.compile("adam", "mean_squared_error")
    return model, np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)


# Keras 2 writes groups=1 for every depthwise layer, which Keras 3 does not take.
@pytest.mark.parametrize("ending", [".h5", ".keras", ""])
def test_a_keras_2_model_is_converted(tmp_path, capsys, ending):
    from edgeprune.interop.packages import import_tf_keras

    old, images = keras_2_model(import_tf_keras().layers.DepthwiseConv2D(3, name="conv_dw_1"))
    path = tmp_path / f"old{ending}"
    old.save(path, **({} if ending else {"save_format": "tf"}))
    files = [path] if ending else sorted(file for file in path.rglob("*") if file.is_file())
    before = [sha256(file) for file in files]
    new = load_model(path)
    np.testing.assert_allclose(new.predict(images, verbose=0), old.predict(images, verbose=0), rtol=1e-5)
    assert new.layers[0].name == "conv_dw_1"
    assert not new.compiled
    assert [sha256(file) for file in files] == before
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path}: saved by Keras 2" in line
    assert "not compiled" in line


@pytest.mark.parametrize("ending", [".h5", ""])
def test_a_pruned_keras_2_model_is_stripped(tmp_path, ending):
    from edgeprune.interop.packages import import_tf_keras, wrapper_classes

    wrapper = wrapper_classes()["PruneLowMagnitude"]
    old, images = keras_2_model(wrapper(import_tf_keras().layers.Conv2D(4, 3, name="conv")))
    mask = old.layers[0].pruning_vars[0][1]
    mask.assign(np.random.default_rng(0).integers(0, 2, mask.shape).astype("float32"))
    path = tmp_path / f"old{ending}"
    old.save(path, **({} if ending else {"save_format": "tf"}))
    new = load_model(path)
    np.testing.assert_allclose(new.predict(images, verbose=0), old.predict(images, verbose=0), rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(new.get_layer("conv").kernel) != 0, mask.numpy() == 1)


def test_a_keras_2_file_that_keras_3_reads_stays_compiled(tmp_path, capsys):
    from edgeprune.interop.packages import import_tf_keras

    old, images = keras_2_model(import_tf_keras().layers.Conv2D(2, 3))
    path = tmp_path / "plain.h5"
    old.save(path)
    new = load_model(path)
    assert new.compiled
    assert capsys.readouterr().err == ""
    np.testing.assert_allclose(new.predict(images, verbose=0), old.predict(images, verbose=0), rtol=1e-5)


def test_a_keras_2_file_that_keras_3_misreads_is_converted(tmp_path):
    from edgeprune.interop.packages import import_tf_keras

    old, images = keras_2_model(import_tf_keras().layers.Conv2D(2, 3, activation="hard_sigmoid"))
    path = tmp_path / "hard.h5"
    old.save(path)
    new = load_model(path)
    np.testing.assert_allclose(new.predict(images, verbose=0), old.predict(images, verbose=0), rtol=1e-5)


def test_a_lambda_of_keras_2_is_refused(tmp_path):
    from edgeprune.interop.packages import import_tf_keras

    old, _ = keras_2_model(import_tf_keras().layers.Lambda(lambda x: x + 1, name="code"))
    old.save(tmp_path / "code.h5")
    assert "--allow-lambda only if you trust the file" in refusal(tmp_path / "code.h5")
    old.save(tmp_path / "code.keras")
    assert 'layer "code" (Lambda) runs Python code' in refusal(tmp_path / "code.keras")


def test_a_custom_layer_of_keras_2_can_be_imported_for_keras_3(tmp_path):
    from edgeprune.interop.packages import import_tf_keras

    class Doubled(import_tf_keras().layers.Layer):
        def call(self, x):
            return 2 * x

    old, _ = keras_2_model(Doubled(name="mine"))
    old.save(tmp_path / "custom.h5")
    message = refusal(tmp_path / "custom.h5")
    assert 'custom layer "Doubled"' in message
    assert "--import" in message


def test_a_keras_2_model_without_tf_keras(tmp_path, monkeypatch):
    from edgeprune.interop.packages import import_tf_keras

    old, _ = keras_2_model(import_tf_keras().layers.DepthwiseConv2D(3))
    old.save(tmp_path / "old.h5")
    monkeypatch.setitem(sys.modules, "tf_keras", None)  # what Python takes for "not installed"
    message = refusal(tmp_path / "old.h5")
    assert "tf_keras, which is not installed" in message
    assert 'pip install "edgeprune[keras2]"' in message


def test_unreadable_training_settings_are_said_and_the_model_is_loaded(small, tmp_path, capsys):
    path = tmp_path / "settings.h5"
    small.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["training_config"] = json.dumps({"loss": {"class_name": 7}, "optimizer_config": None})
    model = load_model(path)
    assert not model.compiled
    assert "training settings can't be read" in capsys.readouterr().err


def open_sized():
    import keras

    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, name="conv")(image))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    model.compile("adam", "mse")
    return model


def test_open_size_is_fixed_by_input_shape(tmp_path):
    path = tmp_path / "open.keras"
    model = open_sized()
    model.save(path)
    message = refusal(path)
    assert "(None, None, 3)" in message
    assert "--input-shape" in message
    fixed = load_model(path, input_shape=(10, 12, 3))
    assert fixed.input_shape == (None, 10, 12, 3)
    assert fixed.get_layer("conv").output.shape == (None, 8, 10, 4)
    assert fixed.loss == "mse"
    images = np.random.default_rng(0).random((2, 10, 12, 3), dtype=np.float32)
    np.testing.assert_allclose(fixed.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5)


def test_open_sequential_and_second_input(tmp_path):
    import keras

    sequential = tmp_path / "sequential.keras"
    keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)]).save(sequential)
    assert load_model(sequential, input_shape=[8, 8, 3]).output_shape == (None, 6, 6, 2)
    two = tmp_path / "two.keras"
    image, extra = keras.Input((None, None, 3), name="image"), keras.Input((5,), name="extra")
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    keras.Model({"image": image, "extra": extra}, keras.layers.Concatenate()([pooled, extra])).save(two)
    fixed = load_model(two, input_shape=(4, 4, 3))
    assert {tensor.name: tensor.shape for tensor in fixed.inputs} == {"image": (None, 4, 4, 3), "extra": (None, 5)}


def test_input_shape_that_does_not_fit(saved, tmp_path):
    path = tmp_path / "open.keras"
    open_sized().save(path)
    assert "does not fit" in refusal(path, input_shape=(10, 10, 1))
    assert "does not fit" in refusal(path, input_shape=(10, 10))
    assert "whole numbers above 0" in refusal(path, input_shape=(0, 10, 3))
    assert "can't take" in refusal(path, input_shape=(2, 2, 3))
    assert "does not fit" in refusal(saved, input_shape=(16, 16, 3))
    assert load_model(saved, input_shape=(8, 8, 3)).input_shape == (None, 8, 8, 3)


def test_file_that_can_not_be_opened(saved):
    shutil.copy(saved, saved.with_name("loop.keras"))
    saved.unlink()
    saved.symlink_to(saved)
    assert "can't be read" in refusal(saved)
