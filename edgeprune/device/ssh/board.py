"""What a board has: a Python, numpy and a TFLite runtime, looked at before anything is pushed; and how to get them."""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprune.boards.wheels import RUNTIMES
from edgeprune.device.ssh.address import SshAddress
from edgeprune.device.ssh.client import SshClient
from edgeprune.device.ssh.faults import last_words, login_error, quoted
from edgeprune.device.ssh.session import BOOT, Session
from edgeprune.device.watched import Stalled
from edgeprune.errors import DeviceError
from edgeprune.target import Runtime, load_target

PROBE = Path(__file__).with_name("probe.py")
MIN_PYTHON = (3, 9)
PROBE_SECS = 300.0  # three imports on a slow card
INSTALL_SECS = 900.0  # pip is silent while it unpacks

# $1: the Python to use, or "" to look for one; $2: length of the program on stdin; $3: nonce; then patterns of our own
# virtual environments. One line without single quotes: it passes through whatever the user's login shell is.
_FIND = (
    "want=$1; length=$2; nonce=$3; shift 3; "
    'if [ -n "$want" ]; then set -- "$want"; else for name in "$@" last; do '
    'if [ "$name" = last ]; then set -- python3 python; break; fi; '
    'for folder in "$HOME"/.cache/edgeprune/$name; do '
    'if [ -e "$folder/edgeprune-ready" ] && [ -x "$folder/bin/python" ]; then '
    'set -- "$folder/bin/python"; break 2; fi; done; done; fi; '
    'for python in "$@"; do if command -v "$python" >/dev/null 2>&1; then '
    f'exec "$python" -c "{BOOT}" "$length" "$nonce"; fi; done; '
    'echo; echo "$nonce null"'
)


@dataclass(frozen=True)
class Found:
    """A Python there. runtime: package and version that work, else None; problem: why no model can run, else None."""

    python: str
    runtime: Runtime | None
    problem: str | None


def default_runtime() -> Runtime:
    """What is installed where the user names no other: the one of the Raspberry Pi 4."""
    return load_target("rpi4").runtime


def venv_name(runtime: Runtime) -> str:
    """The folder of a virtual environment in the board's ~/.cache/edgeprune."""
    return f"venv-{runtime.package}-{runtime.version}"


def find_python(client: SshClient, address: SshAddress, python: str | None, installing: str) -> Found:
    """Look for a Python that can run models, in one command.

    Args:
        python: the only one to look at; None for a virtual environment of ours, else the board's own.
        installing: the command that installs a runtime there, for the message where none works.

    Raises:
        DeviceError: there is none that is new enough, or the connection failed.
    """
    patterns = [venv_name(address.runtime)] if address.runtime else [venv_name(default_runtime()), "venv-*"]
    nonce, program = secrets.token_hex(16), PROBE.read_bytes()
    arguments = [python or "", str(len(program)), nonce, *patterns]
    child = client.start(" ".join(["exec sh -c", shlex.quote(_FIND), "sh", *map(shlex.quote, arguments)]))
    try:
        said, errors = child.communicate(program, timeout=PROBE_SECS)
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"{address.login} does not answer: looking for its Python takes longer than {PROBE_SECS:.0f} s; try it by "
            f"hand: {address.by_hand}"
        ) from None
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    words = errors.decode(errors="replace")
    answers = [line for line in said.decode(errors="replace").splitlines() if line.startswith(nonce)]
    if not answers:
        if child.returncode == 255:
            raise login_error(address, words + client.words())
        if said.strip() and not words.strip():
            greeting = quoted(said.decode(errors="replace"))
            raise DeviceError(
                f'the login shell of {address.login} runs no commands, it answers "{greeting}" (exit code '
                f"{child.returncode}); give the user a shell there, or try it by hand: {address.by_hand}"
            )
        raise DeviceError(
            f'Python on {address.login} does not start: "{quoted(words)}" (exit code {child.returncode}); name another '
            "one: ?python=/path/to/python3"
        )
    answer = json.loads(answers[-1].removeprefix(nonce))
    if answer is None:
        missing = f"no Python at {python}" if python else "no python3"
        raise DeviceError(
            f"there is {missing} on {address.login}; install it (sudo apt-get install python3 python3-venv) or name "
            "another one: ?python=/path/to/python3"
        )
    version = tuple(answer["version"])
    if version < MIN_PYTHON:
        raise DeviceError(
            f"{answer['executable']} on {address.login} is Python {'.'.join(map(str, version))}; edgeprune needs "
            f"{'.'.join(map(str, MIN_PYTHON))} or newer: ?python=/path/to/python3"
        )
    return _judged(answer, address, installing)


def install_runtime(client: SshClient, address: SshAddress, python: str) -> str:
    """Make a virtual environment in the board's ~/.cache/edgeprune with its own pip; returns the Python in it.

    Raises:
        DeviceError: no pip or venv there, or pip failed: its last line is quoted.
    """
    runtime = address.runtime or default_runtime()
    extra = RUNTIMES.get(runtime.package) or ("numpy",)
    packages = [f"{runtime.package}=={runtime.version}", *extra]
    task = {"install": {"name": venv_name(runtime), "packages": packages}}
    session = Session(client, python)
    try:
        heard = session.run(task, patience_secs=INSTALL_SECS)
    except Stalled:
        raise DeviceError(
            f"installing {packages[0]} on {address.login} takes longer than {INSTALL_SECS:.0f} s; try it again"
        ) from None
    failure = heard.document("failure")
    if failure is not None:
        raise DeviceError(f"{packages[0]} can't be installed on {address.login}: {quoted(failure['message'])}")
    if "installed" not in heard.frames:
        words = last_words(client.words(), heard.log)
        raise DeviceError(f'installing on {address.login} broke off: "{words}"; run the command again')
    return heard.frames["installed"].decode(errors="surrogateescape") + "/bin/python"


def _judged(answer: dict[str, Any], address: SshAddress, installing: str) -> Found:
    """What the board's answer means."""
    modules, python = answer["modules"], str(answer["executable"])
    looked_at = [name for name in RUNTIMES if name in modules]
    works = [name for name in looked_at if modules[name]["state"] == "works"]
    broken = [name for name in looked_at if modules[name]["state"] == "broken"]
    runtime = Runtime(works[0], modules[works[0]]["version"]) if works else None
    problem = None
    numpy = modules["numpy"]
    if numpy["state"] != "works":
        why = "is missing" if numpy["state"] == "missing" else f'is broken ("{quoted(numpy["words"])}")'
        problem = f"numpy {why} for {python} on {address.login}; {installing}"
    elif broken:
        module = modules[broken[0]]
        problem = (
            f"{broken[0]} {module['version']} is broken on {address.login} with numpy {numpy['version']}: "
            f'"{quoted(module["words"])}"; {installing}'
        )
    elif runtime is None:
        problem = f"{' and '.join(RUNTIMES)} are missing for {python} on {address.login}; {installing}"
    elif address.runtime not in (None, runtime):
        assert address.runtime is not None
        problem = (
            f"{address.login} has {runtime.package} {runtime.version}, asked for is "
            f"{address.runtime.package}=={address.runtime.version}; {installing}"
        )
    return Found(python, runtime, problem)
