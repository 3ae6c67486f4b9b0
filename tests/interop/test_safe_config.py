"""A config that could run code is refused before tf_keras sees it."""

from __future__ import annotations

import copy

import pytest

from edgeprune.errors import InputError
from edgeprune.interop.safe_config import check_safe

pytestmark = pytest.mark.unit

TFMOT = "tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper"


def dense(**changes):
    config = {"name": "d", "units": 2, "activation": "relu", "kernel_initializer": glorot()} | changes
    return {"module": "keras.layers", "class_name": "Dense", "config": config, "registered_name": None}


def glorot():
    return {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": None}}


def function(name):
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": name}


def op(function):
    return {"class_name": "TFOpLambda", "config": {"name": "tf.op", "function": function}, "name": "tf.op"}


def sequential(*layers):
    return {"class_name": "Sequential", "config": {"name": "s", "layers": list(layers)}}


def pruned(layer):
    config = {"name": "prune", "layer": layer, "pruning_schedule": {"class_name": "ConstantSparsity", "config": {}}}
    return {
        "module": TFMOT,
        "class_name": "PruneLowMagnitude",
        "config": config,
        "registered_name": "PruneLowMagnitude",
    }


@pytest.mark.parametrize(
    "config",
    [
        sequential(dense()),
        sequential(pruned(dense()), sequential(dense())),
        sequential({"class_name": "TimeDistributed", "config": {"name": "t", "layer": sequential(dense())}}),
        sequential(op("math.add")),
        sequential(dense(activation=function("gelu"))),
        sequential(dense(activation={"module": "keras.layers", "class_name": "LeakyReLU", "config": {"alpha": 0.1}})),
        sequential(dense(dtype={"module": "keras.mixed_precision", "class_name": "Policy", "config": {"name": "x"}})),
        {"class_name": "Sequential", "config": [dense()]},
        {"module": "tf_keras.src.engine.functional", **sequential(dense())},
    ],
)
def test_plain_models_pass(config):
    before = copy.deepcopy(config)
    check_safe(config, "model.h5")
    assert config == before


def code():
    return {"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}


def lambda_layer(function):
    return {"class_name": "Lambda", "config": {"name": "run", "function": function}}


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda_layer(["4wAAAA==", None, None]), 'layer "run" (Lambda) runs Python code'),
        (lambda_layer(code()), 'layer "run" (Lambda) runs Python code'),
        (op("io.gfile.rmtree"), 'layer "tf.op" (TFOpLambda) calls tf.io.gfile.rmtree'),
        (op(None), "calls tf.None"),
        (dense(activation=code()), 'layer "d" (Dense) holds __lambda__'),
        (dense(activation=lambda_layer(code())), 'layer "d" (Dense) holds Lambda'),
        (dense(activation=function("exit")), "holds exit from builtins"),
        (dense(activation={"module": "builtins", "class_name": "eval", "config": {}}), "holds eval from builtins"),
        (dense(activation=op("io.gfile.rmtree")), "holds TFOpLambda"),
        (dense(activation={"module": "keras.layers", "class_name": "Hashing", "config": {}}), "holds Hashing"),
        (dense(activation={"module": "os", "class_name": "function", "config": "system"}), "holds system from os"),
        (dense(kernel_initializer={"module": "keras.utils", "class_name": "get_file", "config": {}}), "keras.utils"),
        (dense(kernel_regularizer={"class_name": "L2", "config": {}, "registered_name": "mine>L2"}), "holds L2"),
        (dense(extra=[{"deep": {"module": "subprocess", "class_name": "Popen"}}]), "holds Popen from subprocess"),
        ({**dense(), "module": "os"}, 'layer "d" (Dense) has no translation'),
        ({**dense(), "registered_name": "mine>Dense"}, 'layer "d" (mine>Dense) has no translation'),
        ({"class_name": "MyLayer", "config": {"name": "own"}}, 'layer "own" (MyLayer) has no translation'),
        ({"class_name": "QuantizeWrapperV2", "config": {"name": "q"}}, "quantization-aware training"),
        ({"module": "evil", **{k: v for k, v in pruned(dense()).items() if k != "module"}}, '"prune"'),
        ("Dense", "no class or settings"),
        ({"class_name": "Dense", "config": "x"}, "no table"),
        (dense(name=1), "lack a name"),
        ({"class_name": "RNN", "config": {"cells": 1}}, "no list"),
    ],
)
@pytest.mark.parametrize(
    "hide",
    [
        lambda layer: layer,
        sequential,
        pruned,
        lambda layer: {
            "class_name": "Bidirectional",
            "config": {"name": "b", "layer": dense(), "backward_layer": layer},
        },
        lambda layer: {
            "class_name": "RNN",
            "config": {"cell": {"class_name": "StackedRNNCells", "config": {"cells": [layer]}}},
        },
    ],
)
def test_code_is_found_wherever_it_hides(layer, said, hide):
    with pytest.raises(InputError) as caught:
        check_safe(sequential(dense(), hide(layer)), "model.h5")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [None, [], {}, {"class_name": "MyModel", "config": {}}])
def test_what_is_no_graph_of_layers_is_refused(config):
    with pytest.raises(InputError, match=r"model\.h5: .* is a subclassed model"):
        check_safe(config, "model.h5")
