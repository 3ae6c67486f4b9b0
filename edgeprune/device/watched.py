"""Watching a child process that tells on stderr what it begins."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK = "@edgeprune "


class Stalled(Exception):
    """The child showed no progress for too long and was ended; `step` is what it had begun."""

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


@dataclass(frozen=True)
class Ended:
    """How a child ended: the last progress line, its exit code, and its other lines on stderr."""

    step: str
    code: int
    log: list[str]


def watch(
    arguments: list[str],
    *,
    patience_secs: float,
    on_progress: Callable[[str], None] | None = None,
    on_start: Callable[[subprocess.Popen[str]], None] | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Run a child to its end. It never outlives the call. on_start is given the child, to end it from elsewhere.

    Raises:
        Stalled: no line came for `patience_secs`.
    """
    child = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=cwd,
        env=env,
    )
    assert child.stderr is not None
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_pump, args=(child.stderr, lines), daemon=True)
    reader.start()
    step: str = "load 0"
    log: list[str] = []
    try:
        if on_start is not None:
            on_start(child)
        while (line := lines.get(timeout=patience_secs)) is not None:
            if line.startswith(MARK):
                step = line[len(MARK) :]
                if on_progress is not None:
                    on_progress(step)
            else:
                log.append(line)
        return Ended(step, child.wait(timeout=patience_secs), log)
    except (queue.Empty, subprocess.TimeoutExpired):
        raise Stalled(step) from None
    finally:
        # Also on Ctrl-C and on errors of the caller's own progress function.
        if child.poll() is None:
            child.kill()
            child.wait()
        reader.join(timeout=5)
        child.stderr.close()


def _pump(stream: Any, lines: queue.Queue[str | None]) -> None:
    """Move lines from the child's stderr into the queue; None marks the end."""
    for line in stream:
        lines.put(line.rstrip("\n"))
    lines.put(None)
