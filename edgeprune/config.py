"""Projects: edgeprune.toml -> ProjectConfig. Only the file is read here; nothing it names is opened."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.target import Budget, budget_from, is_target_file
from edgeprune.toml_table import Table, is_integer, is_number, read_text, shown

DEFAULT_NAME = "edgeprune.toml"
STRATEGIES = ("auto", "structured", "sparse")
# What "n:m" without numbers means: the pattern of the hardware that has one.
DEFAULT_N_OF_M = "2:4"
QUANTIZE_CHOICES = ("auto", *QUANTIZE_MODES)
MAX_SEED = 2**32 - 1  # numpy takes no more
CRITERIA = ("l1", "l2", "bn_scale", "fpgm", "taylor", "snip", "apoz", "mean_activation", "random")
ALLOCATIONS = ("auto", "uniform", "global", "greedy", "knapsack", "sensitivity", "depth")

_T = TypeVar("_T")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_N_OF_M = re.compile(r"(\d{1,6}):(\d{1,6})")


@dataclass(frozen=True)
class TrainingConfig:
    """The [training] table: how to fine-tune and judge. None: taken from the compiled model, else from the data.

    `loss`, `optimizer` and `metric` are Keras names; `metric_higher_is_better` settles it for metrics
    whose direction the name doesn't tell. `distillation_weight` (0 to 1; 0 is off) and `distillation_temperature`
    (above 0) say how far fine-tuning follows the dense model instead of the labels.
    """

    loss: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    metric: str | None = None
    metric_higher_is_better: bool | None = None
    distillation_weight: float | None = None
    distillation_temperature: float | None = None


@dataclass(frozen=True)
class ProjectConfig:
    """One edgeprune.toml. Paths are absolute; None means not given, so that the command line or a stage decides.

    Attributes:
        source: the file itself.
        folder: the folder of `source`: goes on `sys.path` before `imports` and `data` functions are imported.
        model: a .keras file.
        data: an absolute path to a .npz file or a folder, or `package.module:function` as it was written.
        target: names of boards, or absolute paths of .toml files; empty where none is given.
        output: the folder that a build writes.
        input_shape: of one sample, without the batch axis, for models whose own is not fixed.
        imports: modules to import before the model is loaded (they register custom objects).
        seed: of every random choice.
        epochs: of fine-tuning per round.
        rounds: of prune -> fine-tune.
        batch_size: of training and evaluation.
        strategy: one of STRATEGIES, or N:M such as "2:4".
        sparsity: the share of zeros in all kernels together, in [0, 1), for the strategy "sparse".
        quantize: one of QUANTIZE_CHOICES.
        criterion: one of CRITERIA.
        allocation: one of ALLOCATIONS.
        allow_dense_kernels: whether the strategy "sparse" may end with a file that is smaller and no faster.
        device: where to measure, such as "local".
        validation_fraction: the part of the samples, in (0, 1), split off where the data has no validation part.
    """

    source: Path
    folder: Path
    model: Path | None = None
    data: str | None = None
    target: tuple[str, ...] = ()
    output: Path | None = None
    input_shape: tuple[int, ...] | None = None
    imports: tuple[str, ...] = ()
    seed: int = 0
    epochs: int | None = None
    rounds: int | None = None
    batch_size: int | None = None
    strategy: str = "auto"
    sparsity: float | None = None
    quantize: str = "auto"
    criterion: str | None = None
    allocation: str | None = None
    allow_dense_kernels: bool = False
    device: str | None = None
    validation_fraction: float = 0.2
    budget: Budget = field(default_factory=Budget)
    training: TrainingConfig = field(default_factory=TrainingConfig)


def load_config(path: str | Path) -> ProjectConfig:
    """Read a project file.

    Raises:
        InputError: the file is missing or unreadable, is not TOML, or has an unknown key or a wrong value.
    """
    text = read_text(Path(path), "project file", "`edgeprune init` writes one")
    return parse_config(text, Path(path))


def parse_config(text: str, source: Path) -> ProjectConfig:
    """Parse the text of a project file that stands, or will stand, at `source`; relative paths start at its folder.

    Raises:
        InputError: not TOML, an unknown key or a wrong value.
    """
    top = Table.parse(text, str(source))
    top.check_keys(item.name for item in dataclasses.fields(ProjectConfig) if item.name not in ("source", "folder"))
    source = source.absolute()
    folder = source.parent
    given: dict[str, Any] = {key: read(top, folder) for key, read in _READERS.items() if key in top}
    return ProjectConfig(source=source, folder=folder, budget=budget_from(top), training=_training(top), **given)


def is_function_spec(data: str) -> bool:
    """Whether `--data` or the `data` key names `package.module:function` rather than a file or folder."""
    return _FUNCTION.fullmatch(data) is not None


def n_of_m(strategy: str) -> str | None:
    """The N:M pattern that a strategy names, "2:4" for "n:m"; None for a strategy of another form. N and M may be any
    numbers."""
    if strategy.lower() == "n:m":
        return DEFAULT_N_OF_M
    return strategy if _N_OF_M.fullmatch(strategy) else None


def _model(top: Table, folder: Path) -> Path:
    return folder / top.text("model", "the path of a .keras file")


def _data(top: Table, folder: Path) -> str:
    data = top.text("data", "a .npz file, a folder or package.module:function")
    return data if is_function_spec(data) else str(folder / data)


def _targets(top: Table, folder: Path) -> tuple[str, ...]:
    allowed = "a target name, a .toml file, or a list of them"
    names = top.texts("target", allowed) if isinstance(top.values["target"], list) else (top.text("target", allowed),)
    if not names:
        raise top.wrong("target", allowed)
    return tuple(str(folder / name) if is_target_file(name) else name for name in names)


def _output(top: Table, folder: Path) -> Path:
    return folder / top.text("output", "the path of a folder")


def _input_shape(top: Table, folder: Path) -> tuple[int, ...]:
    value = top.values["input_shape"]
    if not isinstance(value, list) or not value or not all(is_integer(size, 1) for size in value):
        raise top.wrong("input_shape", "a list of whole numbers of at least 1, without the batch axis: [224, 224, 3]")
    return tuple(value)


def _imports(top: Table, folder: Path) -> tuple[str, ...]:
    allowed = "a list of module names"
    modules = top.texts("imports", allowed)
    wrong = [module for module in modules if not _MODULE.fullmatch(module)]
    if wrong:
        raise top.error("imports", f"imports must be {allowed}, received the item {shown(wrong[0])}")
    return modules


def _strategy(top: Table, folder: Path) -> str:
    value = top.values["strategy"]
    pattern = n_of_m(value) if isinstance(value, str) else None
    if pattern is None:
        if value not in STRATEGIES:
            raise top.wrong("strategy", f'one of {", ".join(STRATEGIES)} or N:M such as "{DEFAULT_N_OF_M}"')
        return str(value)
    n, m = map(int, pattern.split(":"))
    if not 1 <= n < m:
        raise top.wrong("strategy", f'N:M with 1 <= N < M, such as "{DEFAULT_N_OF_M}"')
    return pattern


def _sparsity(top: Table, folder: Path) -> float:
    value = top.values["sparsity"]
    if not is_number(value) or not 0 <= value < 1:
        raise top.wrong("sparsity", "a number of at least 0 and below 1, the share of zeros")
    return float(value)


def _validation_fraction(top: Table, folder: Path) -> float:
    value = top.number("validation_fraction")
    if value >= 1:
        raise top.wrong("validation_fraction", "a number above 0 and below 1")
    return value


def _at_least(least: int, key: str) -> Callable[[Table, Path], int]:
    return lambda top, folder: top.integer(key, least)


def _one_of(allowed: tuple[str, ...], key: str) -> Callable[[Table, Path], str]:
    return lambda top, folder: top.choice(key, allowed)


# key -> reads it from the top table, given that it is there
_READERS: dict[str, Callable[[Table, Path], object]] = {
    "model": _model,
    "data": _data,
    "target": _targets,
    "output": _output,
    "input_shape": _input_shape,
    "imports": _imports,
    "seed": lambda top, folder: top.integer("seed", 0, MAX_SEED),
    "epochs": _at_least(0, "epochs"),
    "rounds": _at_least(1, "rounds"),
    "batch_size": _at_least(1, "batch_size"),
    "strategy": _strategy,
    "sparsity": _sparsity,
    "quantize": _one_of(QUANTIZE_CHOICES, "quantize"),
    "criterion": _one_of(CRITERIA, "criterion"),
    "allocation": _one_of(ALLOCATIONS, "allocation"),
    "allow_dense_kernels": lambda top, folder: top.flag("allow_dense_kernels"),
    "device": lambda top, folder: top.text("device", 'a device such as "local"'),
    "validation_fraction": _validation_fraction,
}


def _training(top: Table) -> TrainingConfig:
    if "training" not in top:
        return TrainingConfig()
    table = top.table("training")
    table.check_keys(item.name for item in dataclasses.fields(TrainingConfig))

    def optional(key: str, read: Callable[[str], _T]) -> _T | None:
        return read(key) if key in table else None

    return TrainingConfig(
        loss=optional("loss", table.text),
        optimizer=optional("optimizer", table.text),
        learning_rate=optional("learning_rate", table.number),
        metric=optional("metric", table.text),
        metric_higher_is_better=optional("metric_higher_is_better", table.flag),
        distillation_weight=optional("distillation_weight", lambda key: _from_0_to_1(table, key)),
        distillation_temperature=optional("distillation_temperature", table.number),
    )


def _from_0_to_1(table: Table, key: str) -> float:
    value = table.values[key]
    if not is_number(value) or not 0 <= value <= 1:
        raise table.wrong(key, "a number from 0 to 1")
    return float(value)
