"""--json prints one document, also where the budget is missed; models and builds are stand-ins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeprune.cli.main import main
from edgeprune.errors import BudgetError
from edgeprune.pipeline.planning import PlanReport
from edgeprune.records.report import LimitRow

pytestmark = pytest.mark.keras  # edgeprune.pipeline loads TensorFlow

MODEL: dict[str, Any] = {"flops": 1}


def plan(target: str, size_kb: float) -> PlanReport:
    """A plan of `size_kb` under a limit of 10 kB."""
    limit = LimitRow("size_kb", 10.0, 20.0, size_kb, size_kb <= 10)
    return PlanReport(target, "l1", MODEL, MODEL, {"size_kb": 10.0}, (limit,), (), (), ())  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgeprune.cli.plan.read_model", lambda project: None)
    monkeypatch.setattr("edgeprune.cli.build.read_model", lambda project: None)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, the one document on stdout, the error line)."""
    code = 0
    try:
        main([*arguments, "--json"])
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    errors = [line.removeprefix("edgeprune: ") for line in err.splitlines() if line.startswith("edgeprune: ")]
    assert len(errors) == (code != 0), err
    return code, json.loads(out), errors[0] if errors else ""


def plans(monkeypatch: pytest.MonkeyPatch, **sizes: float) -> list[str]:
    monkeypatch.setattr(
        "edgeprune.pipeline.planning.make_plan", lambda model, target, **_: plan(target.name, sizes[target.name])
    )
    return ["plan", "m.keras", *(part for name in sizes for part in ("--target", name))]


def test_plan_within_the_budget(monkeypatch, capsys):
    code, document, _ = run(capsys, *plans(monkeypatch, rpi4=8.0))
    assert (code, document["met"]) == (0, True)
    assert "error" not in document


def test_plan_that_misses_the_budget(monkeypatch, capsys):
    code, document, line = run(capsys, *plans(monkeypatch, rpi4=12.0))
    assert (code, document["met"], document["exit_code"]) == (3, False, 3)
    assert document["limits"] == [{"name": "size_kb", "limit": 10.0, "baseline": 20.0, "result": 12.0, "met": False}]
    assert document["error"] == line == "rpi4: no plan keeps the budget; the closest has size_kb 12, limit 10"


def test_plans_for_several_targets(monkeypatch, capsys):
    code, document, line = run(capsys, *plans(monkeypatch, rpi4=12.0, rpi5=8.0, rpi3=14.0))
    assert code == 3
    assert {name: own["met"] for name, own in document.items()} == {"rpi4": False, "rpi5": True, "rpi3": False}
    assert "error" not in document["rpi5"]
    assert line == f"{document['rpi4']['error']}; {document['rpi3']['error']}"


def builds(monkeypatch: pytest.MonkeyPatch, *targets: str) -> list[str]:
    """Builds that fail for every target but rpi5."""

    def build(project: Any, model: Any, target: Any, *_: Any) -> dict[str, Any]:
        if target.name != "rpi5":
            raise BudgetError("the budget is\nnot met", {"size_kb": 12.5})
        return {"met": True}

    monkeypatch.setattr("edgeprune.cli.build._build_one", build)
    return ["build", "m.keras", "--data", "d.npz", *(part for name in targets for part in ("--target", name))]


def test_build_that_misses_the_budget_says_the_closest(monkeypatch, capsys):
    code, document, line = run(capsys, *builds(monkeypatch, "rpi4"))
    assert code == 3
    assert line == "the budget is not met"
    assert document == {"error": line, "exit_code": 3, "closest": {"size_kb": 12.5}}


def test_builds_for_several_targets(monkeypatch, capsys):
    code, document, line = run(capsys, *builds(monkeypatch, "rpi4", "rpi5"))
    assert code == 3
    assert line == "rpi4: the budget is not met"
    assert document == {
        "rpi4": {"error": "the budget is not met", "exit_code": 3, "closest": {"size_kb": 12.5}},
        "rpi5": {"met": True},
    }
