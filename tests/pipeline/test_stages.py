"""Recorded stages: what is kept, what is refused, what a stop in the middle leaves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from edgeprune.errors import InputError
from edgeprune.pipeline.stages import ARTIFACTS, Stages, fresh_discards, only_one_build

pytestmark = pytest.mark.unit

IDENTITY = {"seed": 1, "model": "abc"}


def build_once(folder: Path) -> None:
    """What a finished build leaves: one stage and all artifacts."""
    Stages(folder, IDENTITY, fresh=False).run("only", lambda stage: {"value": 3})
    for name in ARTIFACTS:
        (folder / name).write_text("built")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_finished_stage_is_not_done_again(tmp_path):
    build_once(tmp_path)
    again = Stages(tmp_path, IDENTITY, fresh=False)
    assert again.run("only", lambda stage: pytest.fail("done twice")) == {"value": 3}


def test_an_interrupted_stage_gets_back_what_it_wrote(tmp_path):
    stages = Stages(tmp_path, IDENTITY, fresh=False)

    def stopped(stage: Path) -> dict:
        (stage / "half").write_text("kept")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.run("only", stopped)
    assert not (tmp_path / "stages" / "only").exists()
    resumed = Stages(tmp_path, IDENTITY, fresh=False)
    assert resumed.run("only", lambda stage: {"half": (stage / "half").read_text()}) == {"half": "kept"}


def test_another_build_is_refused_by_what_differs(tmp_path):
    build_once(tmp_path)
    before = files(tmp_path)
    with pytest.raises(InputError, match="another build \\(other seed\\)"):
        Stages(tmp_path, IDENTITY | {"seed": 2}, fresh=False)
    assert files(tmp_path) == before


def test_fresh_removes_the_earlier_build_and_nothing_else(tmp_path):
    build_once(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    Stages(tmp_path, IDENTITY | {"seed": 2}, fresh=True)
    assert files(tmp_path) == {"notes.txt", "stages/build.json"}
    assert json.loads((tmp_path / "stages" / "build.json").read_text()) == IDENTITY | {"seed": 2}


@pytest.mark.parametrize("stopped_in", ["unlink", "replace", "rmtree"])
@pytest.mark.parametrize("then_fresh", [True, False])
def test_a_stop_inside_fresh_leaves_a_folder_that_can_be_built_in(tmp_path, monkeypatch, stopped_in, then_fresh):
    build_once(tmp_path)

    def stop(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        where = {"unlink": Path, "replace": os, "rmtree": shutil}[stopped_in]
        patch.setattr(where, stopped_in, stop)
        with pytest.raises(KeyboardInterrupt):
            Stages(tmp_path, IDENTITY, fresh=True)
    stages = Stages(tmp_path, IDENTITY, fresh=then_fresh)
    assert stages.run("only", lambda stage: {"value": 3}) == {"value": 3}
    if then_fresh:
        assert files(tmp_path) == {"stages/build.json", "stages/only/result.json"}


def test_a_kill_while_claiming_leaves_a_folder_that_can_be_built_in(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / ".build.0123abcd.json").write_text("{")
    build_once(tmp_path)
    assert files(tmp_path) == {*ARTIFACTS, "stages/build.json", "stages/only/result.json"}


def test_temporary_files_of_a_killed_build_go_and_the_users_stay(tmp_path):
    Stages(tmp_path, IDENTITY, fresh=False)
    partial = tmp_path / "stages" / "only.partial"
    partial.mkdir()
    (partial / ".cut.0123abcd.keras").write_text("half")
    (tmp_path / ".model.0123abcd.tflite").write_text("half")
    mine = {".notes.0123abcd.txt", ".model.tflite", ".hidden"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    build_once(tmp_path)
    assert files(tmp_path) == {*mine, *ARTIFACTS, "stages/build.json", "stages/only/result.json"}


@pytest.mark.parametrize("name", ["build.json", "only/result.json"])
def test_a_damaged_record_names_the_way_out(tmp_path, name):
    build_once(tmp_path)
    (tmp_path / "stages" / name).write_text('{"half')
    with pytest.raises(InputError, match="--fresh"):
        Stages(tmp_path, IDENTITY, fresh=False).run("only", lambda stage: {})
    assert Stages(tmp_path, IDENTITY, fresh=True).run("only", lambda stage: {"value": 4}) == {"value": 4}


def test_what_fresh_would_delete(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    assert fresh_discards(out, tmp_path / "out" / "model.keras")
    assert fresh_discards(out, Path("out/stages/round-1/model.keras"))
    assert not fresh_discards(out, Path("out/mine.keras"))
    assert not fresh_discards(out, Path("model.keras"))


def test_a_second_build_in_the_folder_is_refused_until_the_first_ends(tmp_path):
    with (
        only_one_build(tmp_path / "out"),
        pytest.raises(InputError, match="another edgeprune build is running"),
        only_one_build(tmp_path / "out"),
    ):
        pytest.fail("two at once")
    with only_one_build(tmp_path / "out"):
        pass
