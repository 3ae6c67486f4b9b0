"""Per-layer rows of a report: what a plan or a build changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeprune.cost.counts import ExtentTable
from edgeprune.pipeline.costs import PlanCosts
from edgeprune.records.network import Network
from edgeprune.records.report import LayerRow


@dataclass(frozen=True)
class _Layer:
    kind: str
    channels: int
    macs: int
    params: int
    latency_ms: float


def layer_rows(before: Mapping[str, _Layer], after: Mapping[str, _Layer]) -> tuple[LayerRow, ...]:
    """One row per layer with weights and work, in execution order."""
    gone = _Layer("", 0, 0, 0, 0.0)  # with a residual block that was dropped whole
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
        )
        for name, old in before.items()
    )


def layers_of(network: Network, costs: PlanCosts, kept: np.ndarray) -> dict[str, _Layer]:
    """What each computing layer is and costs under a plan. kept: (groups,)."""
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
            )
    return found
