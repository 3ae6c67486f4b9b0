"""One epoch as Keras reads it."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from edgeprune.data.arrays import ArraySplit
from edgeprune.data.signature import signature_of

pytestmark = pytest.mark.keras

ORDER = """
import numpy as np
from edgeprune.data.arrays import ArraySplit
from edgeprune.data.signature import Port, Signature
signature = Signature((Port("x", (1,), "float32"),), (Port("y", (1,), "float32"),))
split = ArraySplit.checked((np.arange(20)[:, None],), (np.arange(20),), signature)
print([int(value) for x, _ in split.epoch(6, 7) for value in x[:, 0]])
"""


class Recorder(keras.layers.Layer):
    """Remembers the inputs of every training step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x):
        self.seen.append(np.asarray(x)[:, 0].tolist())
        return x


def _split(count=20):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    return ArraySplit.checked((np.arange(count)[:, None],), (np.arange(count),), signature_of(model))


def test_an_epoch_holds_every_sample_once_in_a_seeded_order():
    split = _split()
    assert len(split.epoch(6, None)) == 4
    plain = [value for x, _ in split.epoch(6, None) for value in x[:, 0]]
    assert plain == list(range(20))
    shuffled = [value for x, _ in split.epoch(6, 7) for value in x[:, 0]]
    assert shuffled != plain
    assert sorted(shuffled) == plain
    assert shuffled != [value for x, _ in split.epoch(6, 8) for value in x[:, 0]]
    assert all((x == y).all() for x, y in split.epoch(6, 7))


def test_the_order_is_the_same_in_another_process():
    here = [int(value) for x, _ in _split().epoch(6, 7) for value in x[:, 0]]
    out = subprocess.run([sys.executable, "-c", ORDER], capture_output=True, text=True, timeout=120, check=True).stdout
    assert out.strip().splitlines()[-1] == str(here)


def test_fit_sees_the_order_it_is_given():
    split = _split()
    recorder = Recorder()
    model = keras.Sequential([keras.Input((1,)), recorder, layers.Dense(1)])
    recorder.seen.clear()
    model.compile(loss="mse", run_eagerly=True)
    model.fit(split.epoch(6, 7), epochs=1, verbose=0, shuffle=False)
    seen = [value for batch in recorder.seen for value in batch]
    assert seen == [value for x, _ in split.epoch(6, 7) for value in x[:, 0]]


@pytest.mark.parametrize("by_name", [False, True])
def test_fit_takes_several_inputs_and_outputs(by_name):
    left, right = keras.Input((2,), name="left"), keras.Input((3,), name="right")
    joined = layers.Concatenate()([left, right])
    kind, age = layers.Dense(4, name="kind", activation="softmax")(joined), layers.Dense(1, name="age")(joined)
    if by_name:
        model = keras.Model({"right": right, "left": left}, {"kind": kind, "age": age})
    else:
        model = keras.Model([left, right], [kind, age])
    signature = signature_of(model)
    x = {"left": np.ones((6, 2)), "right": np.ones((6, 3))}
    y = {"kind": np.arange(6) % 4, "age": np.arange(6)}
    split = ArraySplit.checked(
        tuple(x[port.name] for port in signature.inputs), tuple(y[port.name] for port in signature.outputs), signature
    )
    losses = {"kind": "sparse_categorical_crossentropy", "age": "mse"}
    model.compile(loss=[losses[port.name] for port in signature.outputs], optimizer="sgd")
    history = model.fit(split.epoch(4, 0), verbose=0, shuffle=False).history
    assert {"kind_loss", "age_loss"} <= set(history)
