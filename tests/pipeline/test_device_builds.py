"""`build --device`: times measured on the target's device replace predicted ones, everywhere in the report."""

from __future__ import annotations

from dataclasses import replace

import pytest

import edgeprune as ep
from edgeprune.device.devices import KINDS, Kind
from edgeprune.device.local import LocalTransport
from tests.pipeline.small_mobile import colours, small_mobile

pytestmark = pytest.mark.keras

OPTIONS = ep.Options(strategy="structured", epochs=1, rounds=1, allocation="knapsack", quantize="none")


class Board(LocalTransport):
    """A board that takes for every invoke 1 ms for each 10 kB of the file."""

    def describe(self) -> str:
        return "board:1"

    def run(self, request, on_progress=None):
        result = super().run(replace(request, round_secs=0.01, warmup_secs=0.0), on_progress)
        times = tuple(path.stat().st_size / 10_000 for path in request.models)
        return replace(result, rounds_ms=tuple(tuple((ms,) * 20 for _ in range(request.rounds)) for ms in times))


@pytest.fixture(autouse=True)
def _board(monkeypatch):
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.01)
    monkeypatch.setitem(KINDS, "board", Kind("board:NUMBER", lambda spec: Board()))


def test_the_latency_is_measured_and_the_limit_is_kept_by_measurement(tmp_path):
    model = small_mobile(32)
    budget = ep.Budget(latency_ratio=0.6, max_accuracy_drop=1)
    options = replace(OPTIONS, device="board:1")
    result = ep.build(model, "rpi4", train=colours(), budget=budget, options=options, output=tmp_path / "out")
    report = result.report
    assert (report.result.latency_ms.method, report.result.latency_ms.device) == ("measured", "board:1")
    assert report.baseline.latency_ms.value == pytest.approx(report.baseline.size_bytes / 10_000)
    assert report.result.latency_ms.value == pytest.approx(report.result.size_bytes / 10_000)
    limit = next(row for row in report.limits if row.name == "latency_ms")
    assert limit.limit == pytest.approx(0.6 * report.baseline.latency_ms.value)
    assert report.met
    assert report.bench is not None
    assert report.bench.device == "board:1"
    assert not any("predicted, not measured" in note for note in report.notes)


def test_an_unknown_device_is_refused_at_once(tmp_path):
    with pytest.raises(ep.InputError, match='unknown device "boar:1"'):
        ep.build(
            small_mobile(), "rpi4", train=colours(), options=replace(OPTIONS, device="boar:1"), output=tmp_path / "out"
        )
    assert not (tmp_path / "out" / "stages").exists()
