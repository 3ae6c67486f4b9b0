"""The rows of a report that plans and builds share: limits, models, layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeprune.cost.counts import ExtentTable, total_macs, total_params
from edgeprune.pipeline.costs import PlanCosts
from edgeprune.pipeline.kernels import Zeros, total
from edgeprune.plan.limits import Limits
from edgeprune.records.network import Network
from edgeprune.records.report import Latency, LayerRow, LimitRow, Metric, ModelRecord
from edgeprune.target import Target

# cost name -> (limit name in reports, factor to its unit)
REPORTED = {"latency_ms": ("latency_ms", 1.0), "size_bytes": ("size_kb", 1e-3), "ram_bytes": ("ram_kb", 1e-3)}


def cost_rows(limits: Limits, before: Mapping[str, float], after: Mapping[str, float]) -> tuple[LimitRow, ...]:
    """One row per cost limit that is set; costs by the names of `Limits`."""
    rows = []
    for cost, limit in limits.items():
        name, factor = REPORTED[cost]
        rows.append(LimitRow(name, limit * factor, before[cost] * factor, after[cost] * factor, after[cost] <= limit))
    return tuple(rows)


def model_record(
    network: Network,
    kept: np.ndarray,
    costs: Mapping[str, float],
    target: Target,
    mode: str,
    metric: Metric | None = None,
    *,
    zeros: Mapping[str, Zeros],
) -> ModelRecord:
    """A network under a plan as a report shows it; the latency is predicted.

    kept: (groups,). zeros: those in the kernels of each layer.
    """
    return ModelRecord(
        metric=metric,
        size_bytes=int(costs["size_bytes"]),
        macs=total_macs(network, kept),
        params=total_params(network, kept),
        peak_ram_bytes=int(costs["ram_bytes"]),
        latency_ms=Latency(costs["latency_ms"], "predicted", target.title, target.threads),
        quantize=mode,
        sparsity=total(zeros.values()).share,
    )


@dataclass(frozen=True)
class _Layer:
    kind: str
    channels: int
    macs: int
    params: int
    latency_ms: float
    sparsity: float


def layer_rows(before: Mapping[str, _Layer], after: Mapping[str, _Layer]) -> tuple[LayerRow, ...]:
    """One row per layer with weights and work, in execution order."""
    gone = _Layer("", 0, 0, 0, 0.0, 0.0)  # with a residual block that was dropped whole
    return tuple(
        LayerRow(
            layer=name,
            kind=old.kind,
            channels_before=old.channels,
            channels_after=after.get(name, gone).channels,
            macs_before=old.macs,
            macs_after=after.get(name, gone).macs,
            params_before=old.params,
            params_after=after.get(name, gone).params,
            latency_ms_before=old.latency_ms,
            latency_ms_after=after.get(name, gone).latency_ms,
            sparsity_before=old.sparsity,
            sparsity_after=after.get(name, gone).sparsity,
        )
        for name, old in before.items()
    )


def layers_of(network: Network, costs: PlanCosts, kept: np.ndarray, zeros: Mapping[str, Zeros]) -> dict[str, _Layer]:
    """What each computing layer is and costs under a plan. kept: (groups,). zeros: those in each layer's kernels."""
    widths = network.widths(kept)
    macs = ExtentTable([op.macs for op in network.ops]).values(widths)
    params = ExtentTable([weight.extent for weight in network.weights]).values(widths)
    latency = costs.model.op_latency_ms(kept)
    owned: dict[str, int] = {}
    for weight, count in zip(network.weights, params, strict=True):
        owned[weight.layer] = owned.get(weight.layer, 0) + int(count)
    found: dict[str, _Layer] = {}
    for number, op in enumerate(network.ops):
        if op.kind in ("conv", "depthwise", "dense"):
            earlier = found.get(op.layer)
            found[op.layer] = _Layer(
                kind=op.kind,
                channels=int(widths[op.axis]),
                macs=int(macs[number]) + (earlier.macs if earlier else 0),
                params=owned.get(op.layer, 0),
                latency_ms=float(latency[number]) + (earlier.latency_ms if earlier else 0.0),
                sparsity=zeros.get(op.layer, Zeros()).share,
            )
    return found
