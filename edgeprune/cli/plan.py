"""`edgeprune plan`: what a build would cut. Trains nothing, writes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli.answered import Answered, error_document
from edgeprune.cli.project import build_options, project_options, read_model, read_project, task_options
from edgeprune.errors import BudgetError

if TYPE_CHECKING:
    from edgeprune.pipeline.planning import PlanReport


@click.command("plan", context_settings={"help_option_names": ["-h", "--help"]})
@project_options
def command(as_json: bool, **given: Any) -> None:
    """Say what would be cut and what it should cost; trains nothing. Data are optional."""
    project = read_project(given)
    from edgeprune.pipeline.planning import make_plan
    from edgeprune.pipeline.prepare import start_tensorflow

    options = build_options(given, project.config)
    start_tensorflow()
    model = read_model(project)
    plans = [
        make_plan(
            model,
            target,
            train=project.data,
            budget=project.budget,
            options=options,
            task=task_options(project.config),
            search_path=project.config.folder,
            allow_lambda=project.allow_lambda,
        )
        for target in project.targets
    ]
    errors = {found.target: _missed(found) for found in plans if not found.met}
    if as_json:
        documents = {
            found.target: found.to_json() | (error_document(errors[found.target]) if not found.met else {})
            for found in plans
        }
        click.echo(json.dumps(documents if len(plans) > 1 else documents[plans[0].target], indent=2))
    else:
        _show(plans)
    if errors:
        raise Answered(BudgetError("; ".join(map(str, errors.values()))))


def _missed(found: PlanReport) -> BudgetError:
    missed = "; ".join(f"{row.name} {row.result:.4g}, limit {row.limit:.4g}" for row in found.limits if not row.met)
    return BudgetError(f"{found.target}: no plan keeps the budget; the closest has {missed}")


def _show(plans: list[Any]) -> None:
    from rich.console import Console

    from edgeprune.report.terminal import render_models, render_plan

    console = Console()
    for found in plans:
        console.print(f"{found.target}: plan by {found.criterion}", style="bold", markup=False)
        render_models(found.baseline, found.planned, found.limits, console, after="planned")
        render_plan(found.layers, found.frozen, console)
        for note in found.notes:
            console.print(f"note: {note}", markup=False)
