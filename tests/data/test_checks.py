"""Data that don't fit the model are refused with a message that names both sides."""

import numpy as np
import pytest

from edgeprune.data.checks import check_arrays
from edgeprune.errors import InputError
from tests.data.signatures import classifier, regressor, two_by_two

pytestmark = pytest.mark.unit


def _refusal(x, y, signature) -> str:
    with pytest.raises(InputError) as caught:
        check_arrays((x,), (y,), signature, "data")
    message = str(caught.value)
    assert "\n" not in message
    return message


X = np.ones((6, 4), np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])


def test_data_that_fit_pass_in_every_numeric_type():
    for dtype in ("uint8", "int64", "float16", "float64", "bool"):
        check_arrays((X.astype(dtype),), (Y,), classifier(), "data")
    for labels in (Y, Y[:, None], Y.astype(float), np.eye(3)[Y]):
        check_arrays((X,), (labels,), classifier(), "data")


def test_empty():
    assert "x is empty" in _refusal(X[:0], Y[:0], classifier())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_names_the_sample(value):
    bad = X.copy()
    bad[4, 1] = value
    message = _refusal(bad, Y, classifier())
    assert "sample 4" in message
    assert ("NaN" if np.isnan(value) else "infinite") in message
    targets = np.array([0.5, value, 1, 2, 3, 4])
    assert "data: y" in _refusal(X, targets, regressor())


def test_not_finite_is_found_beyond_the_first_chunk(monkeypatch):
    monkeypatch.setattr("edgeprune.data.checks._CHUNK_BYTES", 32)
    bad = X.copy()
    bad[5, 3] = np.nan
    assert "sample 5" in _refusal(bad, Y, classifier())


@pytest.mark.parametrize(
    ("shape", "model", "hint"),
    [
        ((28, 28), (28, 28, 1), "x[..., None]"),
        ((28, 28), (28, 28, 3), "3 channels"),
        ((3, 8, 8), (8, 8, 3), "np.moveaxis(x, 1, -1)"),
        ((8, 8, 1), (8, 8, 3), "1 channels instead of 3"),
        ((9, 9, 3), (8, 8, 3), "resize"),
        ((48,), (4, 4, 3), "x.reshape((-1, 4, 4, 3))"),
        ((5, 1), (5,), "x[..., 0]"),
        ((5,), (7,), "reshape"),
    ],
)
def test_a_wrong_shape_shows_both_and_the_fix(shape, model, hint):
    message = _refusal(np.ones((6, *shape), np.float32), Y, classifier(model))
    assert str(shape) in message
    assert str(model) in message
    assert hint in message


def test_an_open_size_takes_any():
    check_arrays((np.ones((6, 7, 9, 3)),), (Y,), classifier((None, None, 3)), "data")
    assert "(any, any, 3)" in _refusal(np.ones((6, 7, 9, 1)), Y, classifier((None, None, 3)))


def test_different_lengths():
    message = _refusal(X, Y[:5], classifier())
    assert "6" in message
    assert "5" in message


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.arange(10), "labels 0..9, but the model's output has 5 classes"),
        (np.array([1, 2, 3, 4, 5]), "subtract 1"),
        (np.array([0, -1, 2]), "negative label -1"),
        (np.array([0.5, 1, 2]), "not whole numbers (e.g. 0.5)"),
        (np.eye(4)[[0, 1, 2]], "4 values per sample (one-hot?), the model's output has 5"),
        (np.zeros((3, 5, 2)), "labels of shape (5, 2) per sample, the model's output takes (5,)"),
        (np.array(["cat", "dog"]), "only booleans, integers and floats"),
    ],
)
def test_labels_that_do_not_fit_the_output(labels, expected):
    assert expected in _refusal(np.ones((len(labels), 4)), labels, classifier(classes=5))


def test_a_sigmoid_unit_knows_two_classes_but_any_fraction():
    assert "labels 0..2" in _refusal(X, Y, regressor(activation="sigmoid"))
    check_arrays((X,), (Y * 10,), regressor(activation="linear"), "data")
    check_arrays((X,), (Y % 2,), regressor(activation="sigmoid"), "data")


def test_parts_are_named_when_there_are_several():
    with pytest.raises(InputError, match=r'x\["right"\] has samples of shape \(2,\)'):
        check_arrays((np.ones((3, 2)), np.ones((3, 2))), (np.zeros(3, int), np.ones(3)), two_by_two(), "data")
