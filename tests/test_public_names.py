"""The public names are exactly these: adding or removing one is a decision, not an accident."""

from __future__ import annotations

import pytest

import edgeprune

# Resolving these loads TensorFlow.
HEAVY_NAMES = {
    "BuildResult",
    "DistillationCallback",
    "PlanReport",
    "PruningCallback",
    "build",
    "make_plan",
    "prune_channels",
    "reestimate_batchnorm",
    "remove_pruned_channels",
}

PUBLIC_NAMES = {
    "Budget",
    "BudgetError",
    "BuildReport",
    "BuildResult",
    "ConstantSchedule",
    "CosineSchedule",
    "DeviceError",
    "DistillationCallback",
    "EdgepruneError",
    "ExponentialSchedule",
    "Grasp",
    "InputError",
    "Interrupted",
    "IterativeSchedule",
    "LinearSchedule",
    "Movement",
    "OneShotSchedule",
    "Options",
    "PlanReport",
    "PolynomialSchedule",
    "PruningCallback",
    "Target",
    "TaskOptions",
    "Taylor",
    "ValidationError",
    "__version__",
    "build",
    "find_ticket",
    "freeze_sparsity",
    "from_keras2",
    "load_target",
    "make_plan",
    "prune_channels",
    "reestimate_batchnorm",
    "remove_pruned_channels",
    "unfreeze_sparsity",
}


@pytest.mark.unit
def test_exactly_these_names_are_public() -> None:
    assert set(edgeprune.__all__) == PUBLIC_NAMES
    assert len(edgeprune.__all__) == len(PUBLIC_NAMES), "a name is listed twice"
    assert set(dir(edgeprune)) == PUBLIC_NAMES


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.keras if name in HEAVY_NAMES else pytest.mark.unit)
        for name in sorted(PUBLIC_NAMES - {"__version__"})
    ],
)
def test_a_public_name_resolves_to_what_its_module_defines(name: str) -> None:
    thing = getattr(edgeprune, name)
    assert callable(thing)
    assert thing.__name__ == name


@pytest.mark.unit
def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prune_chanels'"):
        edgeprune.prune_chanels  # noqa: B018
