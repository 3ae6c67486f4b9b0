"""The device's clocks around one command: a wall clock that jumped makes every time it measured worthless.

benchmark_model reads the wall clock (tflite/profiling/time.cc: gettimeofday), which the network may set at any moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = "edgeprune-clock"
_TIME = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
# /proc/uptime counts hundredths; a wall clock without fraction is up to a second off.
_SLACK_SECS, _WHOLE_SECONDS_SLACK = 0.15, 1.15
# Clocks of two devices differ by much less; the host may also be slow to notice the end.
_RATE, _LATENCY_SECS = 1.01, 0.5


def clocked(command: str) -> str:
    """A shell script that runs `command` between two looks at the clocks and ends with its exit code.

    One look reads the steady clock before and after the wall clock: a busy phone takes its time between programs.
    """
    uptime = '"$(cat /proc/uptime 2>/dev/null)"'
    look = f"printf '\\n{_WORD} %s %s %s\\n' {uptime} \"$(date +%s.%N)\" {uptime}"
    return f"{look}\n{command}\ncode=$?\n{look}\n(exit $code)"


@dataclass(frozen=True)
class Clocks:
    """What passed on the device between two looks, in seconds.

    wall_secs: by the wall clock. steady_secs: (at least, at most) by the steady clock; None where it can't be read.
    slack_secs: how far off wall_secs may be.
    """

    wall_secs: float
    steady_secs: tuple[float, float] | None
    slack_secs: float

    def fault(self, elapsed_secs: float, measured_secs: float) -> str | None:
        """Why the times of this command are wrong, or None.

        elapsed_secs: how long this host waited. measured_secs: the sum of all times that the command reports.
        """
        # The host waits longer than the command takes, never shorter.
        least, most = self.steady_secs or (0.0, elapsed_secs)
        nearest = min(max(self.wall_secs, least), most)
        if abs(self.wall_secs - nearest) > self.slack_secs:
            return f"its clock jumped by {self.wall_secs - nearest:+.1f} s during the run"
        if least > elapsed_secs * _RATE + _LATENCY_SECS:
            return f"its clock says that {least:.1f} s passed in {elapsed_secs:.1f} s"
        if measured_secs > most * _RATE + self.slack_secs:
            return f"it reports {measured_secs:.1f} s of invokes in {most:.1f} s"
        return None


def read_clocks(output: str) -> tuple[str, Clocks | None]:
    """(the output without the lines of `clocked`, what passed; None where they are missing or say nothing)."""
    lines = output.split("\n")
    marks = [line.split()[1:] for line in lines if line.startswith(f"{_WORD} ")]
    rest = "\n".join(line for line in lines if not line.startswith(f"{_WORD} "))
    looks = [look for look in map(_look, marks) if look is not None]
    if len(marks) != 2 or len(looks) != 2:
        return rest, None
    (wall0, whole0, steady0), (wall1, whole1, steady1) = looks
    steady = None
    if steady0 is not None and steady1 is not None:
        steady = (steady1[0] - steady0[1], steady1[1] - steady0[0])
    return rest, Clocks(wall1 - wall0, steady, _WHOLE_SECONDS_SLACK if whole0 or whole1 else _SLACK_SECS)


def _look(fields: list[str]) -> tuple[float, bool, tuple[float, float] | None] | None:
    """(wall clock, whether in whole seconds, steady clock before and after) of one look; None for no wall clock.

    /proc/uptime has two numbers: since the boot, and idle. Where it can't be read, only the wall clock is there.
    """
    wall = _TIME.match(fields[len(fields) // 2]) if len(fields) in (1, 5) else None
    if wall is None:
        return None
    if len(fields) == 1:
        return float(wall[0]), wall[2] is None, None
    if not (_TIME.fullmatch(fields[0]) and _TIME.fullmatch(fields[3])):
        return None
    return float(wall[0]), wall[2] is None, (float(fields[0]), float(fields[3]))
