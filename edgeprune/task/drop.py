"""How much worse a metric got."""

from __future__ import annotations

_SMALLEST_BASELINE = 1e-12


def drop(baseline: float, value: float, higher_is_better: bool) -> float:
    """The accuracy drop from `baseline` to `value`; negative when it got better.

    Where higher is better it is the plain difference (0.98 -> 0.97 is 0.01). Where lower is better the scale is
    arbitrary, so it is the increase relative to the baseline (an error of 2.0 -> 2.1 is 0.05).
    """
    if higher_is_better:
        return baseline - value
    return (value - baseline) / max(abs(baseline), _SMALLEST_BASELINE)
