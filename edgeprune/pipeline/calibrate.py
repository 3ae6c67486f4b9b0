"""Fitting a target's rates to the user's own board, from a short standard set of layers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edgeprune.atomic import write_text
from edgeprune.cost.cost_table import Entry
from edgeprune.cost.layer_network import layer_network
from edgeprune.cost.model import CostModel
from edgeprune.cost.one_op import LayerShape, Precision
from edgeprune.cost_rates import CostRates
from edgeprune.device.devices import is_emulator, open_device
from edgeprune.errors import InputError
from edgeprune.pipeline.profile import measure_layers
from edgeprune.progress import progress
from edgeprune.target import Target, user_rates_path

# Layers of MobileNets and their kin, large enough to rise above the time to start an operation.
_COMPUTING = (
    LayerShape("CONV_2D", 112, 112, 32, 64),
    LayerShape("CONV_2D", 28, 28, 128, 256),
    LayerShape("CONV_2D", 14, 14, 512, 512),
    LayerShape("CONV_2D", 7, 7, 160, 960),
    LayerShape("CONV_2D", 28, 28, 64, 64, (3, 3)),
    LayerShape("DEPTHWISE_CONV_2D", 112, 112, 64, 64, (3, 3)),
    LayerShape("DEPTHWISE_CONV_2D", 28, 28, 256, 256, (3, 3)),
    LayerShape("DEPTHWISE_CONV_2D", 14, 14, 512, 512, (5, 5)),
)
_OTHER = (
    LayerShape("ADD", 56, 56, 64, 64),
    LayerShape("MUL", 56, 56, 64, 64),
    LayerShape("MAX_POOL_2D", 56, 56, 64, 64, (2, 2), (2, 2)),
    LayerShape("FULLY_CONNECTED", 1, 1, 1024, 1000),
)
STANDARD = (*_COMPUTING, *_OTHER)
# mode that is measured -> modes that take its factors
_MEASURED: dict[Precision, tuple[str, ...]] = {"none": ("none", "float16"), "int8": ("int8", "dynamic")}


@dataclass(frozen=True)
class ModeFit:
    """Measured over predicted time of one mode, as medians; errors are median absolute ones of the standard set."""

    mode: str
    compute_factor: float
    other_factor: float
    error_before: float
    error_after: float


@dataclass(frozen=True)
class Calibration:
    """What was stored, and where."""

    target: str
    device: str
    runtime: str
    modes: tuple[ModeFit, ...]
    path: Path


def calibrate(target: Target, device: str) -> Calibration:
    """Measure the standard set on `device`, on `target.threads` threads, and store the rates that explain it.

    One factor on all that computes and one on all that only moves values, per precision: with a dozen layers more could
    not be told. `load_target` uses the stored rates from then on and says so.

    Raises:
        InputError: the device counts instructions, or the config folder can't be written.
        DeviceError: the device can't be reached, or is lost.
    """
    if is_emulator(device):
        raise InputError(
            f"{device} counts instructions and has no times; calibrate on the board itself: local, ssh or adb"
        )
    fits: list[ModeFit] = []
    cost = dict(target.cost)
    with closing(open_device(device)) as transport, progress("calibrating", len(_MEASURED)) as advance:
        described, runtime = transport.describe(), ""
        for precision, modes in _MEASURED.items():
            work = [(layer, precision) for layer in STANDARD]
            runtime, entries = measure_layers(work, transport, "ms", target.threads)
            found = fit_mode(entries, target, precision)
            fits.append(found)
            for mode in modes:
                cost[mode] = scaled(target.cost[mode], found)
            advance(1, precision)
    path = user_rates_path(target.name)
    today = datetime.now(timezone.utc).date().isoformat()
    write_text(path, as_toml(cost, f"calibrated on {described}, {runtime}, {today}"))
    return Calibration(target.name, described, runtime, tuple(fits), path)


def fit_mode(entries: Sequence[Entry], target: Target, mode: str) -> ModeFit:
    """The factors of one mode. entries: of layers in that precision, in milliseconds."""
    measured = np.array([entry.cost for entry in entries])
    computes = np.array([entry.layer in _COMPUTING for entry in entries])
    before = _predicted(entries, target, mode, target.cost[mode])
    compute = float(np.median(measured[computes] / before[computes]))
    other = float(np.median(measured[~computes] / before[~computes]))
    fit = ModeFit(mode, compute, other, _error(measured, before), 0.0)
    after = _predicted(entries, target, mode, scaled(target.cost[mode], fit))
    return replace(fit, error_after=_error(measured, after))


def scaled(rates: CostRates, fit: ModeFit) -> CostRates:
    """The rates, slower or faster by the factors. `error` is what remains on the standard set, and at least 5 %."""
    return replace(
        rates,
        conv_gmacs=rates.conv_gmacs / fit.compute_factor,
        depthwise_gmacs=rates.depthwise_gmacs / fit.compute_factor,
        dense_gmacs=rates.dense_gmacs / fit.other_factor,
        copy_gb_s=rates.copy_gb_s / fit.other_factor,
        op_us=rates.op_us * fit.other_factor,
        gips=rates.gips / fit.compute_factor,
        error=min(max(fit.error_after, 0.05), 0.9),
    )


def as_toml(cost: dict[str, CostRates], source: str) -> str:
    """A [cost] table as in targets/*.toml."""
    lines = ["[cost]", f'source = "{source.replace(chr(34), chr(39))}"']
    for mode, rates in cost.items():
        lines += ["", f"[cost.{mode}]"]
        lines += [
            f"{field.name} = {value!r}" for field in fields(rates) if (value := float(getattr(rates, field.name)))
        ]
    return "\n".join(lines) + "\n"


def _predicted(entries: Sequence[Entry], target: Target, mode: str, rates: CostRates) -> np.ndarray:
    network = layer_network(entry.layer for entry in entries)
    return CostModel(network, rates, mode, target.channel_multiple).op_latency_ms(network.full)


def _error(measured: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.median(np.abs(predicted / measured - 1)))
