"""Times that a board reports, held against this host's clock: what took longer than we waited for it is not true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeprune.errors import DeviceError

# Clocks of two machines differ by much less than this rate; they are read at the ends of a connection.
_RATE, _SLACK_SECS = 1.01, 0.5


def check_times(sums_ms: Sequence[float], waited_secs: Iterable[float], where: str) -> None:
    """Check rounds, in order. sums_ms: the sum of all samples of each. waited_secs: when each was here, since the
    conversation began.

    The rounds are added up: only the beginning of all is known for certain. A network that holds one round back
    delivers two at once.

    Raises:
        DeviceError: the rounds up to one of them can't have been measured by then.
    """
    measured_secs = 0.0
    for sum_ms, secs in zip(sums_ms, waited_secs, strict=True):
        measured_secs += sum_ms / 1000
        # Also no number at all is refused.
        if not measured_secs <= secs * _RATE + _SLACK_SECS:
            raise DeviceError(
                f"the times of {where} can't be true: it reports {measured_secs:.1f} s of invokes in {secs:.1f} s; "
                "see whether its clock runs right and run the command again"
            )
