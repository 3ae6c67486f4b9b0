"""The recorded state of a fine-tuning run: read back as written, or refused whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.recover.checkpoint import Progress, restore, save

pytestmark = pytest.mark.unit


class Variable:
    """Stands for a Keras variable."""

    def __init__(self, value: np.ndarray, path: str) -> None:
        self.value = value
        self.shape = value.shape
        self.path = path

    def assign(self, value: np.ndarray) -> None:
        self.value = np.array(value)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.value, dtype=dtype)


def variables(fill: float) -> list[Variable]:
    return [
        Variable(np.full((2, 3), fill, dtype=np.float32), "dense/kernel"),
        Variable(np.full((2,), fill, dtype=np.uint32), "dropout/seed"),
        Variable(np.array(fill, dtype=np.int64), "adam/iteration"),
    ]


BEST = [np.arange(6, dtype=np.float32).reshape(2, 3)]


def test_what_was_saved_comes_back(tmp_path):
    path = tmp_path / "training.npz"
    written = Progress(3, 1, (0.5, 0.75, math.inf))
    save(path, written, variables(7.0), BEST)
    found = variables(0.0)
    progress, best = restore(path, found, 1)
    assert progress == written
    for mine, theirs in zip(found, variables(7.0), strict=True):
        np.testing.assert_array_equal(mine.value, theirs.value)
        assert mine.value.dtype == theirs.value.dtype
    np.testing.assert_array_equal(best[0], BEST[0])
    assert [entry.name for entry in tmp_path.iterdir()] == ["training.npz"]


def test_a_metric_that_is_not_a_number_survives(tmp_path):
    save(tmp_path / "s.npz", Progress(1, 0, (0.5, math.nan)), variables(1.0), BEST)
    progress, _ = restore(tmp_path / "s.npz", variables(0.0), 1)
    assert progress.metrics[0] == 0.5
    assert math.isnan(progress.metrics[1])


def test_saving_replaces_the_earlier_state(tmp_path):
    for epoch in (1, 2):
        save(tmp_path / "s.npz", Progress(epoch, 0, (0.5,)), variables(float(epoch)), BEST)
    found = variables(0.0)
    assert restore(tmp_path / "s.npz", found, 1)[0].epochs_done == 2
    assert found[2].value == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"\x93NUMPY"])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path, content):
    path = tmp_path / "training.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"training\.npz is damaged \(.*--fresh$") as caught:
        restore(path, variables(0.0), 1)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_refused_or_harmless(tmp_path, data):
    """Bytes changed or the end lost: either the values are those that were saved, or nothing is touched."""
    path = tmp_path / "s.npz"
    save(path, Progress(1, 1, (0.5,)), variables(7.0), BEST)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    found = variables(1.0)
    try:
        restore(path, found, 1)
        expected = variables(7.0)
    except InputError:
        expected = variables(1.0)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine.value, theirs.value)


def test_the_state_of_another_model_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "s.npz"
    save(path, Progress(1, 1, (0.5,)), variables(7.0), BEST)
    other = [*variables(1.0)[:2], Variable(np.zeros(4), "adam/momentum")]
    with pytest.raises(InputError, match=r"s\.npz is damaged \(shape \(\) where adam/momentum has \(4,\)"):
        restore(path, other, 1)
    assert other[0].value.tolist() == np.ones((2, 3)).tolist()
    with pytest.raises(InputError, match="it has no 'now_3'"):
        restore(path, [*variables(1.0), Variable(np.zeros(1), "more")], 1)
    with pytest.raises(InputError, match="it has no 'best_1'"):
        restore(path, variables(1.0), 2)
