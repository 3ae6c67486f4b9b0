"""Numbers as people read them: three significant digits, SI units, 1000-byte kB. ASCII only."""

from __future__ import annotations

import math
from decimal import Decimal

from edgeprune.progress import shown
from edgeprune.records.report import Latency, Metric

UNKNOWN = "n/a"

_COUNT_UNITS = ("", "k", "M", "G", "T")
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")
# Parts of metric names whose values are shares of one and are spoken of in per cent.
_SHARE_NAMES = ("acc", "precision", "recall", "auc", "iou", "f1", "dice")


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, never in exponent form; whole numbers above that stay whole.

    >>> significant(4.3149), significant(1234.4), significant(0.00123)
    ('4.31', '1234', '0.00123')
    """
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    if abs(value) >= 10**digits:
        return str(round(value))
    return format(Decimal(f"{value:#.{digits}g}"), "f")


def _scaled(value: float, units: tuple[str, ...]) -> str:
    """`value` in the largest unit that keeps the rounded number below 1000 (999 999 is 1.00 M, not 1000 k)."""
    for index, unit in enumerate(units):
        scaled = value / 1000**index
        if index == 0 and abs(value) < 1000:
            whole = float(value).is_integer()
            return f"{int(value) if whole else significant(value)} {unit}".rstrip()
        if index and (abs(scaled) < 999.5 or unit == units[-1]):
            return f"{significant(scaled)} {unit}"
    raise AssertionError("the last unit always answers")


def size_text(size_bytes: float) -> str:
    """Bytes in decimal units: 1234567 -> '1.23 MB'."""
    return _scaled(size_bytes, _BYTE_UNITS)


def count_text(count: float) -> str:
    """A count of MACs or parameters: 12345678 -> '12.3 M'."""
    return _scaled(count, _COUNT_UNITS)


def latency_text(milliseconds: float) -> str:
    """Milliseconds, or seconds from one second on: 4.3149 -> '4.31 ms'."""
    if math.isfinite(milliseconds) and milliseconds >= 999.5:
        return f"{significant(milliseconds / 1000)} s"
    return f"{significant(milliseconds)} ms"


def ratio_text(after: float, before: float) -> str:
    """after / before: '0.31x', or 'n/a' where before is zero."""
    if before == 0 or not math.isfinite(after / before):
        return UNKNOWN
    ratio = after / before
    return f"{ratio:.2f}x" if ratio >= 0.1 or ratio == 0 else f"{significant(ratio, 2)}x"


def percent_text(share: float, decimals: int = 1) -> str:
    """A share of one in per cent: 0.9781 -> '97.8 %'."""
    return f"{share * 100:.{decimals}f} %" if math.isfinite(share) else UNKNOWN


def exact_text(value: float) -> str:
    """Every digit, thousands grouped: 1234567 -> '1,234,567'."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return repr(float(value)) if math.isfinite(value) else UNKNOWN


def is_share(name: str, *values: float) -> bool:
    """Whether a metric is spoken of in per cent: accuracy-like by name, and all values within 0..1."""
    return any(part in name.lower() for part in _SHARE_NAMES) and all(0 <= value <= 1 for value in values)


def metric_text(metric: Metric) -> str:
    """A metric's value: per cent for accuracy-like metrics, else four significant digits."""
    return metric_value_text(metric.name, metric.value)


def metric_value_text(name: str, value: float) -> str:
    """Like `metric_text`, for a value that is not in a record (a limit, a round)."""
    return percent_text(value) if is_share(name, value) else significant(value, 4)


def change_text(before: Metric, after: Metric) -> str:
    """The signed change of a metric: '-0.30 points' for shares, '-4.2 %' of the value otherwise."""
    change = after.value - before.value
    if is_share(before.name, before.value, after.value):
        # Rounding first keeps the noise of float subtraction (0.2999999) out of the text.
        points = round(change * 100, 6)
        return "no change" if points == 0 else f"{_signed(points)} points"
    if change == 0:
        return "no change"
    if before.value == 0:
        return _signed(change)
    return f"{_signed(change / abs(before.value) * 100)} %"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + significant(value, 2)


def threads_text(threads: int) -> str:
    """'1 thread', '4 threads'."""
    return plural(threads, "thread")


def plural(count: int, noun: str) -> str:
    """'1 layer', '23 layers', grouped from a thousand on."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def provenance_text(latency: Latency) -> str:
    """How a latency is known: 'predicted for rpi4, 4 threads' or 'measured on rpi4, 4 threads'."""
    preposition = "predicted for" if latency.method == "predicted" else "measured on"
    return f"{preposition} {latency.device}, {threads_text(latency.threads)}"


def printable(text: str) -> str:
    """`text` on one line, with control characters (which could steer a terminal) replaced by '?'."""
    return shown(" ".join(text.split()))
