"""`distillation_weight` and `distillation_temperature`, from edgeprune.toml to the teacher of a round."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeprune.cli.project import build_options, task_options
from edgeprune.config import parse_config
from edgeprune.errors import InputError
from edgeprune.pipeline.options import Options, check_options
from edgeprune.pipeline.rounds import distillation
from edgeprune.pipeline.stages import Stages
from edgeprune.task.options import TaskOptions

pytestmark = pytest.mark.unit

TEXT = """\
[training]
learning_rate = 0.5
distillation_weight = 0.25
distillation_temperature = 2
"""


def job(options: Options) -> Any:
    return SimpleNamespace(model="the dense model", options=options)


def test_from_the_project_file_to_the_round() -> None:
    config = parse_config(TEXT, Path("/project/edgeprune.toml"))
    options = build_options({}, config)
    assert options == Options(distillation_weight=0.25, distillation_temperature=2.0)
    assert task_options(config) == TaskOptions(learning_rate=0.5)
    found = distillation(job(options))
    assert found is not None
    assert (found.teacher, found.weight, found.temperature, found.kind) == ("the dense model", 0.25, 2.0, "auto")


def test_off_where_nothing_is_said() -> None:
    options = build_options({}, parse_config("", Path("/project/edgeprune.toml")))
    assert (options.distillation_weight, options.distillation_temperature) == (0.0, 4.0)
    assert distillation(job(options)) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"distillation_weight": 1.5}, "distillation_weight must be a number from 0 to 1, such as 0.5; got 1.5"),
        ({"distillation_weight": True}, "distillation_weight must be a number from 0 to 1, such as 0.5; got True"),
        ({"distillation_temperature": 0}, "distillation_temperature must be a number above 0, such as 4; got 0"),
    ],
)
def test_out_of_range(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        check_options(Options(**given))
    assert str(caught.value) == expected


@pytest.mark.parametrize("change", [{"distillation_weight": 0.5}, {"distillation_temperature": 2.0}])
def test_a_build_with_other_values_is_another_build(tmp_path: Path, change: dict[str, float]) -> None:
    options = Options(distillation_weight=0.25)
    Stages(tmp_path, {"options": asdict(options)}, fresh=False)
    Stages(tmp_path, {"options": asdict(options)}, fresh=False)
    with pytest.raises(InputError, match="holds another build \\(other options\\)"):
        Stages(tmp_path, {"options": asdict(replace(options, **change))}, fresh=False)
