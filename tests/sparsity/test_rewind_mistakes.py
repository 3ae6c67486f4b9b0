"""What can't be used is refused in one line, before training where it can be known."""

from __future__ import annotations

import re
from typing import Any

import keras
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.rewind import find_ticket
from tests.sparsity.tickets.cases import X, Y, fit, model, plain_fit

pytestmark = pytest.mark.keras


def never(model: Any, callbacks: list[Any]) -> None:
    raise AssertionError("it was trained")


def alone(model: Any) -> None:
    raise AssertionError("it was trained")


def refused(net: Any, train: Any, *arguments: Any, match: str, **options: Any) -> None:
    with pytest.raises(InputError, match=re.escape(match)) as caught:
        find_ticket(net, train, *arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rounds": 0}, "rounds must be a whole number of prunings of at least 1, received 0"),
        ({"rounds": 1.5}, "rounds must be"),
        ({"fraction": 0}, "fraction must be above 0 and below 1"),
        ({"fraction": 1}, "received 1"),
        ({"fraction": "half"}, "received 'half'"),
        ({"rewind_to": "epoch"}, 'rewind_to must be "init", "epoch:K"'),
        ({"rewind_to": "epoch:1.5"}, "Received: 'epoch:1.5'"),
        ({"rewind_to": -1}, "Received: -1"),
        ({"rewind_to": True}, "Received: True"),
        ({"rewind_to": None}, "Received: None"),
        ({"mode": "weight"}, "unknown mode 'weight'; did you mean \"weights\"?"),
        ({"scope": "all"}, "unknown scope 'all'; allowed: layer, global"),
        ({"pattern": "channels"}, 'pattern="channels" is not for tickets'),
        ({"pattern": "4:2"}, "N:M needs 1 <= N < M"),
        ({"criterion": "magnitud"}, 'did you mean "magnitude"?'),
        ({"criterion": "movement"}, '"movement" lets pruned weights come back'),
        ({"criterion": "snip"}, '"snip" needs data'),
        ({"include": "frist"}, 'did you mean "first"?'),
        ({"min_weights": -1}, "min_weights must be a whole number"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"evaluate": 3}, "evaluate must be a function of the model. Received: 3"),
    ],
)
def test_arguments(options: dict[str, Any], match: str) -> None:
    refused(model(), never, match=match, **{"rounds": 2, **options})


def test_models() -> None:
    refused("net.keras", never, 1, match="model must be a Keras model. Received: 'net.keras'")
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    refused(unbuilt, never, 1, match="is not compiled")
    unbuilt.compile("sgd", "mse")
    refused(unbuilt, never, 1, match="is not built")
    refused(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), never, 1, match="is not compiled")


def test_fits() -> None:
    refused(model(), "train", 1, match="fit must be a function")
    refused(model(), alone, 1, rewind_to="epoch:1", match='rewind_to="epoch:1" needs a fit that takes callbacks')
    refused(model(), lambda a, b, c: None, 1, match="can't be called as fit(model, callbacks)")


def test_a_folder_that_is_a_file(tmp_path: Any) -> None:
    (tmp_path / "t").write_text("")
    refused(model(), never, 1, folder=tmp_path / "t", match="can't be made")


@pytest.mark.parametrize("point", ["epoch:4", "step:13", 100])
def test_a_point_beyond_the_training_ends_the_search_after_round_0(point: str | int) -> None:
    match = "is beyond the training, which had 3 epochs and 12 steps"
    refused(model(), fit, 1, rewind_to=point, match=match)


def test_a_fit_that_keeps_the_callbacks_to_itself() -> None:
    def deaf(model: Any, callbacks: list[Any]) -> Any:
        return model.fit(X, Y, verbose=0)

    refused(model(), deaf, 1, rewind_to="step:1", match="they were not called; pass them on")


def test_a_fit_that_compiles_anew_can_only_rewind_to_init() -> None:
    def train(model: Any, callbacks: list[Any]) -> Any:
        model.compile("sgd", "mse")
        return model.fit(X, X[:, :2], verbose=0, callbacks=callbacks)

    refused(model(), train, 1, rewind_to="epoch:1", match="the optimizer can't be rewound to epoch:1")
    refused(model(), train, 1, criterion="taylor", match="gradients went unseen")


def test_a_step_inside_an_execution_of_several() -> None:
    net = model(steps_per_execution=3)
    refused(net, plain_fit, 1, rewind_to="step:2", match='rewind_to="step:2" is inside an execution of several steps')


def test_nothing_that_judges_a_round() -> None:
    def silent(model: Any) -> None:
        model.fit(X, Y, verbose=0)

    refused(model(), silent, 1, match="nothing judges round 0: fit gave no metrics; return the History")
    refused(model(), fit, 1, evaluate=lambda net: "good", match="evaluate(model) must return one number")


def test_an_optimizer_that_can_not_be_made_anew() -> None:
    class Rate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> float:
            return 0.1

    net = model(keras.optimizers.SGD(Rate()))
    assert len(find_ticket(net, fit, 1).rounds) == 2  # as new as it is
    other = model(keras.optimizers.SGD(Rate()))
    other.fit(X, Y, verbose=0)
    refused(other, never, 1, match="was trained before and can't be made anew from its config")
