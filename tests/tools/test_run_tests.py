"""tools/run_tests.py: the table of tiers is complete, and no failure gets lost on the way to the exit code."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / "tools" / "run_tests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_tests"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


run_tests = load_script()

PASSING = "import pytest\n\n@pytest.mark.unit\ndef test_one():\n    assert True\n"
FAILING = "import pytest\n\n@pytest.mark.unit\ndef test_two():\n    assert False\n"
DYING = "import os, pytest\n\n@pytest.mark.unit\ndef test_three():\n    os._exit(0)\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own that run_tests runs in."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = unit\n")
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    return tmp_path


def unit_tier(**changes: object):
    return run_tests.Tier("unit", lambda: None, **changes)


def test_every_marker_of_the_project_is_a_tier(pytestconfig: pytest.Config) -> None:
    tiers = {tier.marker for tier in run_tests.TIERS}
    declared = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert len(tiers) == len(run_tests.TIERS)
    assert tiers <= declared
    assert {"unit", "keras", "zoo", "browser", "packaging", "emulator", "device"} == tiers


def test_the_zoo_is_named_with_its_own_command_and_not_run(project: Path) -> None:
    (project / "test_zoo.py").write_text(FAILING.replace("unit", "zoo"))
    (zoo,) = run_tests.chosen_tiers("zoo")
    outcome = run_tests.run_tier(zoo, [])
    assert (outcome.failed, outcome.line) == (False, "skipped, run make test-zoo")


def test_passed_tests_are_counted(project: Path) -> None:
    (project / "test_a.py").write_text(PASSING)
    outcome = run_tests.run_tier(unit_tier(), [])
    assert (outcome.failed, outcome.passed_count, outcome.failed_count) == (False, 1, 0)
    assert outcome.line.startswith("ran, 1 passed in ")


def test_a_failed_test_fails_the_tier(project: Path) -> None:
    (project / "test_a.py").write_text(PASSING)
    (project / "test_b.py").write_text(FAILING)
    outcome = run_tests.run_tier(unit_tier(), [])
    assert (outcome.failed, outcome.passed_count, outcome.failed_count) == (True, 1, 1)
    assert outcome.line.startswith("FAILED, 1 failed, 1 passed in ")


def test_a_file_that_can_not_be_imported_fails_the_tier(project: Path) -> None:
    (project / "test_a.py").write_text(PASSING)
    (project / "test_c.py").write_text("import nowhere_to_be_found\n")
    assert run_tests.run_tier(unit_tier(), []).failed


def test_a_test_process_that_dies_fails_the_tier_even_with_exit_code_0(project: Path) -> None:
    (project / "test_d.py").write_text(DYING)
    outcome = run_tests.run_tier(unit_tier(), [])
    assert outcome.failed
    assert outcome.failed_count >= 1


def test_a_tier_without_tests_fails_unless_it_may_be_empty(project: Path) -> None:
    (project / "test_e.py").write_text("")
    assert run_tests.run_tier(unit_tier(), []).failed
    outcome = run_tests.run_tier(unit_tier(may_be_empty=True), [])
    assert (outcome.failed, outcome.line) == (False, "skipped, it has no tests yet")


def test_a_tier_that_the_machine_lacks_something_for_is_skipped_and_says_why(project: Path) -> None:
    (project / "test_b.py").write_text(FAILING)
    outcome = run_tests.run_tier(run_tests.Tier("unit", lambda: "chromium not found"), [])
    assert (outcome.failed, outcome.line) == (False, "skipped, chromium not found")


def test_a_tier_that_never_ends_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "test_f.py").write_text(PASSING.replace("assert True", "__import__('time').sleep(60)"))
    monkeypatch.setattr(run_tests, "TIER_TIMEOUT_SECS", 1)
    outcome = run_tests.run_tier(unit_tier(), [])
    assert (outcome.failed, outcome.line) == (True, "FAILED, not done after 1 s")


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_tests, "find_program", lambda *names: None)
    assert run_tests.lacks_chromium() == "chromium not found; sudo apt-get install chromium"
    assert run_tests.lacks_emulator() == (
        "qemu-aarch64, cc, apt-get, dpkg-deb not found; sudo apt-get install qemu-user gcc apt dpkg"
    )
    assert run_tests.lacks_device_programs() == (
        "adb, sshd, ssh not found; sudo apt-get install adb openssh-server openssh-client"
    )


def test_an_emulator_without_plugins_is_not_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu = tmp_path / "qemu-aarch64"
    monkeypatch.setattr(run_tests, "find_program", lambda *names: str(qemu))
    monkeypatch.setattr(run_tests, "DEBIAN_KEYS", tmp_path)
    assert run_tests.lacks_emulator() == "Debian's package keys not found; sudo apt-get install debian-archive-keyring"
    (tmp_path / "debian-archive-keyring.gpg").touch()
    for options, works in (("-cpu model", False), ("-plugin file", True)):
        qemu.write_text(f"#!/bin/sh\necho '{options}'\n")
        qemu.chmod(0o755)
        expected = None if works else f"{qemu} is built without plugins; Debian 12's qemu-user has them"
        assert run_tests.lacks_emulator() == expected


def test_a_browser_that_does_not_start_is_not_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "chromium"
    shim.write_text("#!/bin/sh\necho 'please install the snap' >&2\nexit 1\n")
    shim.chmod(0o755)
    monkeypatch.setattr(run_tests, "find_program", lambda *names: str(shim))
    assert run_tests.lacks_chromium() == f"{shim} does not start; on Ubuntu: sudo snap install chromium"


def test_the_exit_code_tells_of_a_failed_tier(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "test_b.py").write_text(FAILING)
    monkeypatch.setattr(run_tests, "TIERS", (unit_tier(),))
    monkeypatch.setattr(sys, "argv", ["run_tests.py"])
    with pytest.raises(SystemExit) as done:
        run_tests.main()
    assert done.value.code == 1
    assert capfd.readouterr().out.splitlines()[-1] == "total: 0 passed, 1 failed"
