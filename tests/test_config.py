"""edgeprune.toml: every key, the defaults, paths, and the one-line error for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.config import ProjectConfig, TrainingConfig, is_function_spec, load_config, parse_config
from edgeprune.errors import InputError
from edgeprune.target import Budget

pytestmark = pytest.mark.unit

FULL = """\
model = "models/net.keras"
data = "digits.npz"
target = ["rpi4", "boards/mine.toml", "host"]
output = "out"
input_shape = [32, 32, 3]
imports = ["my_package.layers", "other"]
seed = 7
epochs = 4
rounds = 2
batch_size = 16
strategy = "structured"
quantize = "int8"
criterion = "l1"
device = "local"
validation_fraction = 0.1

[budget]
latency_ms = 12
size_kb = 500.5
ram_kb = 2000
max_accuracy_drop = 0.01
latency_ratio = 0.5
size_ratio = 0.4
ram_ratio = 1

[training]
loss = "mse"
optimizer = "sgd"
learning_rate = 0.001
metric = "mae"
metric_higher_is_better = false
distillation_weight = 0
distillation_temperature = 2
"""
SOURCE = Path("/project/edgeprune.toml")


def message(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_config(text, SOURCE)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_reads_every_key() -> None:
    assert parse_config(FULL, SOURCE) == ProjectConfig(
        source=SOURCE,
        folder=Path("/project"),
        model=Path("/project/models/net.keras"),
        data="/project/digits.npz",
        target=("rpi4", "/project/boards/mine.toml", "host"),
        output=Path("/project/out"),
        input_shape=(32, 32, 3),
        imports=("my_package.layers", "other"),
        seed=7,
        epochs=4,
        rounds=2,
        batch_size=16,
        strategy="structured",
        quantize="int8",
        criterion="l1",
        device="local",
        validation_fraction=0.1,
        budget=Budget(12.0, 500.5, 2000.0, 0.01, 0.5, 0.4, 1.0),
        training=TrainingConfig("mse", "sgd", 0.001, "mae", False, 0.0, 2.0),
    )


def test_every_key_is_optional() -> None:
    config = parse_config("", SOURCE)
    assert config == ProjectConfig(source=SOURCE, folder=Path("/project"))
    assert (config.seed, config.validation_fraction, config.strategy, config.quantize) == (0, 0.2, "auto", "auto")
    assert (config.model, config.data, config.target, config.epochs, config.criterion) == (None, None, (), None, None)
    assert (config.budget, config.training) == (Budget(), TrainingConfig())


def test_a_config_is_frozen() -> None:
    with pytest.raises(AttributeError):
        parse_config("", SOURCE).seed = 1  # type: ignore[misc]


def test_relative_paths_start_at_the_file_not_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "p.toml").write_text('model = "m.keras"\ndata = "../faces"\ntarget = "./b"', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = load_config("a/p.toml")
    assert config.source == tmp_path / "a" / "p.toml"
    assert config.folder == tmp_path / "a"
    assert config.model == tmp_path / "a" / "m.keras"
    assert config.data == str(tmp_path / "a" / ".." / "faces")
    assert config.target == (str(tmp_path / "a" / "b"),)


def test_absolute_paths_stay() -> None:
    config = parse_config('model = "/m.keras"\ndata = "/d"\noutput = "/o"\ntarget = "/t.toml"', SOURCE)
    assert (config.model, config.data, config.output, config.target) == (
        Path("/m.keras"),
        "/d",
        Path("/o"),
        ("/t.toml",),
    )


def test_a_data_function_is_not_a_path() -> None:
    assert parse_config('data = "my_data:load"', SOURCE).data == "my_data:load"


@pytest.mark.parametrize(
    ("data", "function"),
    [
        ("pkg.mod:load", True),
        ("m:f", True),
        ("data.npz", False),
        ("folder", False),
        ("./m:f", False),
        ("C:\\data.npz", False),
        ("m:f.npz", False),
        ("m:", False),
        ("1m:f", False),
    ],
)
def test_what_names_a_function(data: str, function: bool) -> None:
    assert is_function_spec(data) is function


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("epochs", "epoch", 'line 8: unknown key "epoch"; did you mean "epochs"?'),
        ("latency_ms", "latency_msec", 'line 18: unknown limit "budget.latency_msec"; did you mean "latency_ms"?'),
        ("optimizer", "optimiser", 'line 28: unknown key "training.optimiser"; did you mean "optimizer"?'),
        ("seed = 7", "folder = 7", 'line 7: unknown key "folder"'),
        (
            "seed = 7",
            'seed = "7"',
            'line 7: seed must be a whole number of at least 0 and at most 4294967295, received "7"',
        ),
        ("seed = 7", "seed = -1", "received -1"),
        ("seed = 7", "seed = 4294967296", "received 4294967296"),
        ("epochs = 4", "epochs = 1.5", "line 8: epochs must be a whole number of at least 0, received 1.5"),
        ("rounds = 2", "rounds = 0", "line 9: rounds must be a whole number of at least 1, received 0"),
        (
            "batch_size = 16",
            "batch_size = true",
            "line 10: batch_size must be a whole number of at least 1, received true",
        ),
        ("[32, 32, 3]", "[32, 0, 3]", "line 5: input_shape must be a list of whole numbers of at least 1"),
        ("[32, 32, 3]", "[]", "received an empty list"),
        ("[32, 32, 3]", '"32x32x3"', 'received "32x32x3"'),
        (
            '["my_package.layers", "other"]',
            '"other"',
            'line 6: imports must be a list of module names, received "other"',
        ),
        ('"other"]', '"other.py/x"]', 'line 6: imports must be a list of module names, received the item "other.py/x"'),
        (
            '"structured"',
            '"structred"',
            'line 11: strategy must be one of auto, structured, sparse or N:M such as "2:4", received "structred"',
        ),
        ('"structured"', '"4:2"', 'line 11: strategy must be N:M with 1 <= N < M, such as "2:4", received "4:2"'),
        ('"structured"', '"0:4"', 'line 11: strategy must be N:M with 1 <= N < M, such as "2:4", received "0:4"'),
        ('"structured"', "24", "line 11: strategy must be one of auto, structured, sparse or N:M"),
        (
            '"structured"',
            '"sparse"\nsparsity = 1',
            "line 12: sparsity must be a number of at least 0 and below 1, the share of zeros, received 1",
        ),
        ('"structured"', '"sparse"\nsparsity = -0.1', "line 12: sparsity must be a number of at least 0 and below 1"),
        ('"structured"', '"sparse"\nsparsity = true', "received true"),
        ('"int8"', '"int4"', 'line 12: quantize must be one of auto, none, float16, dynamic, int8, received "int4"'),
        ('"int8"', "8", "received 8"),
        ('"l1"', '"l9"', "line 13: criterion must be one of l1, l2, bn_scale"),
        ('"local"', '""', 'line 14: device must be a device such as "local", not blank'),
        (
            "fraction = 0.1",
            "fraction = 1",
            "line 15: validation_fraction must be a number above 0 and below 1, received 1",
        ),
        ("fraction = 0.1", "fraction = nan", "received nan"),
        ('"models/net.keras"', "3", "line 1: model must be the path of a .keras file"),
        (
            '["rpi4", "boards/mine.toml", "host"]',
            "[]",
            "line 3: target must be a target name, a .toml file, or a list of them",
        ),
        ('["rpi4", "boards/mine.toml", "host"]', "[4]", "received a list of 1, starting with 4"),
        ("latency_ms = 12", "latency_ms = 0", "line 18: budget.latency_ms must be a number above 0, received 0"),
        ("ram_ratio = 1", "ram_ratio = 1.01", "line 24: budget.ram_ratio must be a ratio above 0 and at most 1"),
        (
            "learning_rate = 0.001",
            "learning_rate = 0",
            "line 29: training.learning_rate must be a number above 0, received 0",
        ),
        (
            "better = false",
            'better = "no"',
            'line 31: training.metric_higher_is_better must be true or false, received "no"',
        ),
        (
            "distillation_weight = 0",
            "distillation_weight = 1.5",
            "line 32: training.distillation_weight must be a number from 0 to 1, received 1.5",
        ),
        (
            "distillation_temperature = 2",
            "distillation_temperature = 0",
            "line 33: training.distillation_temperature must be a number above 0, received 0",
        ),
        ("[training]", "[training", "not valid TOML: "),
    ],
)
def test_each_mistake_is_named(old: str, new: str, expected: str) -> None:
    assert old in FULL
    said = message(FULL.replace(old, new, 1))
    assert said.startswith(str(SOURCE))
    assert expected in said


def test_tables_that_are_values() -> None:
    assert "budget must be a table of limits, received 3" in message("budget = 3")
    assert "training must be a table, received a list of 1" in message("[[training]]")


def test_a_missing_file_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r'project file ".*edgeprune.toml" does not exist; `edgeprune init` writes one'
    ):
        load_config(tmp_path / "edgeprune.toml")
    with pytest.raises(InputError, match="is a folder"):
        load_config(tmp_path)


def loads_or_input_error(text: str) -> None:
    try:
        outcome: object = parse_config(text, SOURCE)
    except InputError as error:
        outcome = error
    assert isinstance(outcome, ProjectConfig) or len(str(outcome).splitlines()) == 1


@settings(deadline=None)
@given(st.text())
def test_garbage_loads_or_is_an_input_error(text: str) -> None:
    loads_or_input_error(text)


@settings(deadline=None)
@given(st.integers(0, len(FULL)), st.integers(0, 12), st.text(alphabet='[]{}"=.,#\n\\x019-e \x00\u2028é', max_size=6))
def test_a_mutated_file_loads_or_is_an_input_error(start: int, length: int, piece: str) -> None:
    loads_or_input_error(FULL[:start] + piece + FULL[start + length :])


VALUES = [
    "1",
    "0",
    "-1",
    "1.5",
    "nan",
    "inf",
    "true",
    '""',
    '"x"',
    '"a:b"',
    '"\\u0000"',
    "[]",
    "[1]",
    '["a"]',
    "{}",
    "1979-05-27",
]


@settings(deadline=None)
@given(
    st.sampled_from([line for line in FULL.splitlines() if " = " in line]),
    st.sampled_from([*VALUES, "9" * 5000, "0x" + "f" * 5000]),
)
def test_any_value_under_any_key_loads_or_is_an_input_error(line: str, value: str) -> None:
    loads_or_input_error(FULL.replace(line, line.partition(" = ")[0] + " = " + value))


@pytest.mark.parametrize(
    ("written", "strategy"), [("2:4", "2:4"), ("1:4", "1:4"), ("n:m", "2:4"), ("N:M", "2:4"), ("sparse", "sparse")]
)
def test_sparse_strategies(written, strategy):
    config = parse_config(f'strategy = "{written}"\n', Path("x.toml"))
    assert (config.strategy, config.sparsity) == (strategy, None)


def test_sparsity():
    assert parse_config('strategy = "sparse"\nsparsity = 0.9\n', Path("x.toml")).sparsity == 0.9
    assert parse_config("sparsity = 0\n", Path("x.toml")).sparsity == 0.0
