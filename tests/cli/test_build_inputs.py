"""`edgeprune build` with bad input: one line on stderr, the exit code of the map, nothing overwritten."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprune.cli.main import main

pytestmark = pytest.mark.keras

SAMPLES = 24
CLASSES = 3


def network(input_shape: tuple[int | None, ...] = (8, 8, 3)) -> Any:
    """An untrained classifier; every case here ends before training or does not care about accuracy."""
    import keras

    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def samples(shape: tuple[int, ...] = (8, 8, 3)) -> tuple[np.ndarray, np.ndarray]:
    """x of SAMPLES random images, y of class numbers."""
    return np.random.default_rng(0).random((SAMPLES, *shape), dtype=np.float32), np.arange(SAMPLES) % CLASSES


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with model.keras and data.npz, and the current folder of the test."""
    monkeypatch.chdir(tmp_path)
    network().save("model.keras")
    x, y = samples()
    np.savez("data.npz", x=x, y=y)
    return tmp_path


@pytest.fixture
def refused(workdir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `edgeprune build ARGUMENTS`, without and with --json, and check how it refuses; returns the message."""

    def run(*arguments: Any, code: int = 2, once: bool = False) -> str:
        before = contents(workdir)
        lines = []
        for extra in [[]] if once else [[], ["--json"]]:
            with pytest.raises(SystemExit) as end:
                main(["build", *map(str, arguments), *extra])
            captured = capsys.readouterr()
            assert end.value.code == code, captured.err
            assert "Traceback" not in captured.err
            errors = [line for line in captured.err.splitlines() if line.startswith("edgeprune: ")]
            assert errors == captured.err.splitlines()[-1:], captured.err
            lines.append(errors[0].removeprefix("edgeprune: "))
            if extra:
                document = json.loads(captured.out)
                closest = document.pop("closest", None)
                assert document == {"error": lines[-1], "exit_code": code}
                assert (closest is not None) == (code == 3)
            else:
                assert captured.out == ""
        assert lines[0] == lines[-1]
        after = contents(workdir)
        assert {name: after.get(name) for name in before} == before
        return lines[0]

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by relative name, except the lock that only says who builds."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def usual(**changes: Any) -> list[str]:
    """The arguments of a build that would work, some replaced (None: left out)."""
    given = {"model": "model.keras", "data": "data.npz", "target": "rpi4", "output": "out"} | changes
    model = given.pop("model")
    options = [part for name, value in given.items() if value is not None for part in (f"--{name}", str(value))]
    return [str(model), *options]


# The model


def test_missing_model_names_the_nearest(refused):
    line = refused(*usual(model="modle.keras"))
    assert "no model file modle.keras" in line
    assert 'did you mean "model.keras"?' in line


def test_empty_model(refused, workdir):
    (workdir / "empty.keras").touch()
    assert "empty.keras is empty" in refused(*usual(model="empty.keras"))


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_cut_off_model(refused, workdir, kept):
    whole = (workdir / "model.keras").read_bytes()
    (workdir / "cut.keras").write_bytes(whole[: int(len(whole) * kept)])
    assert "cut.keras is damaged" in refused(*usual(model="cut.keras"))


def test_flipped_bytes_in_the_weights(refused, workdir):
    with zipfile.ZipFile("model.keras") as archive:
        where = archive.getinfo("model.weights.h5").header_offset + 200
    damaged = bytearray((workdir / "model.keras").read_bytes())
    damaged[where] ^= 0xFF
    (workdir / "bad.keras").write_bytes(damaged)
    assert "bad.keras is damaged" in refused(*usual(model="bad.keras"))


def test_text_named_keras(refused, workdir):
    (workdir / "text.keras").write_text("not a model, but long enough to have a header")
    assert "text.keras is damaged" in refused(*usual(model="text.keras"))


def test_folder_as_model(refused, workdir):
    (workdir / "folder.keras").mkdir()
    assert "is a folder" in refused(*usual(model="folder.keras"))


def test_custom_object_that_is_not_imported(refused):
    import keras

    class Foreign(keras.layers.Layer):
        def call(self, x):
            return x * 2.0

    model = keras.Sequential([keras.Input((8, 8, 3)), Foreign(), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    model.save("custom.keras")
    line = refused(*usual(model="custom.keras"))
    assert '"Foreign"' in line
    assert "--import" in line


def test_import_of_a_module_that_does_not_exist(refused):
    assert "no_such_layers" in refused(*usual(**{"import": "no_such_layers"}))


def test_lambda_names_the_flag(refused):
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x * 2.0), *network().layers])
    model.save("lambda.keras")
    line = refused(*usual(model="lambda.keras"))
    assert "Lambda" in line
    assert "--allow-lambda" in line


def test_unbuilt_model(refused):
    import keras

    keras.Sequential([keras.layers.Conv2D(8, 3), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]).save("raw.keras")
    assert "not built" in refused(*usual(model="raw.keras"))


def test_open_spatial_size_asks_for_the_shape(refused):
    network((None, None, 3)).save("open.keras")
    line = refused(*usual(model="open.keras"))
    assert "(None, None, 3)" in line
    assert "--input-shape" in line


@pytest.mark.parametrize("shape", ["8,8", "8,8,4", "8,x,3", "0,8,3"])
def test_input_shape_that_does_not_fit(refused, shape):
    network((None, None, 3)).save("open.keras")
    assert "--input-shape" in refused(*usual(model="open.keras", **{"input-shape": shape}))


# The data


def test_data_that_do_not_exist(refused):
    assert "nothing.npz" in refused(*usual(data="nothing.npz"))


def test_no_data_at_all(refused):
    assert "--data" in refused(*usual(data=None))


@pytest.mark.parametrize("content", [b"", b"PK but no archive"])
def test_data_file_that_is_no_archive(refused, workdir, content):
    (workdir / "bad.npz").write_bytes(content)
    assert "bad.npz" in refused(*usual(data="bad.npz"))


def _labels_too_high(x, y):
    return x, y + 1


def _labels_negative(x, y):
    return x, y - 1


def _one_hot_of_four(x, y):
    return x, np.eye(4, dtype=np.float32)[y]


def _labels_missing(x, y):
    return x, y[:-1]


def _labels_as_text(x, y):
    return x, np.array(["cat", "dog", "eel"])[y]


def _nan(x, y):
    x[3, 2, 1, 0] = np.nan
    return x, y


def _infinite(x, y):
    x[3, 2, 1, 0] = np.inf
    return x, y


def _empty(x, y):
    return x[:0], y[:0]


def _other_size(x, y):
    return x[:, :6], y


def _channels_first(x, y):
    return np.moveaxis(x, -1, 1), y


def _grey(x, y):
    return x[..., 0], y


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_labels_too_high, "3"),
        (_labels_negative, "-1"),
        (_one_hot_of_four, "4"),
        (_labels_missing, f"{SAMPLES - 1}"),
        (_labels_as_text, "y"),
        (_nan, "NaN"),
        (_infinite, "inf"),
        (_empty, "x is empty"),
        (_other_size, "(6, 8, 3)"),
        (_channels_first, "np.moveaxis(x, 1, -1)"),
        (_grey, "channel axis is missing"),
    ],
)
def test_data_that_do_not_fit_the_model(refused, spoil, says):
    x, y = spoil(*samples())
    np.savez("spoilt.npz", x=x, y=y)
    line = refused(*usual(data="spoilt.npz"))
    assert "spoilt.npz" in line
    assert says in line


def test_npz_without_labels(refused):
    np.savez("x-only.npz", x=samples()[0])
    assert "lacks y" in refused(*usual(data="x-only.npz"))


def test_folder_without_classes(refused, workdir):
    (workdir / "images").mkdir()
    assert "images" in refused(*usual(data="images"))


def test_data_function_that_fails(refused, workdir):
    (workdir / "broken_data.py").write_text("def load():\n    raise RuntimeError('the disk of samples is away')\n")
    line = refused(*usual(data="broken_data:load"))
    assert "the disk of samples is away" in line
    assert "broken_data.py:2" in line


# Names and numbers


def test_unknown_target_names_the_nearest(refused):
    assert 'did you mean "rpi4"?' in refused(*usual(target="rpi44"))


def test_no_target(refused):
    assert "--target" in refused(*usual(target=None))


@pytest.mark.parametrize("option", ["latency-ms", "size-kb", "ram-kb"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "abc", ""])
def test_budget_that_is_no_positive_number(refused, option, value):
    line = refused(*usual(**{option: value}))
    assert option.replace("-", "_") in line.replace("-", "_")


@pytest.mark.parametrize("value", ["-0.01", "nan", "abc"])
def test_accuracy_drop_below_zero(refused, value):
    assert "accuracy" in refused(*usual(**{"max-accuracy-drop": value}))


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("strategy", "structurd", 'did you mean "structured"?'),
        ("quantize", "int9", 'did you mean "int8"?'),
        ("criterion", "tailor", 'did you mean "taylor"?'),
        ("strategy", "4:2", "N:M needs 1 <= N < M"),
        ("strategy", "2:4:8", 'did you mean "2:4"?'),
        ("sparsity", "0.5", 'sparsity is for the strategy "sparse"'),
        ("sparsity", "half", "sparsity"),
        ("epochs", "-1", "epochs"),
        ("rounds", "0", "rounds"),
        ("batch-size", "0", "batch"),
        ("seed", "-1", "seed"),
        ("seed", "4294967296", "seed"),
        ("epochs", "two", "epochs"),
        ("latancy-ms", "3", "--latency-ms"),
    ],
)
def test_option_out_of_range(refused, option, value, says):
    assert says in refused(*usual(**{option: value}))


@pytest.mark.parametrize(
    ("strategy", "option", "value", "says"),
    [
        ("sparse", "sparsity", "1", "sparsity must be a number of at least 0 and below 1"),
        ("sparse", "sparsity", "-0.1", "sparsity must be a number of at least 0 and below 1"),
        ("sparse", "sparsity", "nan", "sparsity must be a number of at least 0 and below 1"),
        ("2:4", "sparsity", "0.9", '"2:4" fixes it at 0.5'),
        ("n:m", "quantize", "dynamic", "--quantize dynamic can't be used with --strategy n:m"),
    ],
)
def test_options_of_sparse_strategies(refused, strategy, option, value, says):
    assert says in refused(*usual(strategy=strategy, **{option: value}))


def test_no_argument_and_no_project(refused):
    line = refused()
    assert "edgeprune.toml" in line
    assert "edgeprune init" in line


@pytest.mark.parametrize(
    ("text", "line_number", "says"),
    [
        ('model = "model.keras"\ntarjet = "rpi4"\n', 2, 'did you mean "target"?'),
        ('model = "model.keras"\n\n[budget]\nlatency = 3\n', 4, "latency"),
        ('model = "model.keras"\n[budget]\nsize_kb = nan\n', 3, "size_kb"),
        ('model = "model.keras"\n[training]\nlerning_rate = 1\n', 3, 'did you mean "learning_rate"?'),
        ('model = "model.keras"\ntarget = \n', 2, ""),
    ],
)
def test_mistake_in_the_project_file_names_its_line(refused, workdir, text, line_number, says):
    (workdir / "edgeprune.toml").write_text(text)
    line = refused()
    assert f"line {line_number}" in line or f"edgeprune.toml:{line_number}" in line
    assert says in line


# The output folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.keras, data.npz and `out`, a finished build without limits that need pruning."""
    folder = tmp_path_factory.mktemp("finished")
    network().save(folder / "model.keras")
    x, y = samples()
    np.savez(folder / "data.npz", x=x, y=y)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)
        main(["build", *usual(**{"size-kb": 100, "max-accuracy-drop": 1, "quantize": "none"})])
    return folder


@pytest.fixture
def with_build(finished: Path, workdir: Path) -> Path:
    """The working folder with a copy of the finished build in `out`."""
    import shutil

    shutil.copytree(finished / "out", workdir / "out")
    return workdir


@pytest.mark.parametrize("change", [{"seed": 7}, {"target": "rpi3"}, {"size-kb": 99}])
def test_output_that_holds_another_build(refused, with_build, change):
    same = {"size-kb": 100, "max-accuracy-drop": 1, "quantize": "none"}
    line = refused(*usual(**{**same, **change}))
    assert "holds another build" in line
    assert "--fresh" in line


def test_fresh_does_not_delete_the_model_it_reads(refused, with_build):
    line = refused("out/model.keras", *usual()[1:], "--fresh")
    assert "out/model.keras" in line


@pytest.mark.parametrize("fresh", [[], ["--fresh"]])
@pytest.mark.parametrize("name", ["model.keras", "report.html", "stages"])
def test_output_with_a_file_of_the_user_that_would_be_overwritten(refused, workdir, name, fresh):
    (workdir / "out").mkdir()
    (workdir / "out" / name).write_bytes(b"mine")
    assert name in refused(*usual(), *fresh)


def test_output_is_the_folder_of_the_model(refused):
    assert "model.keras" in refused(*usual(output="."))


def test_output_is_a_file(refused, workdir):
    (workdir / "out").write_bytes(b"mine")
    assert "out is a file" in refused(*usual())


@pytest.mark.parametrize("output", ["data.npz/out", "/proc/edgeprune/out", "x" * 300])
def test_output_that_can_not_be_made(refused, output):
    line = refused(*usual(output=output))
    assert output in line
    assert "-o" in line


# No space left


@pytest.mark.parametrize("number", range(1, 15))
def test_disk_full_at_any_write(refused, workdir, monkeypatch, number):
    """The n-th flush fails: the marker, the stages' files, the artifacts. What was there before is whole."""
    real, count = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr("edgeprune.atomic.os.fsync", full)
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)
    line = refused(*usual(**{"size-kb": 100, "max-accuracy-drop": 1, "quantize": "none"}), once=True)
    assert count >= number
    assert "no space left" in line
    assert "run the command again" in line
    for path in (workdir / "out").rglob("*.json"):
        json.loads(path.read_text())
    leftovers = [path for path in (workdir / "out").rglob(".*") if path.name != ".lock"]
    assert leftovers == []


def test_disk_full_for_the_lock(refused, monkeypatch):
    real = open

    def full(file: Any, *arguments: Any, **named: Any) -> Any:
        if str(file).endswith(".lock"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, *arguments, **named)

    monkeypatch.setattr("builtins.open", full)
    assert "no space left" in refused(*usual())


# A budget that can't be met


@pytest.mark.parametrize(
    ("option", "value", "unit"),
    [("latency-ms", "0.000001", "ms latency"), ("size-kb", "0.5", "kB file size"), ("ram-kb", "0.01", "kB RAM")],
)
def test_budget_out_of_reach_names_the_closest_point(refused, option, value, unit):
    line = refused(*usual(**{option: value}), code=3)
    assert "closest" in line
    assert unit in line
    assert f"limit {float(value):g}" in line
