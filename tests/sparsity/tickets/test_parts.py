"""Points, signatures, metrics, records and the report, without TensorFlow."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.sparsity.tickets.fit_call import as_fit_call
from edgeprune.sparsity.tickets.metric import choose_metric, final_values, higher_is_better, name_of
from edgeprune.sparsity.tickets.point import RewindPoint, parse_point
from edgeprune.sparsity.tickets.records import Record, Records
from edgeprune.sparsity.tickets.report import TicketReport, TicketRound, packed, unpacked

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("value", "point"),
    [
        ("init", RewindPoint("init", 0)),
        ("epoch:3", RewindPoint("epoch", 3)),
        ("step:500", RewindPoint("step", 500)),
        (500, RewindPoint("step", 500)),
        (np.int64(7), RewindPoint("step", 7)),
        (0, RewindPoint("init", 0)),
        ("epoch:0", RewindPoint("init", 0)),
    ],
)
def test_points(value: Any, point: RewindPoint) -> None:
    assert parse_point(value) == point
    assert parse_point(str(point)) == point


def test_every_form_of_fit_gets_what_it_takes() -> None:
    seen: list[Any] = []

    def full(model: Any, callbacks: Any, initial_epoch: int) -> None:
        seen.append((model, callbacks, initial_epoch))

    def two(net: Any, watchers: Any) -> None:
        seen.append((net, watchers))

    def own_default(model: Any, epochs: int = 3) -> None:
        seen.append((model, epochs))

    def named(model: Any, *, callbacks: Any = ()) -> None:
        seen.append((model, callbacks))

    def options(model: Any, **rest: Any) -> None:
        seen.append((model, rest))

    def epoch_only(model: Any, initial_epoch: int) -> None:
        seen.append((model, initial_epoch))

    def data_first(x: Any, model: Any, callbacks: Any) -> None:
        seen.append((x, model, callbacks))

    for one in (full, two, own_default, named, options, epoch_only, functools.partial(data_first, "x")):
        as_fit_call(one, None)("m", "c", 4)
    assert seen == [
        ("m", ["c"], 4),
        ("m", ["c"]),
        ("m", 3),
        ("m", ["c"]),
        ("m", {"callbacks": ["c"]}),
        ("m", 4),
        ("x", "m", ["c"]),
    ]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["accuracy", "loss", "val_accuracy", "val_loss"], "val_accuracy"),
        (["loss", "val_loss", "val_a_loss", "val_a_auc", "a_auc"], "val_a_auc"),
        (["loss", "val_loss"], "val_loss"),
        (["loss", "mae"], "mae"),
        (["loss"], "loss"),
        ([], None),
    ],
)
def test_the_metric_that_judges(names: list[str], chosen: str | None) -> None:
    assert choose_metric(dict.fromkeys(names, 0.0)) == chosen


def test_directions() -> None:
    higher = ["val_accuracy", "acc", "auc", "f1_score", "recall", "val_mean_io_u", "cosine_similarity", "r2_score"]
    lower = ["loss", "val_loss", "mse", "val_mean_absolute_error", "binary_crossentropy", "false_positives", "rmse"]
    assert [higher_is_better(name) for name in higher] == [True] * len(higher)
    assert [higher_is_better(name) for name in lower] == [False] * len(lower)


def test_final_values_are_the_last_numbers() -> None:
    logs = {"loss": [2.0, 1.0], "f1": [np.array([0.1, 0.2])], "learning_rate": [0.1], "auc": np.float32(0.5)}
    assert final_values(logs) == {"loss": 1.0, "auc": 0.5}
    assert name_of(lambda model: 1.0) == "evaluate"
    assert name_of(test_directions) == "test_directions"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3), st.integers(0, 2**32 - 1))
def test_masks_come_back_from_their_bits(shapes: list[tuple[int, int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = [random.random(shape) < 0.5 for shape in shapes]
    variables = tuple(np.zeros(shape) for shape in shapes)
    record = Record({"kernels": list(range(len(shapes)))}, {"variables": variables, "keep": packed(masks)})
    assert all(np.array_equal(a, b) for a, b in zip(unpacked(record, "keep"), masks, strict=True))


@pytest.mark.parametrize("in_folder", [True, False])
def test_records(in_folder: bool, tmp_path: Path) -> None:
    records = Records(tmp_path / "new" / "folder" if in_folder else None)
    assert "a" not in records
    records.put("a", Record({"n": 1, "x": 0.1}, {"v": (np.arange(3), np.float32(2)), "none": ()}))
    records.put("a", Record({"n": 2, "x": 0.1}, {"v": (np.arange(4), np.float32(2)), "none": ()}))
    assert "a" in records
    found = records.get("a")
    assert found.document == {"n": 2, "x": 0.1}
    assert found.groups["v"][0].tolist() == [0, 1, 2, 3]
    assert found.groups["v"][1] == 2
    assert found.groups["none"] == ()


def report_of(values: list[float], metric: str = "val_accuracy") -> TicketReport:
    """1,000 weights, half of what is left pruned each round."""
    rounds = tuple(
        TicketRound(n, 1 - 0.5**n, round(1000 * 0.5**n), {metric: value}, metric, value)
        for n, value in enumerate(values)
    )
    return TicketReport(
        rounds, 1000, higher_is_better(metric), "weights", "init", 0.5, "magnitude", "2:4", "global", 0, Records(None)
    )


def test_best_is_the_sparsest_within_the_drop() -> None:
    report = report_of([0.90, 0.92, 0.89, 0.91, 0.5])
    assert report.best().number == 3
    assert report_of([0.90, 0.92, 0.89]).best(0.011).number == 2
    assert report_of([0.90, 0.80]).best().number == 0
    assert report_of([0.90, float("nan")]).best(1.0).number == 0
    assert report_of([2.0, 1.9, 2.1, 3.0], "val_loss").best(0.06).number == 2  # 5 % worse
    with pytest.raises(InputError, match="max_drop must be a number, received 'all'"):
        report.best("all")  # type: ignore[arg-type]


def test_the_table_and_the_json_say_the_same() -> None:
    report = report_of([0.9, float("nan")])
    lines = report.table().splitlines()
    assert lines[0].split() == ["round", "weights", "left", "sparsity", "val_accuracy", "drop"]
    assert lines[2].split() == ["0", "1,000", "0.00%", "0.9000", "0.0000"]
    assert lines[3].split()[:3] == ["1", "500", "50.00%"]
    assert len({len(line) for line in lines}) == 1
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["rounds"][1] == {
        "number": 1,
        "sparsity": 0.5,
        "weights_left": 500,
        "metrics": {"val_accuracy": None},
        "metric": "val_accuracy",
        "value": None,
    }
    assert document["weights"] == 1000
    assert document["rewind_to"] == "init"
