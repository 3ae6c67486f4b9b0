"""Slices, splits and takes: which channels are taken, and where they are among the kept ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_oracle import check, frozen_reasons, group_sizes
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops
from small_models import check_at_both_ratios, image_model, train_save_load

from edgeprune.graph.context import Context
from edgeprune.graph.rules.slicing import _kept_entry, _unite_steps

pytestmark = pytest.mark.keras

Body = Callable[[Any], Any]


@given(
    st.integers(1, 12),
    st.integers(-12, 12) | st.none(),
    st.integers(-12, 12) | st.none(),
    st.sampled_from([None, 1, 2, 3, -1]),
    st.data(),
)
def test_a_slice_of_the_kept_channels_takes_the_kept_ones(
    length: int, start: int | None, stop: int | None, step: int | None, data: st.DataObject
) -> None:
    """For every mask that respects the unions: kept[new slice] == the kept ones of all[old slice]."""
    channels, context, taken = np.arange(1, length + 1), Context(), slice(start, stop, step)
    _unite_steps(channels, taken, context)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
    for _ in range(length):  # united channels go together
        for left, right in context.edges:
            np.logical_and.at(mask, right - 1, mask[left - 1])
            np.logical_and.at(mask, left - 1, mask[right - 1])
    expected = [channel for channel in channels[taken] if mask[channel - 1]]
    assert channels[mask][_kept_entry(taken, mask)].tolist() == expected


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_an_index_points_at_the_same_channel(mask: list[bool], data: st.DataObject) -> None:
    index = data.draw(st.integers(-len(mask), len(mask) - 1))
    mask[index] = True  # the channel is frozen
    channels = np.arange(len(mask))
    assert channels[np.array(mask)][_kept_entry(index, np.array(mask))] == channels[index]


CASES: dict[str, tuple[Body, list[int]]] = {
    # units of the groups that the 8 channels of "a" fall into
    "first half": (lambda x: x[..., :4], [4, 4]),
    "steps of two": (lambda x: x[..., ::2], [4]),
    "odd places": (lambda x: x[..., 1::2], [4]),
    "odd and even": (lambda x: ops.concatenate([2.0 * x[..., ::2], x[..., 1::2]], axis=-1), [4]),
    "reversed": (lambda x: x[..., ::-1], [8]),
    "part reversed": (lambda x: x[..., 6:1:-1], [3, 5]),
    "other axes": (lambda x: x[:, 1:5, ::2], [8]),
    "an index elsewhere": (lambda x: x[:, 2][:, None], [8]),
    "split in four": (lambda x: ops.concatenate([ops.relu(p) for p in ops.split(x, 4, axis=-1)], -1), [2, 2, 2, 2]),
    "split at places": (lambda x: ops.concatenate(ops.split(x, [3, 5], axis=-1)[::-1], -1), [2, 3, 3]),
    "gated halves": (lambda x: (lambda left, right: left * ops.sigmoid(right))(*ops.split(x, 2, axis=-1)), [4]),
    "split elsewhere": (lambda x: ops.add(*ops.split(x, 2, axis=1)), [8]),
    "taken": (lambda x: ops.take(x, np.array([5, 0, 2, 2]), axis=-1), [1, 2, 5]),
    "taken from the end": (lambda x: ops.take(x, np.array([-1, -2]), axis=-1), [2, 6]),
    "taken elsewhere": (lambda x: ops.take(x, np.array([5, 0]), axis=1), [8]),
    "unstacked elsewhere": (lambda x: ops.add(*ops.unstack(x, axis=1)[:2])[:, None], [8]),
}


@pytest.mark.parametrize(("body", "units"), CASES.values(), ids=CASES)
def test_groups_and_oracle(body: Body, units: list[int]) -> None:
    sizes = group_sizes(image_model(body))
    assert sizes.pop("b") == 5
    assert sorted(sizes.values()) == units
    assert frozen_reasons(image_model(body)) == {}
    check_at_both_ratios(lambda: image_model(body))


def test_a_channel_taken_out_alone_stays() -> None:
    def body(x: Any) -> Any:
        return ops.concatenate([x, ops.expand_dims(x[..., 3], -1)], axis=-1)

    assert group_sizes(image_model(body)) == {"a": 7, "b": 5}
    assert list(frozen_reasons(image_model(body)).values()) == ["a single channel is taken out"]
    check_at_both_ratios(lambda: image_model(body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda x: ops.stack(ops.unstack(x, axis=-1)[:3], axis=-1), "unstacks the channels"),
        (lambda x: x[..., ::-2], "a slice of the channels with a negative step"),
    ],
)
def test_what_is_not_covered_freezes(body: Body, reason: str) -> None:
    assert group_sizes(image_model(body)) == {"b": 5}
    assert list(frozen_reasons(image_model(body)).values()) == [reason]
    check(image_model(body))


def test_comparing_channels_freezes_them() -> None:
    def body(x: Any) -> Any:
        return layers.Concatenate()([x, ops.cast(ops.expand_dims(ops.argmax(x, axis=-1), -1), "float32")])

    assert group_sizes(image_model(body)) == {"b": 5}
    check(image_model(body))


def test_sliced_models_train_and_load(tmp_path: Path) -> None:
    def body(x: Any) -> Any:
        x = ops.concatenate([x[..., :3], ops.relu(x[..., 3:])], axis=-1)
        first, second = ops.split(x, [5], axis=-1)
        return ops.concatenate([second, first, ops.take(x, np.array([1, 6]), axis=-1)], axis=-1)

    train_save_load(check(image_model(body)), tmp_path)
