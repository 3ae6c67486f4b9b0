"""The cost of a traced Keras model against the prediction from its own file: the same coefficients, the same numbers."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from edgeprune.cost.file_latency import predict_file
from edgeprune.cost.model import CostModel
from edgeprune.export.convert import convert
from edgeprune.export.passes.apply import apply_passes
from edgeprune.pipeline.analysis import analyse
from edgeprune.target import load_target
from edgeprune.tflite.flatbuffer import parse_model

pytestmark = pytest.mark.keras

# EfficientNetB0 is compared as it is deployed: stock swish layers are one operation of Keras and two of TFLite.
REWRITTEN = ("EfficientNetB0",)


def model_of(name: str) -> Any:
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    return apply_passes(model, finetuned=False)[0] if name in REWRITTEN else model


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0"])
def test_a_model_and_its_file_cost_the_same(name: str) -> None:
    model, target = model_of(name), load_target("rpi4")
    network = analyse(model).network
    traced = float(CostModel(network, target.cost["none"], "none", target.channel_multiple).latency_ms(network.full))
    file = predict_file(parse_model(convert(model, "none"), "model.tflite"), target)
    assert file.ms == pytest.approx(traced, rel=0.03)
