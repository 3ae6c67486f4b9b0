"""tools/fit_cost.py: what edgeprune predicts with the shipped rates is what the target files say it predicts."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import keras
import pytest

from edgeprune.cost.model import CostModel
from edgeprune.pipeline.analysis import analyse
from edgeprune.records.network import Network
from edgeprune.target import load_target

pytestmark = pytest.mark.keras

ROOT = Path(__file__).resolve().parents[2]

# XNNPACK README, Raspberry Pi 4 ARM64, multi-threaded, milliseconds.
PUBLISHED = {("none", "V1"): 77, ("none", "V2"): 46, ("int8", "V1"): 24, ("int8", "V2"): 17}


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit_cost", ROOT / "tools" / "fit_cost.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_cost"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


fit_cost = load_script()


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {
        "V1": analyse(keras.applications.MobileNet(weights=None)).network,
        "V2": analyse(keras.applications.MobileNetV2(weights=None)).network,
    }


def stated_residual(mode: str, model: str, published: int) -> float:
    """The residual of one row in the comments of targets/rpi4.toml, as a fraction."""
    text = (ROOT / "targets" / "rpi4.toml").read_text(encoding="utf-8")
    found = re.search(rf"^# Predicted against published, {mode}: .*{model} {published} ms ([+-][0-9.]+)%", text, re.M)
    assert found is not None
    return float(found[1]) / 100


@pytest.mark.parametrize(("mode", "model"), PUBLISHED)
def test_rpi4_predicts_the_published_latencies(networks: dict[str, Network], mode: str, model: str) -> None:
    target, network, published = load_target("rpi4"), networks[model], PUBLISHED[mode, model]
    cost = CostModel(network, target.cost[mode], mode, target.channel_multiple)
    residual = float(cost.latency_ms(network.full)) / published - 1
    assert abs(residual) < 0.15
    # the comment is rounded to a tenth of a percent
    assert residual == pytest.approx(stated_residual(mode, model, published), abs=0.0006)


@pytest.mark.parametrize("mode", ["none", "int8"])
def test_the_fit_is_the_best_scale(networks: dict[str, Network], mode: str) -> None:
    """In log space the two errors weigh the same, so faster or slower compute must make their squares' sum larger."""

    def error(scale: float) -> float:
        rates = load_target("rpi4").cost[mode]
        scaled = fit_cost.times(rates, scale, scale, scale)
        logs = [
            math.log(fit_cost.predict_ms(networks[model], scaled, mode, 8) / PUBLISHED[mode, model])
            for model in ("V1", "V2")
        ]
        return sum(log**2 for log in logs)

    assert error(1.0) < min(error(0.97), error(1.03))


def check(monkeypatch: pytest.MonkeyPatch, networks: dict[str, Network], *boards: str) -> int:
    monkeypatch.setattr(fit_cost, "trace_networks", lambda: networks)
    monkeypatch.setattr(sys, "argv", ["fit_cost.py", *boards, "--check"])
    return int(fit_cost.main())


def test_every_target_holds_its_fit(monkeypatch: pytest.MonkeyPatch, networks: dict[str, Network]) -> None:
    assert check(monkeypatch, networks) == 0


def test_check_notices_other_rates(monkeypatch: pytest.MonkeyPatch, networks: dict[str, Network]) -> None:
    board = fit_cost.BOARDS["rpi4"]
    monkeypatch.setitem(fit_cost.BOARDS, "rpi4", replace(board, op_us=board.op_us + 1))
    assert check(monkeypatch, networks, "rpi4") == 1


def test_check_notices_another_residual(
    monkeypatch: pytest.MonkeyPatch, networks: dict[str, Network], tmp_path: Path
) -> None:
    text = (ROOT / "targets" / "rpi4.toml").read_text(encoding="utf-8")
    (tmp_path / "rpi4.toml").write_text(text.replace("V1 77 ms -", "V1 77 ms +"), encoding="utf-8")
    monkeypatch.setattr(fit_cost, "TARGETS", tmp_path)
    assert check(monkeypatch, networks, "rpi4") == 1
