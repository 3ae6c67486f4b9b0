"""Options that build and plan share, and merging them with an edgeprune.toml: the command line wins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from edgeprune.config import ALLOCATIONS, CRITERIA, DEFAULT_NAME, ProjectConfig, load_config
from edgeprune.errors import InputError
from edgeprune.target import Budget, Target, load_target

_LIMITS = ("latency_ms", "size_kb", "ram_kb", "max_accuracy_drop")
# keys of [training] that are options of the build, not of the task
_DISTILLATION = ("distillation_weight", "distillation_temperature")


def project_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of build and plan that say what is pruned, for which board and under which budget."""
    options = (
        click.argument("project", required=False, metavar="[PROJECT.toml | MODEL.keras]"),
        click.option("--target", "targets", multiple=True, help="Board: a name of `targets list` or a .toml file."),
        click.option("--data", help="file.npz, a folder of class subfolders, or package.module:function."),
        click.option("--latency-ms", type=float, help="Limit: milliseconds per inference on the target."),
        click.option("--size-kb", type=float, help="Limit: .tflite size in kB (1000 bytes)."),
        click.option("--ram-kb", type=float, help="Limit: peak RAM in kB (1000 bytes)."),
        click.option("--max-accuracy-drop", type=float, help="Limit: loss of the metric; 0.01 is one point."),
        click.option("--strategy", help="auto, structured (fewer channels), sparse or N:M such as 2:4."),
        click.option("--sparsity", type=float, help="For --strategy sparse: the share of zeros.  [default: 0.8]"),
        click.option(
            "--allow-dense-kernels", is_flag=True, help="For --strategy sparse: a smaller file will do, no speed-up."
        ),
        click.option("--quantize", help="none, float16, dynamic, int8 or auto."),
        click.option("--criterion", help="How channels are ranked: " + ", ".join(CRITERIA) + "."),
        click.option("--allocation", help=", ".join(ALLOCATIONS) + "; auto compares them."),
        click.option("--batch-size", type=int, help="Samples per training step."),
        click.option("--seed", type=int, help="Seed of every random choice."),
        click.option("--input-shape", help="Size of one sample for models that leave it open, such as 224,224,3."),
        click.option("--import", "imports", multiple=True, help="Module that registers custom objects."),
        click.option("--allow-lambda", is_flag=True, help="Load Lambda layers; they run code from the model file."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True)
class Project:
    """A project after merging; `targets` has at least one entry."""

    model: Path
    data: str | None
    targets: tuple[Target, ...]
    budget: Budget | None
    input_shape: tuple[int, ...] | None
    imports: tuple[str, ...]
    config: ProjectConfig
    allow_lambda: bool


def read_project(given: dict[str, Any]) -> Project:
    """Merge command-line values (None or empty: not given) with the project file.

    Raises:
        InputError: no model, no target, or values that can't be used.
    """
    config = _config(given["project"])
    names = given["targets"] or config.target
    if not names:
        raise InputError(
            "no target; pass --target NAME (`edgeprune targets list` shows them) or set target in edgeprune.toml"
        )
    if config.model is None:
        raise InputError("no model; pass MODEL.keras or set model in edgeprune.toml")
    return Project(
        model=config.model,
        data=given["data"] or config.data,
        targets=tuple(load_target(name) for name in dict.fromkeys(names)),
        budget=_budget(given, config),
        input_shape=_input_shape(given["input_shape"]) or config.input_shape,
        imports=tuple(given["imports"]) or config.imports,
        config=config,
        allow_lambda=given["allow_lambda"],
    )


def read_model(project: Project) -> Any:
    """Load the project's model; its folder is a place to import from."""
    from edgeprune.model_file import load_model

    folder = str(project.config.folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return load_model(
        project.model,
        imports=project.imports,
        allow_lambda=project.allow_lambda,
        input_shape=project.input_shape,
    )


def build_options(given: dict[str, Any], config: ProjectConfig) -> Any:
    """The pipeline's Options; what neither side sets keeps its default."""
    from edgeprune.pipeline.options import Options

    if given.get("strategy") is not None and given["strategy"] != config.strategy:
        config = replace(config, sparsity=None)  # the project's sparsity belongs to the project's strategy
    names = ("strategy", "sparsity", "quantize", "criterion", "allocation", "epochs", "rounds", "batch_size", "seed")
    values = {name: _first(given.get(name), getattr(config, name)) for name in names}
    values["allow_dense_kernels"] = given.get("allow_dense_kernels") or config.allow_dense_kernels or None
    values["device"] = given.get("device") or config.device
    values |= {name: getattr(config.training, name) for name in _DISTILLATION}
    return Options(**{name: value for name, value in values.items() if value is not None})


def task_options(config: ProjectConfig) -> Any:
    """The [training] table for the task."""
    from edgeprune.task.options import TaskOptions

    return TaskOptions(**{name: value for name, value in vars(config.training).items() if name not in _DISTILLATION})


def _config(project: str | None) -> ProjectConfig:
    """The project file, or an empty project around a model file."""
    if project is None:
        if not Path(DEFAULT_NAME).exists():
            raise InputError(f"no {DEFAULT_NAME} here; pass MODEL.keras or PROJECT.toml, or run `edgeprune init`")
        return load_config(DEFAULT_NAME)
    if project.endswith(".toml"):
        return load_config(project)
    return ProjectConfig(source=Path(project), folder=Path.cwd(), model=Path(project))


def _budget(given: dict[str, Any], config: ProjectConfig) -> Budget | None:
    """Limits of the command line replace those of the project; None when nobody set one.

    An absolute limit on the command line also replaces the project's ratio for the same cost.
    """
    limits = {name: given[name] for name in _LIMITS if given[name] is not None}
    budget = replace(config.budget, **limits)
    for name in ("latency_ms", "size_kb", "ram_kb"):
        if name in limits:
            budget = replace(budget, **{name.rsplit("_", 1)[0] + "_ratio": None})
    return None if budget == Budget() else budget


def _input_shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f'--input-shape must be whole numbers such as 224,224,3; got "{text}"')
    return tuple(int(part) for part in parts)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
