"""keras.ops that move, add, drop or repeat axes, reduce them, or multiply activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from keras import layers, ops
from small_models import check_at_both_ratios, image_model, sequence_model, train_save_load

pytestmark = pytest.mark.keras

Body = Callable[[Any], Any]
SCALE = np.arange(1.0, 9.0, dtype=np.float32)


def as_sequence(x: Any) -> Any:
    """(6, 6, 8) -> (36, 8)."""
    return ops.reshape(x, (-1, 36, 8))


# Bodies that let every channel of "a" go alone.
PASSING: dict[str, Body] = {
    "transpose": lambda x: ops.transpose(ops.relu(ops.transpose(x, (0, 3, 1, 2))), (0, 2, 3, 1)),
    "transpose all": lambda x: ops.transpose(ops.transpose(x, (0, 3, 2, 1))[:, ::-1], (0, 2, 3, 1)),
    "move axis": lambda x: ops.moveaxis(ops.moveaxis(x, -1, 1), (1, 2), (3, 1)),
    "swap axes": lambda x: ops.swapaxes(ops.swapaxes(x, 1, 3), 1, -1),
    "expand and squeeze": lambda x: ops.squeeze(ops.expand_dims(x, (1, -1)), (1, -1)),
    "new axis": lambda x: ops.squeeze(x[:, None]),
    "flip channels": lambda x: ops.flip(x, axis=-1),
    "flip rows": lambda x: ops.flip(x, axis=1),
    "roll rows": lambda x: ops.roll(x, 2, axis=1),
    "tile rows": lambda x: ops.tile(x, (1, 2, 1, 1)),
    "tile channels": lambda x: ops.tile(x, (1, 1, 1, 2)),
    "repeat channels": lambda x: ops.repeat(x, 2, axis=-1),
    "repeat rows": lambda x: ops.repeat(x, 2, axis=1),
    "repeat vector": lambda x: layers.RepeatVector(3)(layers.GlobalAveragePooling2D()(x))[:, None],
    "stack on a new last axis": lambda x: ops.reshape(ops.stack([x, ops.relu(x)], axis=-1), (-1, 6, 6, 16)),
    "stack in front": lambda x: ops.mean(ops.stack([x, ops.relu(x)], axis=1), axis=1),
    "broadcast": lambda x: ops.broadcast_to(ops.mean(x, axis=1, keepdims=True), (3, 6, 6, 8)),
    "pad rows": lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 2), (0, 0))),
    "pad rows by reflection": lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 2), (0, 0)), mode="reflect"),
    "pad channels": lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 0), (2, 3)), constant_values=0.5),
    "squeeze and excite": lambda x: (
        x * layers.Dense(8, activation="sigmoid", name="gate")(ops.mean(x, axis=(1, 2), keepdims=True))
    ),
    "instance normalization": lambda x: (
        (x - ops.mean(x, (1, 2), keepdims=True)) * ops.rsqrt(ops.var(x, (1, 2), keepdims=True) + 1e-3)
    ),
    "moments": lambda x: ops.subtract(x, ops.moments(x, axes=(1, 2), keepdims=True)[0]),
    "minimum and maximum": lambda x: x - ops.max(x, axis=1, keepdims=True) + ops.min(x, axis=2, keepdims=True),
    "norm over rows": lambda x: x / (1.0 + ops.norm(x, axis=(1, 2), keepdims=True)),
    "log sum of exponents": lambda x: x - ops.logsumexp(x, axis=1, keepdims=True),
    "softmax over rows": lambda x: ops.softmax(x, axis=1),
    "softmax layer over rows": lambda x: layers.Softmax(axis=1)(x),
    "cumulative sum": lambda x: ops.cumsum(x, axis=2),
    "sort rows": lambda x: ops.sort(x, axis=1),
    "argmax over rows": lambda x: x + ops.cast(ops.argmax(x, axis=1, keepdims=True), "float32"),
    "constants": lambda x: x * SCALE + SCALE[::-1].copy(),
    "constant along rows": lambda x: x + np.arange(36, dtype=np.float32).reshape(6, 6, 1),
    "where": lambda x: ops.where(x > SCALE / 9, x, 0.1 * x),
    "power": lambda x: ops.power(ops.abs(x) + 1.0, 0.5) / (2.0 + ops.sqrt(ops.abs(x))),
    "functions": lambda x: ops.gelu(ops.clip(x, -1, 1)) + ops.exp(-ops.square(x)) * ops.log1p(ops.softplus(x)),
    "comparisons": lambda x: x * ops.cast(ops.logical_and(x > 0, x < SCALE), "float32"),
    "resize": lambda x: ops.image.resize(x, (9, 9)),
    "max pool": lambda x: ops.max_pool(x, 2),
    "graph of positions": lambda x: ops.reshape(
        ops.matmul(ops.softmax(ops.ones((1, 36, 36)) * 0.1), as_sequence(x)), (-1, 6, 6, 8)
    ),
}


@pytest.mark.parametrize("body", PASSING.values(), ids=PASSING)
def test_channels_pass(body: Body) -> None:
    def build() -> Any:
        return image_model(body)

    sizes = group_sizes(build())
    assert (sizes["a"], sizes["b"]) == (8, 5)
    assert len(sizes) == 2
    assert frozen_reasons(build()) == {}
    check_at_both_ratios(build)


# Bodies whose result would change with a removed channel even when nothing reads it.
MIXING: dict[str, tuple[Body, str]] = {
    "mean": (lambda x: x + ops.mean(x, axis=-1, keepdims=True), "mean over the channels"),
    "maximum": (lambda x: x * ops.max(x, axis=-1, keepdims=True), "max over the channels"),
    "variance of all": (lambda x: x * ops.var(x, axis=(1, 2, 3), keepdims=True), "var over the channels"),
    "softmax": (lambda x: ops.softmax(x), "softmax over the channels"),
    "softmax layer": (lambda x: layers.Softmax()(x), "softmax over the channels"),
    "cumulative sum": (lambda x: ops.cumsum(x, axis=-1), "cumsum over the channels"),
    "roll": (lambda x: ops.roll(x, 2, axis=-1), "rolls the channels"),
    "pad by reflection": (
        lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1)), mode="reflect"),
        "pads the channels with mode reflect",
    ),
    "gram matrix": (
        lambda x: (lambda f: ops.matmul(f, ops.transpose(f, (0, 2, 1)))[..., None])(as_sequence(x)),
        "summed over in a product of two activations",
    ),
    "matrix of constants": (
        lambda x: ops.matmul(x, np.ones((8, 4), np.float32)),
        "summed over in a product of two activations",
    ),
}


@pytest.mark.parametrize(("body", "reason"), MIXING.values(), ids=MIXING)
def test_mixed_channels_stay(body: Body, reason: str) -> None:
    assert group_sizes(image_model(body)) == {"b": 5}
    assert reason in frozen_reasons(image_model(body)).values()
    check(image_model(body))


def test_padded_channels_go_with_what_is_added_to_them() -> None:
    """ResNet's shortcut without weights: 4 channels padded to 8 and added to 8."""

    def body(x: Any) -> Any:
        return x + ops.pad(layers.Conv2D(4, 1, name="narrow")(x), ((0, 0), (0, 0), (0, 0), (2, 2)))

    sizes = group_sizes(image_model(body))
    assert sizes.pop("b") == 5
    assert sorted(sizes.values()) == [4, 4]  # the four that are padded, the four that are not
    check_at_both_ratios(lambda: image_model(body))


def test_channels_may_lie_in_a_product() -> None:
    """softmax(positions x positions) x (positions, channels): positions are summed over, channels stay apart."""

    def body(x: Any) -> Any:
        flat = as_sequence(x)
        scores = ops.softmax(layers.Dense(36, name="scores")(flat))
        return ops.reshape(ops.einsum("bts,bsc->btc", scores, flat), (-1, 6, 6, 8))

    model = image_model(body)
    assert group_sizes(model) == {"a": 8, "b": 5}  # "scores" has a softmax over its units
    assert "softmax over the channels" in frozen_reasons(model).values()
    check(model)


@pytest.mark.parametrize(
    ("body", "units"),
    [
        # Both operands are multiplied position by position along c: their channels go together.
        (lambda x, y: ops.einsum("btc,bsc->btsc", x, y)[:, 0], [8]),
        (lambda x, y: ops.einsum("...c,...c->...c", x, y), [8]),
        # The channels of c and d would both lie in the result; the Dense layer behind it takes those on its last axis.
        (lambda x, y: ops.einsum("btc,btd->bcd", x, y), [8]),
        (lambda x, y: layers.Dot((1, 1))([x, y]), [8]),
        (lambda x, y: layers.Dot((2, 2))([x, y]), []),
    ],
)
def test_products_of_two_activations(body: Callable[[Any, Any], Any], units: list[int]) -> None:
    def build() -> Any:
        return sequence_model(lambda s: body(layers.Dense(8, name="x")(s), layers.Dense(8, name="y")(s)))

    assert sorted(group_sizes(build()).values()) == units
    check_at_both_ratios(build)


def test_operations_on_the_batch_freeze() -> None:
    model = image_model(lambda x: ops.flip(ops.concatenate([x, x], axis=0), axis=0))
    assert group_sizes(model) == {"b": 5}
    assert "concatenation along the batch" in frozen_reasons(model).values()


def test_every_operation_of_the_table_exists() -> None:
    from importlib import import_module

    from edgeprune.graph.rules.table import OPERATION_FAMILIES

    for module, families in OPERATION_FAMILIES.items():
        names = [name for _, listed in families for name in listed.split()]
        assert len(set(names)) == len(names)
        present = [name for name in names if hasattr(import_module(f"keras.src.ops.{module}"), name)]
        assert present == names


def test_models_of_operations_train_and_load(tmp_path: Path) -> None:
    def body(x: Any) -> Any:
        x = ops.pad(x * SCALE, ((0, 0), (1, 1), (0, 0), (0, 2)))
        return ops.transpose(ops.tile(ops.transpose(x, (0, 3, 1, 2)), (1, 2, 1, 1)), (0, 2, 3, 1))

    pruned = check(image_model(body))
    assert isinstance(pruned.smaller, keras.Model)
    train_save_load(pruned, tmp_path)
