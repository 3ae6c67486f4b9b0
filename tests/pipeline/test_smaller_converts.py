"""A smaller model is still a model: it converts to TFLite and LiteRT answers what Keras answers."""

from __future__ import annotations

import numpy as np
import pytest

from edgeprune.export.convert import convert
from edgeprune.pipeline.channels import prune_channels
from edgeprune.validate.parity import check_parity

pytestmark = pytest.mark.keras


def test_a_pruned_network_converts_and_litert_agrees():
    """MobileNetV3 has hard swish, squeeze-and-excite, depthwise convolutions and residual additions."""
    import keras

    model = keras.applications.MobileNetV3Small(weights=None, input_shape=(32, 32, 3), classes=10)
    smaller = prune_channels(model, 0.5, "random")
    assert smaller.count_params() < 0.5 * model.count_params()
    images = np.random.default_rng(0).random((4, 32, 32, 3), dtype=np.float32) * 255
    parity = check_parity(smaller, convert(smaller, "none"), [images], "none")
    assert parity.passed, parity
