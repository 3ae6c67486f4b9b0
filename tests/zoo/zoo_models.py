"""Every model of keras.applications at the smallest input it allows, with random weights."""

from __future__ import annotations

import inspect
from typing import Any

import keras

# The least height and width that a model without pretrained weights accepts; 32 for all others.
LEAST_SIZE = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
# So large that running the dense and the smaller model takes minutes: traced, cut and counted, not run.
COUNTED_ONLY = ("ConvNeXtXLarge", "EfficientNetV2L", "NASNetLarge")


def names() -> list[str]:
    """The names of all model functions, in alphabetical order."""
    found = vars(keras.applications).items()
    return sorted(name for name, value in found if inspect.isfunction(value))


def build(name: str) -> Any:
    """The model with 10 classes and no softmax at the end, which would hide differences."""
    size = LEAST_SIZE.get(name, 32)
    options: dict[str, Any] = {"weights": None, "input_shape": (size, size, 3), "classes": 10}
    maker = getattr(keras.applications, name)
    if "classifier_activation" in inspect.signature(maker).parameters:
        options["classifier_activation"] = None
    return maker(**options)
