"""What differs between runtimes: data, one row per range of versions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class RuntimeRules:
    """How one range of a runtime's versions decides.

    package, since: the first version it holds for; the range ends at the next row. verified: versions whose answers
    were compared with an emulated Raspberry Pi 4 over the test corpus. sparse_kernels: whether the package runs them at
    all. repeated_input_counts_once: x + x counts one reader of x, but two readers inside the cluster, which refuses
    it. square_of_product: x * x becomes a square, which is unary. clamp_of_scalar: minimum and maximum with one
    constant number become a clamp, which is unary. sparse_float16: which float16 weights behind DENSIFY
    are read as what they are: all, those that no float32 bias stands beside, or none for sure. drops_unread: nodes
    whose output nobody reads are removed first. dense_layers_join: Dense layers join clusters and count for the 2/3
    rule. not_taken: operations that XNNPACK learned later.
    """

    package: str
    since: tuple[int, int]
    verified: tuple[str, ...]
    sparse_kernels: bool = True
    repeated_input_counts_once: bool = True
    square_of_product: bool = True
    clamp_of_scalar: bool = True
    sparse_float16: Literal["all", "without float32 bias", "none"] = "all"
    drops_unread: bool = True
    dense_layers_join: bool = False
    not_taken: frozenset[str] = frozenset()


_ONE = RuntimeRules(
    "ai-edge-litert",
    (1, 4),
    ("1.4.0",),
    repeated_input_counts_once=False,
    square_of_product=False,
    clamp_of_scalar=False,
    sparse_float16="without float32 bias",
    drops_unread=False,
    not_taken=frozenset({"LOG"}),
)
# Newest first within a package.
RULES: tuple[RuntimeRules, ...] = (
    RuntimeRules("ai-edge-litert", (2, 2), ("2.2.0", "2.3.0")),
    RuntimeRules("ai-edge-litert", (2, 1), ("2.1.6",), sparse_float16="without float32 bias"),
    RuntimeRules(
        "ai-edge-litert",
        (2, 0),
        ("2.0.3",),
        square_of_product=False,
        clamp_of_scalar=False,
        sparse_float16="without float32 bias",
        not_taken=frozenset({"LOG"}),
    ),
    _ONE,
    replace(_ONE, since=(1, 3), verified=("1.3.0",), dense_layers_join=True, sparse_float16="none"),
    replace(
        _ONE,
        since=(0, 0),
        verified=("1.2.0",),
        dense_layers_join=True,
        sparse_float16="none",
        not_taken=frozenset({"COS", "EXP", "LOG", "SIN"}),
    ),
    RuntimeRules("tflite-runtime", (0, 0), ("2.14.0",), sparse_kernels=False),
)


def rules_for(package: str, version: str) -> RuntimeRules:
    """The rules of a runtime; those of the newest ai-edge-litert for a package without a row."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    for rules in RULES:
        if rules.package == package and numbers >= rules.since:
            return rules
    return RULES[0]


def is_verified(package: str, version: str) -> bool:
    """Whether the rules were compared with this very version."""
    rules = rules_for(package, version)
    return rules.package == package and version in rules.verified
