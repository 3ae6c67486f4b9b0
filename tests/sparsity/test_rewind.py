"""Tickets: exact counts, zeros that stay, and what each way of rewinding restores, bit for bit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgeprune.sparsity.freeze import is_frozen
from edgeprune.sparsity.rewind import find_ticket
from edgeprune.sparsity.weights import prunable_weights
from tests.sparsity.optimizer_cases import CASES, Case
from tests.sparsity.tickets import cases
from tests.sparsity.tickets.cases import (
    EPOCHS,
    STEPS,
    Watched,
    arrays,
    fit,
    kernels,
    kernels_of,
    masks_of,
    model,
    plain_fit,
    same,
)

pytestmark = pytest.mark.keras


def left(report: Any) -> list[int]:
    return [one.weights_left for one in report.rounds]


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [
        # 20 and 10 weights. Half: 10 + 5 gone, then 15 + round(7.5) = 8, then round(17.5) = 18 + round(8.75) = 9
        (0.5, [30, 15, 7, 3]),
        # a fifth: 4 + 2 gone, then round(7.2) + round(3.6) = 7 + 4, then round(9.76) + round(4.88) = 10 + 5
        (0.2, [30, 24, 19, 15]),
    ],
)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_counts_by_hand(fraction: float, counts: list[int], scope: str) -> None:
    net = model()
    report = find_ticket(net, plain_fit, 3, fraction, scope=scope)
    assert left(report) == counts
    assert [one.sparsity for one in report.rounds] == pytest.approx([1 - n / 30 for n in counts])
    assert [one.number for one in report.rounds] == [0, 1, 2, 3]
    assert sum(np.count_nonzero(kernel) for kernel in kernels(net)) == counts[-1]
    if scope == "layer":
        assert [np.count_nonzero(kernel) for kernel in kernels(net)] == ([2, 1] if fraction == 0.5 else [10, 5])


def test_a_global_round_removes_the_smallest_trained_weights() -> None:
    net = model()
    watched = Watched()
    find_ticket(net, watched, 1, 0.5)
    masks = masks_of(watched.starts[1])
    trained = [np.abs(value) for value in kernels_of(watched.ends[0])]
    kept = np.concatenate([value[mask] for value, mask in zip(trained, masks, strict=True)])
    gone = np.concatenate([value[~mask] for value, mask in zip(trained, masks, strict=True)])
    assert len(gone) == 15
    assert gone.max() < kept.min()


def test_min_weights_stay_in_each_kernel() -> None:
    net = model()
    find_ticket(net, plain_fit, 4, 0.6, min_weights=4)
    # round(20 * 0.9744) + round(10 * 0.9744) = 19 + 10 should go, but 4 stay in each
    assert [np.count_nonzero(kernel) for kernel in kernels(net)] == [4, 4]


def test_n_of_m_is_reached_in_the_last_round() -> None:
    net = model()
    report = find_ticket(net, plain_fit, 2, 0.5, pattern="2:4", include="first")
    # (4, 5): five groups of four along the inputs, ten weights may go. Half, then three quarters: two thirds of the
    # way after round 1, round(6.67) = 7
    assert left(report) == [20, 13, 10]
    assert np.count_nonzero(net.layers[0].kernel, axis=0).tolist() == [2] * 5


def test_blocks_go_together() -> None:
    net = model()
    report = find_ticket(net, plain_fit, 1, 0.5, pattern="1x2", include="first")
    assert left(report) == [20, 10]
    pairs = np.asarray(net.layers[0].kernel).T.reshape(-1, 2) != 0
    assert (pairs[:, 0] == pairs[:, 1]).all()


def test_init_restores_all_variables_and_a_new_optimizer() -> None:
    net = model(keras.optimizers.Adam(0.01, amsgrad=True))
    before = arrays(net.variables)
    watched = Watched()
    find_ticket(net, watched, 2, 0.5)
    assert same(watched.starts[0], before)
    for number in (1, 2):
        masks = masks_of(watched.starts[number])
        assert sum(np.count_nonzero(mask) for mask in masks) == (15, 7)[number - 1]
        for variable, initial, now in zip(net.variables, before, watched.starts[number], strict=True):
            assert np.array_equal(now, np.where(now == 0, now, initial)), variable.path
        assert same(watched.optimizers[number], watched.optimizers[0])
    named = dict(zip([v.path for v in net.optimizer.variables], watched.optimizers[1], strict=True))
    assert [float(value) for path, value in named.items() if path.endswith("learning_rate")] == [np.float32(0.01)]
    assert not any(np.any(value) for path, value in named.items() if not path.endswith("learning_rate"))


def test_zeros_hold_in_every_round_and_masks_are_nested() -> None:
    net = model(keras.optimizers.AdamW(0.01, weight_decay=0.1))
    seen: list[list[np.ndarray]] = []

    class EveryStep(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            masks.append([kernel != 0 for kernel in kernels(net)])

    def train(model: Any, callbacks: list[Any]) -> Any:
        masks.clear()
        result = plain_fit(model, [*callbacks, EveryStep()])
        assert all(same(masks[0], one) for one in masks)
        assert len(masks) == EPOCHS * STEPS
        seen.append(masks[0])
        return result

    masks: list[list[np.ndarray]] = []
    find_ticket(net, train, 3, 0.4)
    for before, after in zip(seen, seen[1:], strict=False):
        assert all(not np.any(new & ~old) for old, new in zip(before, after, strict=True))
        assert sum(map(np.count_nonzero, after)) < sum(map(np.count_nonzero, before))
    assert is_frozen(net)
    plain_fit(net, [])
    assert same([kernel != 0 for kernel in kernels(net)], seen[-1])


@pytest.mark.parametrize(
    ("rewind_to", "epochs", "steps"),
    [("epoch:1", 1, STEPS), ("step:6", 1, 6), (6, 1, 6), ("step:8", 2, 8), ("epoch:3", 3, 12)],
)
def test_a_late_point_restores_model_and_optimizer_of_that_point(rewind_to: str | int, epochs: int, steps: int) -> None:
    # Oracle: a callback of the test's own notes the state after that many steps of the same training.
    states: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    net = model()

    class Note(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            states[int(self.model.optimizer.iterations)] = (
                arrays(self.model.variables),
                arrays(self.model.optimizer.variables),
            )

    asked: list[int] = []
    rounds: list[tuple[list[np.ndarray], list[np.ndarray]]] = []

    def train(model: Any, callbacks: list[Any], initial_epoch: int) -> Any:
        asked.append(initial_epoch)
        rounds.append((arrays(model.variables), arrays(model.optimizer.variables)))
        return fit(model, [*callbacks, Note()] if len(rounds) == 1 else callbacks)

    find_ticket(net, train, 1, 0.5, rewind_to)
    assert asked == [0, epochs]
    variables, optimizer = states[steps]
    for variable, then, now in zip(net.variables, variables, rounds[1][0], strict=True):
        kernel = variable.path.endswith("kernel")
        assert np.array_equal(now, np.where(now == 0, now, then) if kernel else then), variable.path
    assert sum(np.count_nonzero(mask) for mask in masks_of(rounds[1][0])) == 15
    assert same(rounds[1][1], optimizer)


def test_initial_epoch_shortens_the_rewound_training() -> None:
    net = model()
    find_ticket(net, fit, 1, 0.5, "epoch:1")
    assert int(net.optimizer.iterations) == EPOCHS * STEPS  # 1 epoch recorded, 2 trained
    net = model()
    find_ticket(net, plain_fit, 1, 0.5, "epoch:1")
    assert int(net.optimizer.iterations) == (1 + EPOCHS) * STEPS


def test_learning_rate_rewinding_keeps_trained_weights() -> None:
    net = model()
    watched = Watched()
    find_ticket(net, watched, 2, 0.5, mode="learning_rate")
    for number in (1, 2):
        for variable, trained, now in zip(net.variables, watched.ends[number - 1], watched.starts[number], strict=True):
            kernel = variable.path.endswith("kernel")
            assert np.array_equal(now, np.where(now == 0, now, trained) if kernel else trained), variable.path
        assert same(watched.optimizers[number], watched.optimizers[0])
    assert not same(watched.starts[1], watched.starts[0])


def test_learning_rate_rewinding_to_a_late_point_restores_its_optimizer() -> None:
    net = model()
    watched = Watched()
    find_ticket(net, watched, 1, 0.5, "step:6", mode="learning_rate")
    iterations = [v.path.endswith("iteration") for v in net.optimizer.variables].index(True)
    assert int(watched.optimizers[1][iterations]) == 6
    kept = masks_of(watched.starts[1])[0]
    assert np.array_equal(kernels_of(watched.starts[1])[0][kept], kernels_of(watched.ends[0])[0][kept])


def test_schedules_start_again_and_lowered_rates_are_put_back() -> None:
    rates: list[list[float]] = []
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([STEPS], [0.1, 0.001])

    def train(model: Any, callbacks: list[Any]) -> Any:
        rates.append([])
        lower = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        note = keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs: rates[-1].append(float(model.optimizer.learning_rate))
        )
        own = [note] if isinstance(model.optimizer._learning_rate, type(schedule)) else [lower, note]
        return plain_fit(model, [*callbacks, *own])

    find_ticket(model(keras.optimizers.SGD(schedule)), train, 2, 0.5)
    assert rates == [pytest.approx([0.1] * (STEPS + 1) + [0.001] * (2 * STEPS - 1))] * 3
    rates.clear()
    find_ticket(model(keras.optimizers.SGD(0.8)), train, 2, 0.5, mode="learning_rate")
    assert rates == [pytest.approx([0.4] * STEPS + [0.2] * STEPS + [0.1] * STEPS)] * 3


def test_an_optimizer_that_was_trained_before_begins_as_new() -> None:
    fresh, used = model(), model()
    used.fit(cases.X, cases.Y, epochs=1, verbose=0)
    for variable, value in zip(used.variables, arrays(fresh.variables), strict=True):
        variable.assign(value)
    first, second = find_ticket(fresh, plain_fit, 1, 0.5), find_ticket(used, plain_fit, 1, 0.5)
    assert first == second
    assert same(arrays(fresh.variables), arrays(used.variables))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_optimizer_is_rewound_to_where_it_was(case: Case) -> None:
    net = model(case.optimizer())
    # Oracle: a dense training of the same model; round 1 prunes so little that nothing goes.
    watched = Watched()
    find_ticket(net, watched, 1, 0.01)
    assert same(watched.ends[0], watched.ends[1])


def test_learning_rate_rewinding_of_an_optimizer_with_weights_of_its_own() -> None:
    net = model(keras.optimizers.ScheduleFreeAdamW(0.01))
    own: list[list[np.ndarray]] = []

    def train(model: Any, callbacks: list[Any]) -> Any:
        own.append(arrays(model.optimizer._momentums))
        assert same(own[-1], arrays(model.trainable_variables))
        return plain_fit(model, callbacks)

    find_ticket(net, train, 1, 0.5, mode="learning_rate")
    assert not same(own[0], own[1])


@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16"])
def test_half_precision(dtype: str, tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, dtype=dtype), keras.layers.Dense(2, dtype=dtype)])
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    report = find_ticket(net, plain_fit, 1, 0.5, "epoch:1", folder=tmp_path / "t")
    assert left(report) == [30, 15]
    after = arrays(net.variables)
    report.restore(net, 0)
    assert not same(arrays(net.variables), after)
    report.restore(net, 1)
    assert same(arrays(net.variables), after)


@pytest.mark.parametrize("criterion", ["taylor", "random"])
def test_other_criteria(criterion: str) -> None:
    net = model()
    watched = Watched()
    assert left(find_ticket(net, watched, 2, 0.5, criterion=criterion)) == [30, 15, 7]
    one, two = masks_of(watched.starts[1]), masks_of(watched.starts[2])
    assert all(not np.any(new & ~old) for old, new in zip(one, two, strict=True))
    assert "apply" not in vars(net.optimizer)


def test_taylor_ranks_by_the_gradients_of_the_round() -> None:
    # Column 0 of the inputs is always 0, so its weights have no gradient: they go first, however large.
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    net.compile(keras.optimizers.SGD(0.001), "mse")
    net.layers[0].kernel.assign([[9.0], [1.0], [1.0], [1.0]])
    x = cases.X * [0, 1, 1, 1]
    find_ticket(net, lambda m: m.fit(x, x.sum(1), verbose=0), 1, 0.25, criterion="taylor")
    assert (np.asarray(net.layers[0].kernel)[:, 0] != 0).tolist() == [False, True, True, True]


def test_steps_per_execution_counts_steps() -> None:
    net = model(steps_per_execution=3)  # 4 steps: an execution of 3 and one of 1
    watched = Watched()
    find_ticket(net, watched, 1, 0.5, "step:7")
    iterations = [v.path.endswith("iteration") for v in net.optimizer.variables].index(True)
    assert int(watched.optimizers[1][iterations]) == 7


def test_fit_may_compile_the_model_anew_for_init() -> None:
    def train(model: Any) -> Any:
        model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
        return model.fit(cases.X, cases.X[:, :2], verbose=0)

    report = find_ticket(model(), train, 2, 0.5)
    assert left(report) == [30, 15, 7]
    assert report.rounds[0].metric == "mae"


def test_a_fit_that_trains_in_several_calls_reaches_a_late_epoch() -> None:
    seen: list[int] = []

    def train(model: Any, callbacks: list[Any]) -> None:
        seen.append(int(model.optimizer.iterations))
        for _ in range(3):
            model.fit(cases.X, cases.Y, batch_size=8, verbose=0, callbacks=callbacks)

    report = find_ticket(model(), train, 1, 0.5, "epoch:2")  # it returns nothing: the logs judge
    assert seen == [0, 2 * STEPS]
    assert report.rounds[1].metric == "accuracy"


def test_evaluate_judges() -> None:
    scores = iter([0.9, 0.95, 0.7])

    def accuracy(net: Any) -> float:
        return next(scores)

    report = find_ticket(model(), plain_fit, 2, 0.5, evaluate=accuracy)
    assert [one.value for one in report.rounds] == [0.9, 0.95, 0.7]
    assert report.rounds[0].metric == "accuracy"
    assert report.best().number == 1
    assert report.best(max_drop=0.3).number == 2


def test_filters_leave_kernels_dense() -> None:
    net = model()
    assert left(find_ticket(net, plain_fit, 1, 0.5, exclude="last")) == [20, 10]
    assert np.count_nonzero(net.layers[-1].kernel) == 10
    assert len(prunable_weights(net)) == 2


def test_one_line_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    find_ticket(model(), plain_fit, 1, 0.5)
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.split(":")[1] for line in lines] == [" round 0 of 1", " round 1 of 1"]
    assert "15 weights left (50.0% sparse), accuracy 0." in lines[1]
