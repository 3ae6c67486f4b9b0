"""Run every test tier that this machine can run, then print one line per tier: what ran, what was skipped and why.

Exits 1 when a test failed or a tier that must have tests has none. Arguments go to pytest (`tools/run_tests.py -x`);
`--tiers unit,keras` runs only those.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIER_TIMEOUT_SECS = 1800
DEBIAN_KEYS = Path("/usr/share/keyrings")
NO_TESTS_COLLECTED = 5  # pytest's exit code


def find_program(*names: str) -> str | None:
    """The path of the first of `names` that is installed; sbin is looked into too, where Debian keeps sshd."""
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return next(filter(None, (shutil.which(name, path=folders) for name in names)), None)


def lacks_module(*names: str) -> str | None:
    """Why the tier can't run when one of the Python modules `names` is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed; make venv" if missing else None


def lacks_chromium() -> str | None:
    """Why the browser tier can't run. Starts the browser: Ubuntu has a shim by that name that only works with snaps."""
    program = find_program("chromium", "chromium-browser", "google-chrome")
    if program is None:
        return "chromium not found; sudo apt-get install chromium"
    try:
        works = subprocess.run([program, "--version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        works = False
    return None if works else f"{program} does not start; on Ubuntu: sudo snap install chromium"


def lacks_emulator() -> str | None:
    """Why the emulator tier can't run. Asks qemu for its options: some distributions build it without plugins."""
    packages = {"qemu-aarch64": "qemu-user", "cc": "gcc", "apt-get": "apt", "dpkg-deb": "dpkg"}
    missing = [program for program in packages if find_program(program) is None]
    if missing:
        wanted = " ".join(packages[program] for program in missing)
        return f"{', '.join(missing)} not found; sudo apt-get install {wanted}"
    if not any(DEBIAN_KEYS.glob("debian-archive-keyring.*")):
        return "Debian's package keys not found; sudo apt-get install debian-archive-keyring"
    program = find_program("qemu-aarch64")
    try:
        said = subprocess.run([str(program), "--help"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    return None if "-plugin" in said else f"{program} is built without plugins; Debian 12's qemu-user has them"


def lacks_device_programs() -> str | None:
    """Why the device tier can't run."""
    packages = {"adb": "adb", "sshd": "openssh-server", "ssh": "openssh-client"}
    missing = [program for program in packages if find_program(program) is None]
    if not missing:
        return None
    wanted = " ".join(packages[program] for program in missing)
    return f"{', '.join(missing)} not found; sudo apt-get install {wanted}"


@dataclass(frozen=True)
class Tier:
    """One pytest marker. `lacks` gives the reason why this machine can't run it, or None when it can."""

    marker: str
    lacks: Callable[[], str | None]
    may_be_empty: bool = False


def zoo_is_left_out() -> str:
    """Why the zoo tier never runs from here: it takes far longer than all the rest."""
    return "run make test-zoo"


# In the order in which they run: the quick ones first.
TIERS = (
    Tier("unit", lambda: lacks_module("pytest", "hypothesis")),
    Tier("packaging", lambda: lacks_module("setuptools", "wheel")),
    Tier("browser", lacks_chromium),
    Tier("keras", lambda: lacks_module("tensorflow", "keras")),
    Tier("zoo", zoo_is_left_out),
    Tier("emulator", lacks_emulator),
    Tier("device", lacks_device_programs),
)


@dataclass(frozen=True)
class Outcome:
    """What became of one tier. Counts are tests."""

    marker: str
    line: str
    failed: bool
    passed_count: int = 0
    failed_count: int = 0


def counts(junit: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) tests in a JUnit file that pytest wrote; zeros when pytest died before writing it."""
    if not junit.is_file() or junit.stat().st_size == 0:
        return 0, 0, 0
    suites = list(ET.parse(junit).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    return max(0, total - failures - errors - skipped), failures + errors, skipped


def run_tier(tier: Tier, pytest_arguments: list[str]) -> Outcome:
    """Run one tier in its own pytest process, its output going straight through."""
    reason = tier.lacks()
    if reason is not None:
        return Outcome(tier.marker, f"skipped, {reason}", failed=False)
    print(f"\n=== {tier.marker} ===", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder, "junit.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-m", tier.marker, f"--junitxml={junit}", *pytest_arguments]
        try:
            code = subprocess.run(command, cwd=ROOT, timeout=TIER_TIMEOUT_SECS).returncode
        except subprocess.TimeoutExpired:
            return Outcome(tier.marker, f"FAILED, not done after {TIER_TIMEOUT_SECS} s", failed=True, failed_count=1)
        passed, failed, skipped = counts(junit)
    took = f"in {time.monotonic() - started:.0f} s"
    if code == NO_TESTS_COLLECTED:
        verdict = "skipped, it has no tests yet" if tier.may_be_empty else "FAILED, no test was collected"
        return Outcome(tier.marker, verdict, failed=not tier.may_be_empty)
    if code != 0 or passed + failed + skipped == 0:
        # A crash of the test process leaves no count, and must not look like nothing failed.
        failed = max(failed, 1)
        line = f"FAILED, {failed} failed, {passed} passed {took} (pytest exit code {code})"
        return Outcome(tier.marker, line, failed=True, passed_count=passed, failed_count=failed)
    extra = f", {skipped} skipped" if skipped else ""
    return Outcome(tier.marker, f"ran, {passed} passed{extra} {took}", failed=False, passed_count=passed)


def chosen_tiers(text: str | None) -> tuple[Tier, ...]:
    """The tiers named in "unit,keras", in their usual order; all of them for None."""
    if text is None:
        return TIERS
    wanted = set(text.split(","))
    unknown = wanted - {tier.marker for tier in TIERS}
    if unknown:
        allowed = ", ".join(tier.marker for tier in TIERS)
        sys.exit(f"run_tests: unknown tier {', '.join(sorted(unknown))}; allowed: {allowed}")
    return tuple(tier for tier in TIERS if tier.marker in wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiers", help="comma-separated tiers to run instead of all")
    arguments, pytest_arguments = parser.parse_known_args()

    outcomes = [run_tier(tier, pytest_arguments) for tier in chosen_tiers(arguments.tiers)]
    print("\nTest tiers")
    for outcome in outcomes:
        print(f"  {outcome.marker}: {outcome.line}")
    passed = sum(outcome.passed_count for outcome in outcomes)
    failed = sum(outcome.failed_count for outcome in outcomes)
    print(f"total: {passed} passed, {failed} failed")
    sys.exit(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    main()
