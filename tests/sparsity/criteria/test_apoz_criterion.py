"""APoZ: |w| times the share of nonzero activations, wherever the activation stands."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.errors import InputError
from edgeprune.sparsity.criteria.apoz import Apoz

pytestmark = pytest.mark.keras

# For the kernel (1, -2) ReLU lets channel 0 through for 3 of the 4 samples and channel 1 for one.
X = np.array([[1.0], [2.0], [3.0], [-1.0]], dtype=np.float32)
KERNEL = np.array([[1.0, -2.0]], dtype=np.float32)
EXPECTED = [[0.75, 0.5]]


def first_scores(model, evidence_of, data=None):
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if layer.name == "made":
            layer.set_weights([KERNEL])
    evidence = evidence_of(model, X if data is None else data, batch_size=3)
    number = [weight.layer.name for weight in evidence.weights].index("made")
    return Apoz().bind(evidence).scores()[number]


def made(**options):
    import keras

    return keras.layers.Dense(2, use_bias=False, name="made", **options)


def followed_by(*layers):
    import keras

    return keras.Sequential([keras.Input((1,)), made(), *layers])


def test_the_layers_own_activation(evidence_of):
    import keras

    model = keras.Sequential([keras.Input((1,)), made(activation="relu"), keras.layers.Dense(1)])
    assert first_scores(model, evidence_of).tolist() == EXPECTED


def test_the_activation_layer_that_follows(evidence_of):
    import keras

    layers = keras.layers
    for following in (
        [layers.ReLU()],
        [layers.Activation("relu")],
        [layers.BatchNormalization(), layers.ReLU()],
        [layers.Dropout(0.9), layers.BatchNormalization(), layers.Activation("linear"), layers.Activation("relu")],
    ):
        assert first_scores(followed_by(*following), evidence_of).tolist() == EXPECTED


def test_keras_ops(evidence_of):
    import keras

    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.ops.relu(made()(inputs)))
    assert first_scores(model, evidence_of).tolist() == EXPECTED


def test_batchnorm_moves_what_is_zero(evidence_of):
    """A shift of 4.5 in front of the ReLU: channel 0 (1, 2, 3, -1) is always let through, channel 1 (-2, -4, -6, 2)
    three times of four."""
    import keras

    norm = keras.layers.BatchNormalization(beta_initializer=keras.initializers.Constant(4.5))
    assert first_scores(followed_by(norm, keras.layers.ReLU()), evidence_of).tolist() == [[1.0, 1.5]]


def test_where_no_activation_follows_it_is_the_magnitude(evidence_of):
    import keras

    inputs = keras.Input((1,))
    hidden = made()(inputs)
    twice_read = keras.Model(inputs, keras.layers.ReLU()(hidden) + hidden)
    inputs = keras.Input((1,))
    hidden = made()(inputs)
    also_an_output = keras.Model(inputs, [keras.layers.ReLU()(hidden), hidden])
    for model in (
        followed_by(),
        followed_by(keras.layers.BatchNormalization()),
        followed_by(keras.layers.Dense(1, activation="relu")),
        twice_read,
        also_an_output,
    ):
        assert first_scores(model, evidence_of).tolist() == [[1.0, 2.0]]


def test_a_model_inside_a_model(evidence_of):
    """Only what the inner model reads counts: it gets -x."""
    import keras

    inner = keras.Sequential([keras.Input((1,)), made(), keras.layers.ReLU()])
    middle_inputs = keras.Input((1,))
    middle = keras.Model(middle_inputs, inner(middle_inputs))
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(middle(keras.layers.Rescaling(-1.0)(inputs))))
    assert first_scores(model, evidence_of).tolist() == [[0.25, 1.5]]


def test_a_shared_layer_counts_all_its_calls(evidence_of):
    """x and -x: either channel is let through half of the time."""
    import keras

    layer, relu = made(), keras.layers.ReLU()
    inputs = keras.Input((1,))
    negative = keras.layers.Rescaling(-1.0)(inputs)
    model = keras.Model(inputs, relu(layer(inputs)) + relu(layer(negative)))
    assert first_scores(model, evidence_of).tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize(("data_format", "shape"), [("channels_last", (2, 2, 1)), ("channels_first", (1, 2, 2))])
def test_positions_of_a_convolution(data_format, shape, evidence_of):
    """The four samples as positions of one image."""
    import keras

    conv = keras.layers.Conv2D(2, 1, use_bias=False, data_format=data_format)
    model = keras.Sequential([keras.Input(shape), conv, keras.layers.ReLU()])
    model.set_weights([KERNEL.reshape(1, 1, 1, 2)])
    (found,) = Apoz().bind(evidence_of(model, X.reshape(1, *shape))).scores()
    assert found.tolist() == [[EXPECTED]]


def test_two_output_axes_in_another_order(evidence_of):
    """kernel[i, d, e] makes result[b, e, d]: each has the share of its own channel."""
    import keras

    layer = keras.layers.EinsumDense("bi,ide->bed", output_shape=(3, 2), activation="relu")
    model = keras.Sequential([keras.Input((1,)), layer])
    kernel = np.array([[[1.0, -1.0, 2.0], [-2.0, 4.0, -3.0]]])
    layer.set_weights([kernel])
    (found,) = Apoz().bind(evidence_of(model, X)).scores()
    np.testing.assert_array_equal(found, np.abs(kernel) * np.where(kernel > 0, 0.75, 0.25))


def test_kernels_without_output_channels_count_by_magnitude(evidence_of):
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((2, 2, 1)), layers.DepthwiseConv2D(1, use_bias=False, activation="relu", depth_multiplier=2)]
    )
    model.set_weights([KERNEL.reshape(1, 1, 1, 2)])
    (found,) = Apoz().bind(evidence_of(model, X.reshape(1, 2, 2, 1))).scores()
    assert found.ravel().tolist() == [1.0, 2.0]
    words = keras.Sequential([keras.Input((1,)), layers.Embedding(2, 2), layers.ReLU()])
    words.set_weights([np.array([[1.0, -2.0], [3.0, -4.0]])])
    (found,) = Apoz().bind(evidence_of(words, np.array([[0], [1]]))).scores()
    assert found.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_subclassed_model_counts_by_magnitude(evidence_of):
    import keras

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = made(activation="relu")

        def call(self, x):
            return self.dense(x)

    model = Own()
    model(X)
    assert first_scores(model, evidence_of).tolist() == [[1.0, 2.0]]


def test_it_follows_the_training(evidence_of):
    """Measured anew: with both signs turned around the shares change places."""
    import keras

    model = followed_by(keras.layers.ReLU())
    model.set_weights([KERNEL])
    scorer = Apoz().bind(evidence_of(model, X))
    assert scorer.scores()[0].tolist() == EXPECTED
    model.set_weights([-KERNEL])
    assert scorer.scores()[0].tolist() == [[0.25, 1.5]]


def test_labels_and_a_compiled_loss_are_not_needed(evidence_of):
    import keras

    model = followed_by(keras.layers.ReLU())
    assert not model.compiled
    for data in ((X, np.zeros(4)), (X,), [(X[:2], None), (X[2:], None)]):
        assert first_scores(model, evidence_of, data).tolist() == EXPECTED


def test_inputs_by_name(evidence_of):
    import keras

    inputs = {"b": keras.Input((1,), name="b"), "a": keras.Input((2,), name="a")}
    hidden = made(activation="relu")(inputs["b"])
    model = keras.Model(inputs, keras.layers.Concatenate()([hidden, inputs["a"]]))
    assert first_scores(model, evidence_of, ({"a": np.zeros((4, 2)), "b": X}, None)).tolist() == EXPECTED


def test_data_is_needed(evidence_of):
    with pytest.raises(InputError, match='criterion "apoz" needs data: pass data='):
        Apoz().bind(evidence_of(followed_by()))
