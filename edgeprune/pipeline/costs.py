"""Cost models of a network on the build's target, corrected by what real files of the dense model showed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeprune.cost.model import Corrections, CostModel
from edgeprune.plan.changes import Cost
from edgeprune.plan.greedy import Costs
from edgeprune.records.network import Network
from edgeprune.target import Target


@dataclass(frozen=True)
class PlanCosts:
    """Costs of plans for one network, mode and target."""

    model: CostModel

    @property
    def functions(self) -> Costs:
        """The cost functions that allocation steers by."""
        model = self.model
        return {
            "latency_ms": Cost(model.latency_ms, model.changed_latency_ms),
            "size_bytes": Cost(model.size_bytes, model.changed_size_bytes),
            "ram_bytes": Cost(model.ram_bytes, model.changed_ram_bytes),
        }

    def exact(self, kept: np.ndarray) -> dict[str, float]:
        """Costs of one plan, with activations placed as the runtime places them."""
        return {
            "latency_ms": float(self.model.latency_ms(kept)),
            "size_bytes": float(self.model.size_bytes(kept)),
            "ram_bytes": float(self.model.arena_ram_bytes(kept)),
        }


def plan_costs(network: Network, target: Target, mode: str, corrections: Corrections = Corrections()) -> PlanCosts:  # noqa: B008
    """Costs in one quantization mode on a target."""
    return PlanCosts(CostModel(network, target.cost[mode], mode, target.channel_multiple, corrections))


def corrections_from(
    network: Network, target: Target, mode: str, size_bytes: int, ram_bytes: int, latency_ms: float
) -> Corrections:
    """By how much the predictions for the dense network miss a real file of it."""
    predicted = plan_costs(network, target, mode).exact(network.full)
    return Corrections(
        size_bytes - int(predicted["size_bytes"]),
        ram_bytes - int(predicted["ram_bytes"]),
        latency_ms / predicted["latency_ms"],
    )
