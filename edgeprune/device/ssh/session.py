"""One conversation with `agent.py` over one ssh command: files go there, progress and frames come back."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import shlex
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edgeprune.device.ssh.client import SshClient
from edgeprune.device.watched import MARK, Stalled

AGENT = Path(__file__).with_name("agent.py")
# The current folder is the user's home, and a file there must not pass for a module.
BOOT = "import sys; sys.path=[p for p in sys.path if p]; exec(sys.stdin.buffer.read(int(sys.argv[1])))"
# The agent gives up after SILENCE_SECS without a sign of life.
HEARTBEAT_SECS, SILENCE_SECS = 10.0, 60.0
# How long the agent may take to clean up
GRACE_SECS = 15.0
_CHUNK = 1 << 16


class Stopped(Exception):
    """`Session.stop` was called."""


@dataclass
class Heard:
    """What came from the board. frames: the last one of each kind. rounds: frames of that kind, in order.

    round_secs: when each of `rounds` was here; elapsed_secs: when the conversation ended. Both by this host's clock,
    since the conversation began.
    log: lines on stderr that are no progress. damaged: a frame did not arrive as it was sent.
    """

    step: str = "load 0"
    code: int | None = None
    frames: dict[str, bytes] = field(default_factory=dict)
    rounds: list[bytes] = field(default_factory=list)
    round_secs: list[float] = field(default_factory=list)
    elapsed_secs: float = 0.0
    log: list[str] = field(default_factory=list)
    damaged: bool = False

    def document(self, kind: str) -> dict[str, Any] | None:
        """A frame of JSON, None where it did not come."""
        return json.loads(self.frames[kind]) if kind in self.frames else None

    def left_behind(self) -> str | None:
        """What could not be removed there, or can't be known to be; None when all is clean."""
        left = self.document("left")
        if left is not None:
            return "; ".join(left["problems"]) or None
        if "folder" in self.frames:
            folder = self.frames["folder"].decode(errors="replace")
            return f"{folder} can't be seen any more; it removes itself, or the next run there does"
        return None


class Session:
    """Runs the agent once."""

    def __init__(self, client: SshClient, python: str) -> None:
        self._client = client
        self._python = python
        self._nonce = secrets.token_hex(16)
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._ending = threading.Event()
        self.finished = threading.Event()
        self.heard = Heard()
        self._began = 0.0

    def run(
        self,
        task: dict[str, Any],
        files: Sequence[tuple[str, bytes]] = (),
        *,
        patience_secs: float,
        on_progress: Callable[[str], None] | None = None,
    ) -> Heard:
        """Do a task of agent.py. On every way out the board has been told to clean up and was waited for.

        Raises:
            Stalled: nothing came or went for `patience_secs`.
            Stopped: by another thread.
        """
        program = AGENT.read_bytes()
        task = {
            **task,
            "nonce": self._nonce,
            "silence_secs": SILENCE_SECS,
            "files": [[name, len(content)] for name, content in files],
        }
        parts = [program, json.dumps(task).encode() + b"\n", *(content for _, content in files)]
        self._began = time.monotonic()
        child = self._client.start(f"exec {shlex.quote(self._python)} -c {shlex.quote(BOOT)} {len(program)}")
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        threads = [
            threading.Thread(target=self._write, args=(child.stdin, parts), daemon=True),
            threading.Thread(target=self._read_frames, args=(child.stdout,), daemon=True),
            threading.Thread(target=self._read_lines, args=(child.stderr,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self._follow(patience_secs, on_progress)
            self.heard.code = child.wait(timeout=GRACE_SECS)
            self.heard.elapsed_secs = time.monotonic() - self._began
        except (queue.Empty, subprocess.TimeoutExpired):
            raise Stalled(self.heard.step) from None
        finally:
            self._end(child, threads)
        return self.heard

    def stop(self) -> None:
        """End the run from another thread."""
        self._events.put(("stop", None))

    def _follow(self, patience_secs: float, on_progress: Callable[[str], None] | None) -> None:
        """Until both streams have ended."""
        streams = 2
        while streams:
            kind, content = self._events.get(timeout=patience_secs)
            if kind == "stop":
                raise Stopped
            if kind == "end":
                streams -= 1
            elif kind == "step":
                self.heard.step = content
                if on_progress is not None:
                    on_progress(content)

    def _end(self, child: subprocess.Popen[bytes], threads: list[threading.Thread]) -> None:
        """Close the board's standard input, which ends the agent; kill ssh only when nothing comes of it."""
        self._ending.set()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=GRACE_SECS)
        finally:
            # Also on a second Ctrl-C
            if child.poll() is None:
                child.kill()
                child.wait()
            for thread in threads:
                thread.join(timeout=5)
            self.finished.set()

    def _write(self, stream: IO[bytes], parts: list[bytes]) -> None:
        """Send everything, then signs of life until the end."""
        with contextlib.suppress(OSError):  # the connection is cut: the other threads see its end
            for part in parts:
                for start in range(0, len(part), _CHUNK):
                    if self._ending.is_set():
                        break
                    stream.write(part[start : start + _CHUNK])
                    stream.flush()
                    self._events.put(("sent", None))
            while not self._ending.wait(HEARTBEAT_SECS):
                stream.write(b".")
                stream.flush()
        with contextlib.suppress(OSError):
            stream.close()

    def _read_lines(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode(errors="replace").rstrip("\r\n")
            if text.startswith(MARK):
                self._events.put(("step", text[len(MARK) :]))
            else:
                self.heard.log.append(text)
        stream.close()
        self._events.put(("end", None))

    def _read_frames(self, stream: IO[bytes]) -> None:
        """Collect frames, up to the end or to the first that is damaged; a login shell may print before them."""
        try:
            self._frames_of(stream)
        except ValueError:  # no three words, or no numbers
            self.heard.damaged = True
        # Read on: a full pipe would stop the board's program.
        while stream.read(_CHUNK):
            pass
        stream.close()
        self._events.put(("end", None))

    def _frames_of(self, stream: IO[bytes]) -> None:
        mark, buffered = self._nonce.encode() + b" ", bytearray()
        while block := stream.read1(_CHUNK):  # type: ignore[attr-defined]  # of a buffered reader
            buffered += block
            while (start := buffered.find(mark)) >= 0 and (end := buffered.find(b"\n", start)) >= 0:
                kind, size, checksum = buffered[start + len(mark) : end].decode(errors="replace").split(" ")
                if len(buffered) < end + 1 + int(size):
                    break
                content = bytes(buffered[end + 1 : end + 1 + int(size)])
                del buffered[: end + 1 + int(size)]
                self._take(kind, content, int(checksum))

    def _take(self, kind: str, content: bytes, checksum: int) -> None:
        if zlib.crc32(content) != checksum:
            self.heard.damaged = True
        elif kind == "round":
            self.heard.rounds.append(content)
            self.heard.round_secs.append(time.monotonic() - self._began)
        else:
            self.heard.frames[kind] = content
