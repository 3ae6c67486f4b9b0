"""What is said of a file: clusters, and why one does not run sparse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Findings of these rules break a model; the others only keep it dense.
BREAKING_RULES = ("leak", "pooled-convolution", "pooled-shape", "pooled-axis")

Verdict = Literal["sparse", "partly", "dense", "broken", "none"]


@dataclass(frozen=True)
class Finding:
    """One rule that one operation breaks.

    op: position in the file's main graph; None where the rule is about the whole cluster. name: its operation,
    such as "DEPTHWISE_CONV_2D". tensor: the name of its output. rule: a key of `mends.MENDS`. reason: the rule with the
    numbers that were found. mend: what to change.
    """

    op: int | None
    name: str
    tensor: str
    rule: str
    reason: str
    mend: str


@dataclass(frozen=True)
class Cluster:
    """Operations that share feature maps and hold at least one 1x1 convolution.

    verdict: "sparse" (all of its 1x1 convolutions run sparse kernels), "partly", "dense", or "broken" (sparse kernels
    run, and the model computes wrong numbers or does not load). first_op, last_op: positions in the main graph.
    convolutions: number of 1x1 convolutions, sparse_convolutions: those that run sparse kernels. weights, zeros:
    elements of the 1x1 weights. findings: what stops or breaks it, in the file's order; empty when all is sparse.
    """

    verdict: Verdict
    first_op: int
    last_op: int
    convolutions: int
    sparse_convolutions: int
    weights: int
    zeros: int
    findings: tuple[Finding, ...]

    @property
    def breakage(self) -> Finding | None:
        """What goes wrong first in a broken cluster."""
        return next((found for found in self.findings if found.rule in BREAKING_RULES), None)

    @property
    def stop(self) -> Finding | None:
        """What keeps (the rest of) the cluster from running sparse, first in the file."""
        return next((found for found in self.findings if found.rule not in BREAKING_RULES), None)


@dataclass(frozen=True)
class Prediction:
    """Whether sparse kernels will run. verdict: the worst of the clusters, "partly" where some are sparse and others
    dense; "none" without a 1x1 convolution.

    reason: one line when no cluster was looked at (the CPU or the runtime has no sparse kernels, or the runtime
    misreads the weights), else "".
    verified: whether the rules were compared with exactly this runtime.
    """

    verdict: Verdict
    reason: str
    verified: bool
    clusters: tuple[Cluster, ...]
