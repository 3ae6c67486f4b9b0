"""Run by test_replicas.py in a process of its own: TensorFlow takes a second CPU device only before it starts.

Trains every case under MirroredStrategy on two devices and prints, as JSON, what became of the zeros.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[2]))
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from edgeprune.sparsity.freeze import freeze_sparsity  # noqa: E402 - after the devices are set
from tests.sparsity.optimizer_cases import CASES, Case, compile_model, data, small_model, zero_some  # noqa: E402


def frozen(strategy: Any, case: Case) -> dict[str, Any]:
    """Zeros that stayed and masks of both replicas, after training with frozen zeros."""
    with strategy.scope():
        model = small_model(case.dtype)
        compile_model(model, case)
    masks = zero_some(model)
    freeze_sparsity(model)
    model.fit(*data(), batch_size=16, epochs=2, verbose=0)
    return {"zeros kept": [_same(layer, mask) for layer, mask in zip(_layers(model), masks, strict=True)]}


def pruned(strategy: Any, criterion: Any) -> dict[str, Any]:
    """The same after training with the callback."""
    from edgeprune import LinearSchedule, PruningCallback

    with strategy.scope():
        model = small_model()
        compile_model(model, CASES[3])
    callback = PruningCallback(LinearSchedule(0.5, begin=0.2, end=0.8), criterion, scope="layer", data=data())
    model.fit(*data(), batch_size=16, epochs=3, verbose=0, callbacks=[callback])
    masks = [mask.numpy() for mask in callback.pruner.masks.masks]
    same = [_same(layer, mask) for layer, mask in zip(_layers(model), masks, strict=True)]
    return {"zeros kept": same, "half is zero": [round(float((~mask).mean()), 2) == 0.5 for mask in masks]}


def _layers(model: Any) -> tuple[Any, Any]:
    return model.layers[0], model.layers[-1]


def _same(layer: Any, mask: np.ndarray) -> bool:
    """Whether weights and masks of both replicas are alike and zero exactly where the mask says."""
    weights = [replica.numpy() for replica in layer.kernel.value.values]
    held = [replica.numpy() for replica in layer.kernel.constraint.mask.values]
    assert len(weights) == len(held) == 2
    return all(np.array_equal(w != 0, mask) and np.array_equal(m, mask) for w, m in zip(weights, held, strict=True))


if __name__ == "__main__":
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {case.name: frozen(mirrored, case) for case in CASES if case.replicable}
    found |= {f"callback {name}": pruned(mirrored, name) for name in ("magnitude", "movement", "taylor", "snip")}
    print(json.dumps(found))
