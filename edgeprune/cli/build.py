"""`edgeprune build`: the main job."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from edgeprune.cli.answered import Answered, error_document
from edgeprune.cli.interrupts import interrupts_insisted_on
from edgeprune.cli.project import build_options, project_options, read_model, read_project, task_options
from edgeprune.errors import BudgetError, InputError, Interrupted

_DEFAULT_OUTPUT = "edgeprune-build"


@click.command("build", context_settings={"help_option_names": ["-h", "--help"]})
@project_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help=f"Folder to write; {_DEFAULT_OUTPUT} by default.")
@click.option("--epochs", type=int, help="Fine-tuning epochs of each round.")
@click.option("--rounds", type=int, help="Rounds of prune and fine-tune.")
@click.option("--device", help="Where to measure: a device of `edgeprune bench`.  [default: local]")
@click.option("--fresh", is_flag=True, help="Throw away an earlier build in the output folder.")
def command(output: Path | None, fresh: bool, **given: Any) -> None:
    """Prune, convert and validate a model for a board.

    Without an argument ./edgeprune.toml is read. Run the same command again to continue an interrupted build.
    """
    project = read_project(given)
    if project.data is None:
        raise InputError(
            "no data; pass --data file.npz, a folder or package.module:function, or set data in edgeprune.toml "
            "(`edgeprune plan` works without)"
        )
    folder = output or project.config.output or Path(_DEFAULT_OUTPUT)
    try:
        with interrupts_insisted_on():
            _build_all(project, given, folder, fresh)
    except KeyboardInterrupt:
        again = shlex.join(["edgeprune", *(argument for argument in sys.argv[1:] if argument != "--fresh")])
        raise Interrupted(f"interrupted; finished steps are kept in {folder}. Continue with: {again}") from None


def _build_all(project: Any, given: dict[str, Any], folder: Path, fresh: bool) -> None:
    """Build for every target; one folder each where there are several."""
    from edgeprune.pipeline.prepare import start_tensorflow
    from edgeprune.pipeline.stages import fresh_discards
    from edgeprune.progress import say

    options = build_options(given, project.config)
    folders = [folder if len(project.targets) == 1 else folder / target.name for target in project.targets]
    if fresh and any(fresh_discards(own, project.model) for own in folders):
        raise InputError(
            f"--fresh would delete {project.model}, the model to build from; choose another folder with -o"
        )
    say(f"loading {project.model}")
    start_tensorflow()
    model = read_model(project)
    failures: dict[str, BudgetError] = {}
    documents = {}
    for target, own in zip(project.targets, folders, strict=True):
        try:
            documents[target.name] = _build_one(project, model, target, options, own, fresh, given["as_json"])
        except BudgetError as error:
            if len(project.targets) == 1:
                raise
            documents[target.name] = error_document(error)
            failures[target.name] = error
            say(f"{target.name}: {error}")
    if given["as_json"]:
        click.echo(json.dumps(documents if len(project.targets) > 1 else next(iter(documents.values())), indent=2))
    if failures:
        raise Answered(BudgetError("; ".join(f"{name}: {error}" for name, error in failures.items())))


def _build_one(
    project: Any, model: Any, target: Any, options: Any, folder: Path, fresh: bool, as_json: bool
) -> dict[str, Any]:
    from edgeprune.pipeline.build import build

    result = build(
        model,
        target,
        train=project.data,
        budget=project.budget,
        output=folder,
        options=options,
        task=task_options(project.config),
        fresh=fresh,
        search_path=project.config.folder,
        validation_fraction=project.config.validation_fraction,
        allow_lambda=project.allow_lambda,
    )
    if not as_json:
        from rich.console import Console

        from edgeprune.report.terminal import render

        render(result.report, Console())
        click.echo(f"\nwrote {folder}: model.tflite, model.keras, report.html, report.json, plan.json, manifest.json")
    return result.report.to_json()
