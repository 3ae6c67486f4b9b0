"""Calibration: factors that are known come out, and what is stored is what is loaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeprune.atomic import write_text
from edgeprune.cost.cost_table import Entry
from edgeprune.cost.layer_network import layer_network
from edgeprune.cost.model import CostModel
from edgeprune.cost_rates import CostRates
from edgeprune.errors import InputError
from edgeprune.pipeline.calibrate import STANDARD, as_toml, calibrate, fit_mode, scaled
from edgeprune.target import load_target, user_rates_path

pytestmark = pytest.mark.unit

RPI4 = load_target("rpi4")


@pytest.fixture(autouse=True)
def own_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def entries_of(rates: CostRates) -> list[Entry]:
    """What a board with these rates would measure."""
    network = layer_network(STANDARD)
    times = CostModel(network, rates, "none", RPI4.channel_multiple).op_latency_ms(network.full)
    return [Entry(layer, "none", float(ms), (float(ms),)) for layer, ms in zip(STANDARD, times, strict=True)]


def test_a_board_that_is_slower_in_everything() -> None:
    rates = RPI4.cost["none"]
    slow = dataclasses.replace(
        rates,
        conv_gmacs=rates.conv_gmacs / 2,
        depthwise_gmacs=rates.depthwise_gmacs / 2,
        dense_gmacs=rates.dense_gmacs / 2,
        copy_gb_s=rates.copy_gb_s / 2,
        gips=rates.gips / 2,
        op_us=rates.op_us * 2,
    )
    fit = fit_mode(entries_of(slow), RPI4, "none")
    assert (fit.compute_factor, fit.other_factor) == pytest.approx((2.0, 2.0))
    assert fit.error_before == pytest.approx(0.5)
    assert fit.error_after == pytest.approx(0.0, abs=1e-9)
    stored = scaled(rates, fit)
    assert dataclasses.replace(stored, error=slow.error) == pytest.approx(slow)
    assert stored.error == 0.05


def test_what_is_stored_is_loaded_and_named() -> None:
    fit = fit_mode(entries_of(RPI4.cost["none"]), RPI4, "none")
    cost = {mode: scaled(rates, dataclasses.replace(fit, compute_factor=1.25)) for mode, rates in RPI4.cost.items()}
    write_text(user_rates_path("rpi4"), as_toml(cost, 'calibrated on "my" Pi'))
    loaded = load_target("rpi4")
    assert dict(loaded.cost) == cost
    assert loaded.cost_source == "calibrated on 'my' Pi"
    assert load_target("rpi5").cost_source != loaded.cost_source


def test_a_damaged_calibration_is_named() -> None:
    write_text(user_rates_path("rpi4"), "[cost]\nsource = 3\n")
    with pytest.raises(InputError, match=r"rpi4\.toml, line"):
        load_target("rpi4")


def test_an_emulated_board_has_no_times() -> None:
    with pytest.raises(InputError, match="counts instructions and has no times"):
        calibrate(RPI4, "emulator:rpi4")


def test_calibrating_on_this_computer() -> None:
    """The whole way: measure, fit, store, load."""
    result = calibrate(load_target("host"), "local")
    assert [fit.mode for fit in result.modes] == ["none", "int8"]
    assert result.path == user_rates_path("host")
    assert load_target("host").cost_source.startswith("calibrated on local, ai-edge-litert")
