"""The device's clocks around one command: a wall clock that jumped makes every time it measured worthless.

benchmark_model reads the wall clock (tflite/profiling/time.cc: gettimeofday), which the network may set at any moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = "edgeprune-clock"
_TIME = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
# Two programs read the clocks one after the other; on a busy phone that takes a moment. A time without fraction is
# up to a second off at each end.
_SLACK_SECS, _WHOLE_SECONDS_SLACK = 0.5, 1.5


def clocked(command: str) -> str:
    """A shell script that runs `command` between two looks at the clocks and ends with its exit code."""
    look = f'printf \'\\n{_WORD} %s %s\\n\' "$(cat /proc/uptime)" "$(date +%s.%N)"'
    return f"{look}\n{command}\ncode=$?\n{look}\n(exit $code)"


@dataclass(frozen=True)
class Clocks:
    """What passed on the device, in seconds. uptime: None where it can't be read. slack: how far off wall may be."""

    wall_secs: float
    uptime_secs: float | None
    slack_secs: float

    def fault(self, elapsed_secs: float, measured_secs: float) -> str | None:
        """Why the times of this command are wrong, or None.

        elapsed_secs: how long this host waited. measured_secs: the sum of all times that the command reports.
        """
        steady = elapsed_secs if self.uptime_secs is None else self.uptime_secs
        # The host waits longer than the command takes, never shorter.
        behind = self.wall_secs < steady - self.slack_secs if self.uptime_secs is not None else self.wall_secs < 0
        if behind or self.wall_secs > steady + self.slack_secs:
            return f"its clock jumped by {self.wall_secs - steady:+.1f} s during the run"
        if steady > elapsed_secs * 1.02 + _SLACK_SECS:
            return f"its clock says that {steady:.1f} s passed in {elapsed_secs:.1f} s"
        if measured_secs > steady * 1.02 + _SLACK_SECS:
            return f"it reports {measured_secs:.1f} s of invokes in {steady:.1f} s"
        return None


def read_clocks(output: str) -> tuple[str, Clocks | None]:
    """(the output without the lines of `clocked`, what passed; None where they are missing or say nothing)."""
    lines = output.split("\n")
    marks = [line for line in lines if line.startswith(f"{_WORD} ")]
    rest = "\n".join(line for line in lines if not line.startswith(f"{_WORD} "))
    if len(marks) != 2:
        return rest, None
    before, after = (mark.split()[1:] for mark in marks)
    walls = [_TIME.match(look[-1]) if look else None for look in (before, after)]
    if walls[0] is None or walls[1] is None:
        return rest, None
    whole = walls[0][2] is None or walls[1][2] is None
    # /proc/uptime has two numbers: since the boot, and idle.
    uptimes = [float(look[0]) if len(look) == 3 and _TIME.fullmatch(look[0]) else None for look in (before, after)]
    uptime = None if uptimes[0] is None or uptimes[1] is None else uptimes[1] - uptimes[0]
    wall = float(walls[1][0]) - float(walls[0][0])
    return rest, Clocks(wall, uptime, _WHOLE_SECONDS_SLACK if whole else _SLACK_SECS)
