"""10,000 damaged files over `lint` and `inspect`: an answer or an InputError, quickly. Too slow for the unit tier."""

import json
import time

import numpy as np
import pytest

from edgeprune.cost.file_latency import predict_file
from edgeprune.cost.memory import predict_ram
from edgeprune.errors import InputError
from edgeprune.target import load_target
from edgeprune.tflite.encodings import compare_encodings
from edgeprune.tflite.flatbuffer import parse_model
from edgeprune.tflite.inspect import summarize
from edgeprune.tflite.lint import lint_model

pytestmark = pytest.mark.keras

FILES = 10_000
SLOWEST_SECS = 5.0


@pytest.fixture(scope="module")
def converted() -> tuple[bytes, ...]:
    """A small network as the converter writes it: sparse, and in full int8."""
    import keras
    import tensorflow as tf
    from keras import layers

    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3), batch_size=1)
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(layers.ZeroPadding2D(1)(image))
    x = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(8, 1)(x))
    gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    network = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Multiply()([x, gate]))))
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D) and layer.kernel_size == (1, 1):
            layer.set_weights([np.where(np.abs(layer.get_weights()[0]) > 0.5, 1, 0), layer.get_weights()[1]])
    sparse = tf.lite.TFLiteConverter.from_keras_model(network)
    sparse.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    integer = tf.lite.TFLiteConverter.from_keras_model(network)
    integer.optimizations = [tf.lite.Optimize.DEFAULT]
    integer.representative_dataset = lambda: ([np.ones((1, 8, 8, 3), np.float32)] for _ in range(2))
    return sparse.convert(), integer.convert()


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """A cut, flipped bytes, flipped bits, a huge number, or a part copied over another."""
    kind, size = generator.integers(6), len(content)
    if kind == 0:
        return content[: generator.integers(8, size)]
    mutated = bytearray(content)
    at = int(generator.integers(8, size - 8))
    if kind == 1:
        mutated[at : at + 4] = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, size)[generator.integers(4)].to_bytes(4, "little")
    elif kind == 2:
        length = int(generator.integers(1, 200))
        source = int(generator.integers(0, size - length))
        mutated[at : at + length] = content[source : source + length]
        del mutated[size:]
    else:
        for position in generator.integers(8, size, generator.integers(1, 5)):
            mutated[position] ^= 1 << generator.integers(8) if kind == 3 else generator.integers(1, 256)
    return bytes(mutated)


def test_ten_thousand_mutated_files(converted):
    board = load_target("rpi4")
    generator = np.random.default_rng(11)
    accepted, slowest, messages = 0, 0.0, []
    for number in range(FILES):
        content = mutate(converted[number % len(converted)], generator)
        began = time.perf_counter()
        try:
            model = parse_model(content, "mutated.tflite")
        except InputError as error:
            messages.append(str(error))
        else:
            accepted += 1
            summarize(model)
            compare_encodings(model)
            predict_file(model, board)
            predict_ram(model, board)
            result = lint_model(model, board)
            json.dumps([finding.reason for cluster in result.sparse_inference.clusters for finding in cluster.findings])
        slowest = max(slowest, time.perf_counter() - began)
    assert not any("\n" in message for message in messages)
    # Both outcomes must be common, or the mutations test nothing.
    assert FILES / 20 < accepted < FILES * 19 / 20
    assert slowest < SLOWEST_SECS
