"""Running the host's own programs: no shell, a time limit, and one line when one fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeprune.errors import DeviceError


def run_command(
    arguments: Sequence[str],
    doing: str,
    *,
    timeout_secs: float,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end; returns its standard output.

    Args:
        doing: what it is for, as in "downloading Debian packages failed".
        variables: added to the environment.

    Raises:
        DeviceError: it can't be started, fails, or runs longer than `timeout_secs`; quotes its last line.
    """
    try:
        done = subprocess.run(
            list(arguments),
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_secs,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{doing} took longer than {timeout_secs:.0f} s; check the network and try again") from None
    except OSError as error:
        raise DeviceError(f"{doing} failed: {arguments[0]} can't be started ({error.strerror})") from error
    if done.returncode != 0:
        raise DeviceError(f'{doing} failed: {arguments[0]} said "{_reason(done.stderr, done.stdout)}"')
    return done.stdout


def _reason(errors: str, output: str) -> str:
    """The line that most likely says why: the last that calls itself an error, else the last one."""
    lines = [line.strip() for line in (errors or output).splitlines() if line.strip()]
    named = [line for line in lines if line.lower().startswith(("e:", "error", "fatal"))]
    return (named or lines or ["nothing"])[-1]
