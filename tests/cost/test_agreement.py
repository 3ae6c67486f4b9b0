"""The cost of a traced Keras model against the prediction from its own file: equal coefficients give equal numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import pytest

from edgeprune.cost.file_latency import predict_file
from edgeprune.cost.model import CostModel
from edgeprune.export.convert import convert
from edgeprune.export.passes.apply import apply_passes
from edgeprune.pipeline.analysis import analyse
from edgeprune.records.network import Network
from edgeprune.target import load_target
from edgeprune.tflite.flatbuffer import parse_model

pytestmark = pytest.mark.keras

# Compared as it is deployed: a stock swish layer is one operation of Keras and several of TFLite.
REWRITTEN = ("EfficientNetB0",)
# Keras function -> TFLite operation. A network calls all of them "copy".
FUNCTIONS = {"sigmoid": "LOGISTIC", "hard_silu": "HARD_SWISH", "hard_swish": "HARD_SWISH"}


def model_of(name: str) -> Any:
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    return apply_passes(model, finetuned=False)[0] if name in REWRITTEN else model


def with_functions(network: Network, model: Any) -> Network:
    """The network with its activations called by their names."""
    functions = {
        layer.name: FUNCTIONS.get(layer.activation.__name__, "copy")
        for layer in model.layers
        if isinstance(layer, keras.layers.Activation)
    }
    functions |= {operation.name: "TANH" for operation in model.operations if type(operation).__name__ == "Tanh"}
    ops = tuple(
        replace(op, kind=functions[op.layer]) if op.kind == "copy" and op.layer in functions else op
        for op in network.ops
    )
    return replace(network, ops=ops)


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0"])
def test_a_model_and_its_file_cost_the_same(name: str) -> None:
    model, target = model_of(name), load_target("rpi4")

    def traced(network: Network) -> float:
        costs = CostModel(network, target.cost["none"], "none", target.channel_multiple)
        return float(costs.latency_ms(network.full))

    network = analyse(model).network
    file = predict_file(parse_model(convert(model, "none"), "model.tflite"), target)
    assert file.ms == pytest.approx(traced(with_functions(network, model)), rel=0.03)
    # without names, activations are too cheap; a build corrects for it by the file of its dense model
    assert file.ms == pytest.approx(traced(network), rel=0.15)
