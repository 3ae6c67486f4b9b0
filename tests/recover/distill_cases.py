"""Models small enough to work out by hand what distillation makes of them."""

from __future__ import annotations

import math

import numpy as np

X = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
CLASSES = (np.arange(24) % 3).astype(np.int32)
SPARSE = "sparse_categorical_crossentropy"
# KL((3/4, 1/4) || (1/2, 1/2))
DIVERGENCE = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


def callback(teacher, **options):
    from edgeprune.recover.distill import DistillationCallback

    return DistillationCallback(teacher, **options)


def linear(kernel, activation=None, **options):
    """A Dense model without bias: its logits are x @ kernel."""
    import keras

    kernel = np.asarray(kernel, dtype=np.float32)
    inputs = keras.Input((kernel.shape[0],))
    model = keras.Model(inputs, keras.layers.Dense(kernel.shape[1], activation, use_bias=False, **options)(inputs))
    model.set_weights([kernel])
    return model


def classifier(seed: int, activation="softmax"):
    import keras

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, activation)(keras.layers.Dropout(0.3)(hidden)))


def compiled(model, loss, **options):
    import keras

    model.compile(options.pop("optimizer", None) or keras.optimizers.SGD(0.0), loss, **options)
    return model


def loss_of(model, x, y, teacher, sample_weight=None, **options) -> float:
    """The loss that one batch of `fit` reports."""
    x = np.asarray(x, dtype=np.float32)
    history = model.fit(
        x, y, sample_weight=sample_weight, batch_size=len(x), verbose=0, callbacks=[callback(teacher, **options)]
    )
    return history.history["loss"][0]


def crossentropy():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def same_weights(left, right) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left.get_weights(), right.get_weights(), strict=True))


def subclassed(own_loss: bool):
    import keras

    class Model(keras.Model):
        """Its compute_loss is from before Keras 3.3: it has no `training`."""

        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")

        def call(self, x):
            return self.dense(x)

        if own_loss:

            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
                return 10 * super().compute_loss(x, y, y_pred, sample_weight)

    return Model()


def trained(y, *callbacks, loss=SPARSE, seed: int = 5):
    import keras

    model = compiled(classifier(seed), loss, optimizer="adam")
    keras.utils.set_random_seed(9)
    model.fit(X, y, epochs=2, batch_size=10, verbose=0, callbacks=list(callbacks))
    return model
