"""Choosing the quantization mode on the dense model: the fastest one that keeps the accuracy.

Where kernels become sparse, modes in which zeros alone keep all limits come first, in the order of _SPARSE_ORDER;
without any, channels have to go too, and the fastest mode is best again. A build for the strategy "sparse" whose zeros
save time stays with the modes that sparse kernels compute in.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgeprune.cost_rates import QUANTIZE_MODES
from edgeprune.errors import InputError, ValidationError
from edgeprune.export.modes import allowed_modes
from edgeprune.pipeline.artifact import tflite_metric, write_tflite
from edgeprune.pipeline.costs import plan_costs
from edgeprune.pipeline.goal import with_zeros
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.kernels import planned_kernels
from edgeprune.pipeline.options import SPARSE, Options
from edgeprune.pipeline.sparse_kernels import FLOAT_MODES, SparseKernels
from edgeprune.plan.limits import Limits
from edgeprune.progress import say
from edgeprune.records.network import Network
from edgeprune.target import Target
from edgeprune.task.drop import drop

# What quantization alone may cost where the budget names no accuracy.
_DEFAULT_DROP = 0.01


# Why a mode was taken that was not chosen here.
ASKED = "asked for"
# float16 halves every value and needs no calibration; int8 doesn't store Dense kernels sparsely at all.
_SPARSE_ORDER = ("float16", "none", "int8")


def choose_precision(
    job: Job, network: Network, baseline_metric: float, folder: Path, limits: Limits, kernels: SparseKernels
) -> dict[str, Any]:
    """Try the allowed modes from the best on (see the module) and take the first that loses at most half of the allowed
    drop.

    The other half is left for pruning. With `--quantize MODE` that mode is taken whatever it loses.

    Returns:
        mode, sizes of the dense model in it, and one row per mode that was considered.
    """
    sparse = job.options.pattern is not None
    verdicts = {verdict.mode: verdict for verdict in allowed_modes(job.target, job.facts, sparse=sparse)}
    wanted = job.options.quantize
    if wanted != "auto" and not verdicts[wanted].allowed:
        raise InputError(f"--quantize {wanted} can't be used for {job.target.name}: {verdicts[wanted].reason}")
    latency = latencies(network, job.target)
    order = preferred(job.model, network, job.target, job.options, limits, kernels) if wanted == "auto" else [wanted]
    better = "preferred" if sparse else "faster"
    allowed = job.budget.max_accuracy_drop
    allowed = (_DEFAULT_DROP if allowed is None else allowed) / 2

    trials: list[dict[str, Any]] = []
    chosen: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    for mode in order:
        if not verdicts[mode].allowed:
            trials.append(_trial(mode, None, None, verdicts[mode].reason))
            continue
        if wanted == "auto" and keeps_float(job.options, kernels) and mode not in FLOAT_MODES:
            trials.append(_trial(mode, None, None, "not tried: sparse kernels compute in float"))
            continue
        if chosen is not None:
            trials.append(_trial(mode, None, None, f"not tried: {chosen['quantize']} is {better} and accurate enough"))
            continue
        path = folder / f"dense.{mode}.tflite"
        say(f"trying {mode}: predicted {latency[mode]:.3g} ms on {job.target.title}")
        try:
            sizes = write_tflite(job, job.model, mode, path)
        except ValidationError as error:  # a known trap of the target's runtime: another mode may do
            if wanted != "auto":
                raise
            trials.append(_trial(mode, None, None, str(error)))
            continue
        metric = tflite_metric(job, path)
        if not math.isfinite(metric):
            trials.append(_trial(mode, None, sizes.size_bytes, f"answers {metric} on the validation data"))
            continue
        lost = drop(baseline_metric, metric, job.task.metric.higher_is_better)
        trial = _trial(mode, metric, sizes.size_bytes, "") | {"lost": lost, "ram_bytes": sizes.ram_bytes}
        trials.append(trial)
        if wanted != "auto":
            trial["reason"] = ASKED
            chosen = trial
        elif lost <= allowed:
            first = "first choice for sparse weights" if sparse else "fastest"
            trial["reason"] = f"the {first} that loses at most {allowed:.4g} before pruning (half of the allowed drop)"
            chosen = trial
        else:
            trial["reason"] = f"loses {lost:.4g} before pruning, more than {allowed:.4g} (half of the allowed drop)"
            best = trial if best is None or lost < best["lost"] else best
    if chosen is None:
        if best is None:
            raise InputError(f"no quantization mode can be used: {'; '.join(t['reason'] for t in trials)}")
        chosen = best
        chosen["reason"] += "; still the best there is"
    chosen["chosen"] = True
    return {
        "mode": chosen["quantize"],
        "size_bytes": chosen["size_bytes"],
        "ram_bytes": chosen["ram_bytes"],
        "metric": chosen["metric"],
        "trials": trials,
    }


def latencies(network: Network, target: Target) -> dict[str, float]:
    """Predicted milliseconds of the dense model in every mode."""
    return {mode: float(plan_costs(network, target, mode).model.latency_ms(network.full)) for mode in QUANTIZE_MODES}


def keeps_float(options: Options, kernels: SparseKernels) -> bool:
    """Whether another mode would lose the time that zeros save."""
    return options.strategy == SPARSE and kernels.engaged


def preferred(
    model: Any, network: Network, target: Target, options: Options, limits: Limits, kernels: SparseKernels
) -> list[str]:
    """The modes in the order in which a build tries them."""
    order = fastest_first(network, target)
    if options.pattern is None:
        return order
    if keeps_float(options, kernels):
        return [*FLOAT_MODES, *(mode for mode in order if mode not in FLOAT_MODES)]
    planned = planned_kernels(model, options.pattern, options.final_sparsity).values()

    def keeps_limits(mode: str) -> bool:
        costs = with_zeros(plan_costs(network, target, mode).exact(network.full), planned, mode, kernels.share(mode))
        return all(costs[name] <= limit for name, limit in limits.items())

    enough = [mode for mode in _SPARSE_ORDER if keeps_limits(mode)]
    return enough + [mode for mode in order if mode not in enough]


def fastest_first(network: Network, target: Target) -> list[str]:
    """The modes from the fastest on; of equals the one that stores fewer bytes first."""
    found = latencies(network, target)
    return sorted(QUANTIZE_MODES, key=lambda mode: (found[mode], -QUANTIZE_MODES.index(mode)))


def _trial(mode: str, metric: float | None, size_bytes: int | None, reason: str) -> dict[str, Any]:
    return {"quantize": mode, "metric": metric, "size_bytes": size_bytes, "chosen": False, "reason": reason}
