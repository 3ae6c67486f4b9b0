"""One small model of most families of keras.applications: what `make test` runs of the zoo."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from graph_oracle import check, frozen_reasons
from zoo_models import build

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(
    "name", ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetV2B0", "DenseNet121", "ResNet50V2"]
)
def test_model(name: str) -> None:
    model = build(name)
    assert frozen_reasons(model) == {}
    check(model, ratio=0.5)
    keras.backend.clear_session()


def convnext() -> Any:
    """ConvNeXt with two blocks; stochastic depth comes with a drop rate only."""
    from keras.src.applications.convnext import ConvNeXt

    return ConvNeXt(
        depths=[1, 1, 1, 1],
        projection_dims=[8, 12, 16, 20],
        drop_path_rate=0.1,
        include_top=True,
        weights=None,
        input_shape=(32, 32, 3),
        classes=10,
        classifier_activation=None,
        name="convnext",
        weights_name="convnext_tiny",
    )


def test_convnext() -> None:
    model = convnext()
    assert frozen_reasons(model) == {}
    check(model, ratio=0.5)
