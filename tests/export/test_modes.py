"""Which modes a target allows: versions by hand from the runtimes that were tried."""

from __future__ import annotations

import dataclasses

import pytest

from edgeprune.cost_rates import QUANTIZE_MODES, CostRates
from edgeprune.export.modes import ModelFacts, allowed_modes
from edgeprune.target import Budget, Runtime, Target

pytestmark = pytest.mark.unit

RATES = CostRates(conv_gmacs=1.0, depthwise_gmacs=1.0, dense_gmacs=1.0, copy_gb_s=1.0, op_us=1.0)
PLAIN = ModelFacts(fixed_size=True, has_dense=True, has_loop=False)


def target(package: str, version: str) -> Target:
    return Target(
        name="board",
        title="Board",
        cores=(),
        isa=(),
        ram_mb=1,
        copy_mb_s=1,
        runtime=Runtime(package, version),
        channel_multiple=1,
        threads=1,
        transport="local",
        budget=Budget(),
        cost=dict.fromkeys(QUANTIZE_MODES, RATES),
        cost_source="test",
    )


def verdicts(board: Target, facts: ModelFacts = PLAIN, **options: bool):
    return {verdict.mode: verdict for verdict in allowed_modes(board, facts, **options)}


def test_one_verdict_per_mode_in_order():
    assert tuple(v.mode for v in allowed_modes(target("ai-edge-litert", "2.3"), PLAIN)) == QUANTIZE_MODES


@pytest.mark.parametrize(
    ("package", "version", "per_channel"),
    [
        ("tflite-runtime", "2.14.0", False),
        ("tflite_runtime", "2.5", False),
        ("tensorflow", "2.16.2", False),
        ("tensorflow", "2.17.0rc0", True),
        ("tensorflow", "3", True),
        ("ai-edge-litert", "1.0.1", True),
        ("ai-edge-litert", "2.3", True),
    ],
)
def test_dense_of_the_dynamic_mode_fits_the_runtime(package, version, per_channel):
    verdict = verdicts(target(package, version))["dynamic"]
    assert verdict.allowed
    assert verdict.per_channel_dense is per_channel
    assert (version in verdict.reason) is not per_channel


def test_only_the_dynamic_mode_with_dense_needs_the_old_form():
    old = target("tflite-runtime", "2.14.0")
    assert all(verdicts(old)[mode].per_channel_dense for mode in ("none", "float16", "int8"))
    assert verdicts(old, dataclasses.replace(PLAIN, has_dense=False))["dynamic"].per_channel_dense


def test_open_sizes_refuse_every_mode():
    found = verdicts(target("ai-edge-litert", "2.3"), dataclasses.replace(PLAIN, fixed_size=False))
    assert not any(verdict.allowed for verdict in found.values())
    assert all("--input-shape" in verdict.reason for verdict in found.values())


def test_int8_needs_samples_and_no_loop():
    board = target("ai-edge-litert", "2.3")
    without = verdicts(board, has_samples=False)
    assert [mode for mode, verdict in without.items() if not verdict.allowed] == ["int8"]
    assert "--data" in without["int8"].reason
    looped = verdicts(board, dataclasses.replace(PLAIN, has_loop=True))
    assert [mode for mode, verdict in looped.items() if not verdict.allowed] == ["int8"]
    assert "unroll" in looped["int8"].reason


def test_sparse_weights_rule_out_dynamic_alone():
    """Sparse convolutions with dynamic-range int8 load nowhere."""
    board = target("ai-edge-litert", "2.3.0")
    allowed = {mode: verdict.allowed for mode, verdict in verdicts(board, sparse=True).items()}
    assert allowed == {"none": True, "float16": True, "dynamic": False, "int8": True}
    assert verdicts(board)["dynamic"].allowed


def test_sparse_float16_needs_a_runtime_that_reads_it():
    """Right on 2.3; on 1.4 to 2.1 beside float16 biases, which the converter writes; not sure before."""
    for version, allowed in (("2.3.0", True), ("2.1.6", True), ("1.4.0", True), ("1.3.0", False)):
        board = target("ai-edge-litert", version)
        assert verdicts(board, sparse=True)["float16"].allowed is allowed, version
        assert verdicts(board)["float16"].allowed
