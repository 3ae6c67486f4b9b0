"""A search that was interrupted goes on as if nothing had happened, and no other search takes its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.rewind import find_ticket
from tests.sparsity.tickets.cases import X, Y, arrays, fit, model, plain_fit, same

pytestmark = pytest.mark.keras


class PowerCut(Exception):
    """What a crash inside the user's training looks like."""


def failing_in(number: int, train: Callable[..., Any]) -> tuple[Callable[..., Any], list[int]]:
    """`train`, which fails half-way through the given call; and the calls so far."""
    calls: list[int] = []

    def cut(model: Any, callbacks: list[Any], initial_epoch: int = 0) -> Any:
        calls.append(len(calls))
        if len(calls) - 1 == number:
            model.fit(X, Y, epochs=1, verbose=0, callbacks=callbacks)
            raise PowerCut
        return train(model, callbacks, initial_epoch)

    return cut, calls


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize(
    ("rewind_to", "mode", "criterion", "cut_in"),
    [
        ("init", "weights", "magnitude", 2),
        ("init", "weights", "magnitude", 0),
        ("step:6", "weights", "magnitude", 2),
        ("epoch:1", "learning_rate", "taylor", 1),
    ],
)
def test_an_interrupted_search_ends_like_an_undisturbed_one(
    rewind_to: str, mode: str, criterion: str, cut_in: int, same_process: bool, tmp_path: Path
) -> None:
    options = {"rewind_to": rewind_to, "mode": mode, "criterion": criterion, "fraction": 0.5}
    reference = model()
    expected = find_ticket(reference, fit, 2, **options)

    net = model()
    cut, _ = failing_in(cut_in, fit)
    with pytest.raises(PowerCut):
        find_ticket(net, cut, 2, folder=tmp_path / "t", **options)
    again = net if same_process else model()
    whole, calls = failing_in(-1, fit)
    report = find_ticket(again, whole, 2, folder=tmp_path / "t", **options)
    assert len(calls) == 3 - cut_in
    assert report == expected
    assert same(arrays(again.variables), arrays(reference.variables))


def test_a_finished_search_is_not_trained_again(tmp_path: Path) -> None:
    net = model()
    first = find_ticket(net, fit, 1, 0.5, folder=tmp_path)
    other = model()
    train, calls = failing_in(-1, fit)
    assert find_ticket(other, train, 1, 0.5, folder=tmp_path) == first
    assert find_ticket(net, train, 1, 0.5, folder=tmp_path) == first
    assert calls == []
    assert same(arrays(other.variables), arrays(net.variables))
    plain_fit(other, [])
    assert [np.count_nonzero(layer.kernel) for layer in (other.layers[0], other.layers[-1])] == [
        np.count_nonzero(layer.kernel) for layer in (net.layers[0], net.layers[-1])
    ]
    assert sum(np.count_nonzero(layer.kernel) for layer in (other.layers[0], other.layers[-1])) == 15


@pytest.mark.parametrize("in_folder", [True, False])
def test_rounds_are_restored_with_their_masks(in_folder: bool, tmp_path: Path) -> None:
    ends: list[list[np.ndarray]] = []

    def train(model: Any, callbacks: list[Any]) -> Any:
        result = plain_fit(model, callbacks)
        ends.append(arrays(model.variables))
        return result

    net = model()
    report = find_ticket(net, train, 2, 0.5, folder=tmp_path if in_folder else None)
    other = model()
    for target in (net, other):
        for number in (1, 0, 2):
            assert report.restore(target, number) is target
            assert same(arrays(target.variables), ends[number])
            plain_fit(target, [])
            left = sum(np.count_nonzero(layer.kernel) for layer in (target.layers[0], target.layers[-1]))
            assert left == (30, 15, 7)[number]
    with pytest.raises(InputError, match="there is no round 3; the search has rounds 0 \\(dense\\) to 2"):
        report.restore(net, 3)
    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(InputError, match="has other variables"):
        report.restore(small, 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fraction": 0.3}, "with fraction 0.5 instead of 0.3"),
        ({"rounds": 2}, "with rounds 1 instead of 2"),
        ({"rewind_to": "epoch:1"}, "with rewind_to 'init' instead of 'epoch:1'"),
        ({"criterion": "random"}, "with criterion 'Magnitude()' instead of 'Random()'"),
        ({"include": "first"}, "the kernels of include and exclude: '2 of them' instead of '1 of them'"),
        ({"model": "wide"}, "the variables of the model: 'kernel (4, 5) float32' instead of 'kernel (4, 6) float32'"),
        ({"model": "sgd"}, "the optimizer: 'Adam with 14 variables' instead of 'SGD with 2 variables'"),
    ],
)
def test_another_search_is_refused(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    cut, _ = failing_in(0, fit)
    with pytest.raises(PowerCut):
        find_ticket(model(), cut, 1, 0.5, folder=tmp_path)
    kind = change.pop("model", None)
    net = model(keras.optimizers.SGD(0.1)) if kind == "sgd" else model()
    if kind == "wide":
        net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6), keras.layers.Dense(2)])
        net.compile("adam", "mse")
    with pytest.raises(InputError, match=re.escape(named)) as caught:
        find_ticket(net, fit, **{"rounds": 1, "fraction": 0.5, "folder": tmp_path, **change})
    assert "\n" not in str(caught.value)


def test_a_model_with_pruned_weights_is_refused() -> None:
    net = model()
    find_ticket(net, fit, 1, 0.5)
    with pytest.raises(InputError, match='first/kernel" has pruned weights already'):
        find_ticket(net, fit, 1, 0.5)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    find_ticket(model(), fit, 1, 0.5, folder=tmp_path)
    path = tmp_path / "round_001.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=re.escape(f"the record {path} can't be read")) as caught:
        find_ticket(model(), fit, 1, 0.5, folder=tmp_path)
    assert "\n" not in str(caught.value)
