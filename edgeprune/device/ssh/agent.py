"""Runs on the board, sent there over ssh's standard input; needs Python 3.9 and imports nothing from edgeprune.

    python -c 'read LENGTH bytes from stdin and run them' LENGTH

After this program stdin carries one line of JSON, the task, then the bytes of the files it names, then a byte now and
then. Its end, or silence for `silence_secs`, means that the connection is cut: what runs is ended, everything is
removed. So nothing stays behind unless this program is killed itself; then the next run on the board removes it.

Task: {"nonce", "silence_secs", "files": [[name, bytes], ...]} and one of
    "request"    of runner.py, which must be among the files; its paths are relative to the folder
    "install"    {"name": of the folder, "packages": what pip is to install}
On stdout go frames: a line "NONCE KIND BYTES CRC32", then so many bytes. Kinds: "folder" (where the run lives),
"round" (a finished one, as runner.py prints it), "failure" ({"stage", "message"}), "ended" ({"code", "result"}),
"outputs" (the .npz), "installed" (the folder), "left" (last of all: {"problems": what could not be removed}).
Progress and everything else goes to stderr.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from typing import IO, Any

CHUNK = 1 << 16
PREFIX = "edgeprune-run-"
MARKER = "owner.json"
READY = "edgeprune-ready"
# A folder without a marker belongs to a run that is just beginning, or to one that was killed while it began.
UNMARKED_SECS = 3600.0
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class Cut(Exception):
    """The connection is gone, or the user has ended the run."""


class Failure(Exception):
    """Something to report: what it was for, and the system's words."""

    def __init__(self, stage: str, message: object) -> None:
        super().__init__(str(message))
        self.stage = stage


def main() -> int:
    """Do the task on stdin."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, hang_up)
    os.umask(0o077)
    folder = marker = None
    problems: list[str] = []
    task: dict[str, Any] = {"nonce": ""}
    try:
        line = sys.stdin.buffer.readline()
        if not line.endswith(b"\n"):
            raise Cut
        task = json.loads(line)
        if "install" in task:
            send(task, "installed", install(task).encode())
        else:
            problems.extend(remove_stale())
            folder, marker = new_folder()
            send(task, "folder", folder.encode(errors="surrogateescape"))
            run(task, folder)
    except Failure as failure:
        send(task, "failure", json.dumps({"stage": failure.stage, "message": str(failure)}).encode())
    except (Cut, BrokenPipeError):
        pass
    finally:
        # From here on nothing may stop the cleaning; ssh's own end sends a signal again.
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        if folder is not None:
            problems.extend(remove(folder))
        if marker is not None:
            marker.close()
    with contextlib.suppress(OSError):
        send(task, "left", json.dumps({"problems": problems}).encode())
    return 0


def hang_up(number: int, frame: Any) -> None:
    """Turn a signal into the end of the run."""
    raise Cut


def send(task: dict[str, Any], kind: str, content: bytes) -> None:
    """One frame on stdout."""
    head = f"{task['nonce']} {kind} {len(content)} {zlib.crc32(content)}\n".encode()
    sys.stdout.buffer.write(head + content)
    sys.stdout.buffer.flush()


# --- the folder of a run ---


def bases() -> list[str]:
    """Where folders of runs may be: in the user's cache, else in the system's temporary folder."""
    return [os.path.join(os.path.expanduser("~"), ".cache", "edgeprune"), tempfile.gettempdir()]


def new_folder() -> tuple[str, IO[str]]:
    """A fresh folder that only this user can read, and its marker, locked for as long as that file stays open.

    The kernel lets go of the lock when this program ends, however it does. A process number with its start time would
    not do: under qemu-user a process reads another start time for itself than others do.
    """
    said: list[str] = []
    for base in bases():
        try:
            os.makedirs(base, mode=0o700, exist_ok=True)
            folder = tempfile.mkdtemp(prefix=PREFIX, dir=base)
        except OSError as error:
            said.append(f"{base}: {error.strerror}")
            continue
        try:
            return folder, locked_marker(folder)
        except OSError as error:
            remove(folder)
            said.append(f"{base}: {error.strerror}")
    raise Failure("folder", "; ".join(said))


def locked_marker(folder: str) -> IO[str]:
    """The marker, with this program's number for whoever looks. It gets its name only when it is locked."""
    path = os.path.join(folder, MARKER)
    marker = open(path + ".part", "w", encoding="ascii")  # noqa: SIM115 - held until the end of this program
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        json.dump({"pid": os.getpid()}, marker)
        marker.flush()
        os.replace(path + ".part", path)
    except BaseException:
        # What could not be written would be tried again.
        with contextlib.suppress(OSError):
            marker.close()
        raise
    return marker


def is_stale(folder: str) -> bool:
    """Whether the run that made the folder is over: nobody holds its lock."""
    try:
        # An exclusive lock over NFS needs a file that is open for writing.
        with open(os.path.join(folder, MARKER), "r+", encoding="ascii") as marker:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.lstat(folder).st_mtime > UNMARKED_SECS


def remove_stale() -> list[str]:
    """Remove what killed runs of this user left; returns what could not be."""
    problems: list[str] = []
    for base in bases():
        names = os.listdir(base) if os.path.isdir(base) else []
        for name in names:
            folder = os.path.join(base, name)
            with contextlib.suppress(FileNotFoundError):  # another run may remove it at the same time
                state = os.lstat(folder)
                mine = name.startswith(PREFIX) and state.st_uid == os.getuid() and not os.path.islink(folder)
                if mine and os.path.isdir(folder) and is_stale(folder):
                    problems.extend(remove(folder))
    return problems


def remove(folder: str) -> list[str]:
    """Remove a folder; returns what could not be removed, and why."""
    problems: list[str] = []

    def note(function: Any, path: str, info: Any) -> None:
        if not isinstance(info[1], FileNotFoundError):
            problems.append(f"{path}: {info[1]}")

    shutil.rmtree(folder, onerror=note)
    return problems[:3]


# --- the run ---


def run(task: dict[str, Any], folder: str) -> None:
    """Take the files, run runner.py, send what it made."""
    for name, size in task["files"]:
        receive(os.path.join(folder, name), size, int(task["silence_secs"]))
    request = {**task["request"], "result": os.path.join(folder, "result.json")}
    with storing(folder, 0), open(os.path.join(folder, "request.json"), "w", encoding="utf-8") as handle:
        json.dump(request, handle)
    code = attend(task, [sys.executable, "runner.py", "request.json"], folder)
    try:
        with open(request["result"], encoding="utf-8") as handle:
            result = json.load(handle)
    except (OSError, ValueError):
        result = None
    send(task, "ended", json.dumps({"code": code, "result": result}).encode())
    if result and result["ok"] and request.get("outputs"):
        with open(os.path.join(folder, request["outputs"]), "rb") as outputs:
            send(task, "outputs", outputs.read())


def receive(path: str, size: int, silence_secs: int) -> None:
    """Write the next `size` bytes of stdin to a file; a connection that falls silent meanwhile is cut."""
    with storing(path, size), open(path, "wb") as handle:
        missing = size
        while missing:
            signal.alarm(silence_secs)
            block = sys.stdin.buffer.read(min(missing, CHUNK))
            signal.alarm(0)
            if not block:
                raise Cut
            handle.write(block)
            missing -= len(block)


@contextlib.contextmanager
def storing(path: str, size: int) -> Any:
    """Say what was to be stored where the disk is full."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(
            "disk", f"{os.path.basename(path)}, {size} bytes in {os.path.dirname(path)}: {error.strerror}"
        ) from error


def attend(task: dict[str, Any], command: list[str], folder: str, last: list[str] | None = None) -> int:
    """Run a command until it ends or the connection does; returns its exit code, below zero for a signal.

    Whole lines of JSON on its stdout become frames; with `last`, all lines of both outputs are collected there instead.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if last is None else subprocess.STDOUT,
        preexec_fn=die_with_parent,
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        said, output, buffered, heard = 0, child.stdout.fileno(), b"", time.monotonic()
        while True:
            ready, _, _ = select.select([output, said], [], [], 1.0)
            if said in ready:
                if not os.read(said, CHUNK):
                    raise Cut
                heard = time.monotonic()
            elif time.monotonic() - heard > task["silence_secs"]:
                raise Cut
            if output in ready:
                block = os.read(output, CHUNK)
                if not block:
                    return child.wait()
                *lines, buffered = (buffered + block).split(b"\n")
                for line in lines:
                    take(task, line, last)
    finally:
        # With all that it started itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()


def take(task: dict[str, Any], line: bytes, last: list[str] | None) -> None:
    """One line of a command's stdout."""
    if last is not None:
        last.append(line.decode(errors="replace").strip())
        return
    with contextlib.suppress(ValueError):  # the runtime may print there too
        if "round" in json.loads(line):
            send(task, "round", line)


def die_with_parent() -> None:
    """Where the kernel can do that: what runs here must not outlive this program, even if that is killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# --- installing ---


def install(task: dict[str, Any]) -> str:
    """A virtual environment in the user's cache, by the board's own pip; returns its folder. One at a time."""
    base = bases()[0]
    folder = os.path.join(base, task["install"]["name"])
    try:
        os.makedirs(base, mode=0o700, exist_ok=True)
        lock = open(folder + ".lock", "w")  # noqa: SIM115 - held until the end of this program
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure("install", f"another run is installing into {folder}; wait for it") from None
    except OSError as error:
        raise Failure("install", f"{base}: {error.strerror}") from error
    try:
        if os.path.exists(os.path.join(folder, READY)):
            return folder
        remove(folder)
        try:
            python = os.path.join(folder, "bin", "python")
            pip = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
            step(task, "creating a virtual environment", [sys.executable, "-m", "venv", folder], base)
            step(task, "pip", [*pip, *task["install"]["packages"]], base)
            with storing(folder, 0), open(os.path.join(folder, READY), "w", encoding="ascii") as handle:
                handle.write("\n")
        except BaseException:
            remove(folder)
            raise
    finally:
        with contextlib.suppress(OSError):
            os.remove(folder + ".lock")
    return folder


def step(task: dict[str, Any], what: str, command: list[str], folder: str) -> None:
    """One command of an installation."""
    print(f"@edgeprune install {what}", file=sys.stderr, flush=True)
    lines: list[str] = []
    code = attend(task, command, folder, lines)
    if code != 0:
        words = [line for line in lines if line]
        errors = [line for line in words if line.lower().startswith(("error", "fatal"))]
        raise Failure("install", f"{what} failed: {(errors or words or [f'exit code {code}'])[-1]}")


if __name__ == "__main__":
    sys.exit(main())
