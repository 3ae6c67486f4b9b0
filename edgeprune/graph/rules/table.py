"""Which rule covers which Keras class. Only the exact class counts: a subclass may do anything."""

from __future__ import annotations

from functools import cache

from edgeprune.graph.rules import convolution, dense, depthwise, elementwise, merge, normalization, shape
from edgeprune.graph.rules.rule import Rule

LAYER_RULES = {
    "Conv1D": convolution.CONVOLUTION,
    "Conv2D": convolution.CONVOLUTION,
    "Conv3D": convolution.CONVOLUTION,
    "Conv1DTranspose": convolution.TRANSPOSED,
    "Conv2DTranspose": convolution.TRANSPOSED,
    "Conv3DTranspose": convolution.TRANSPOSED,
    "DepthwiseConv1D": depthwise.DEPTHWISE,
    "DepthwiseConv2D": depthwise.DEPTHWISE,
    "SeparableConv1D": depthwise.SEPARABLE,
    "SeparableConv2D": depthwise.SEPARABLE,
    "Dense": dense.DENSE,
    "BatchNormalization": normalization.BATCH,
    "Activation": elementwise.ACTIVATION,
    "ReLU": elementwise.RELU,
    "LeakyReLU": elementwise.FUNCTION,
    "ELU": elementwise.FUNCTION,
    "PReLU": elementwise.PRELU,
    "Softmax": elementwise.SOFTMAX,
    "Dropout": elementwise.FREE,
    "SpatialDropout1D": elementwise.FREE,
    "SpatialDropout2D": elementwise.FREE,
    "SpatialDropout3D": elementwise.FREE,
    "AlphaDropout": elementwise.FREE,
    "GaussianDropout": elementwise.FREE,
    "GaussianNoise": elementwise.FREE,
    "ActivityRegularization": elementwise.FREE,
    "Identity": elementwise.FREE,
    "MaxPooling1D": elementwise.SPATIAL,
    "MaxPooling2D": elementwise.SPATIAL,
    "MaxPooling3D": elementwise.SPATIAL,
    "AveragePooling1D": elementwise.SPATIAL,
    "AveragePooling2D": elementwise.SPATIAL,
    "AveragePooling3D": elementwise.SPATIAL,
    "ZeroPadding1D": elementwise.SPATIAL,
    "ZeroPadding2D": elementwise.SPATIAL,
    "ZeroPadding3D": elementwise.SPATIAL,
    "Cropping1D": elementwise.SPATIAL,
    "Cropping2D": elementwise.SPATIAL,
    "Cropping3D": elementwise.SPATIAL,
    "UpSampling1D": elementwise.SPATIAL,
    "UpSampling2D": elementwise.SPATIAL,
    "UpSampling3D": elementwise.SPATIAL,
    "GlobalAveragePooling1D": elementwise.GLOBAL_POOLING,
    "GlobalAveragePooling2D": elementwise.GLOBAL_POOLING,
    "GlobalAveragePooling3D": elementwise.GLOBAL_POOLING,
    "GlobalMaxPooling1D": elementwise.GLOBAL_POOLING,
    "GlobalMaxPooling2D": elementwise.GLOBAL_POOLING,
    "GlobalMaxPooling3D": elementwise.GLOBAL_POOLING,
    "Flatten": shape.FLATTEN,
    "Reshape": shape.RESHAPE,
    "Add": merge.ELEMENTWISE,
    "Subtract": merge.ELEMENTWISE,
    "Multiply": merge.ELEMENTWISE,
    "Average": merge.ELEMENTWISE,
    "Maximum": merge.ELEMENTWISE,
    "Minimum": merge.ELEMENTWISE,
    "Concatenate": merge.CONCATENATE,
}

# Classes behind `keras.ops.*` and tensor arithmetic in functional models (keras.src.ops).
OPERATION_RULES = {
    "numpy.Add": merge.ELEMENTWISE,
    "numpy.Subtract": merge.ELEMENTWISE,
    "numpy.Multiply": merge.ELEMENTWISE,
    "numpy.Divide": merge.ELEMENTWISE,
    "numpy.TrueDivide": merge.ELEMENTWISE,
    "numpy.Maximum": merge.ELEMENTWISE,
    "numpy.Minimum": merge.ELEMENTWISE,
    "numpy.Concatenate": merge.CONCATENATE,
    "numpy.Absolute": elementwise.FUNCTION,
    "numpy.Negative": elementwise.FUNCTION,
    "numpy.Square": elementwise.FUNCTION,
    "numpy.Tanh": elementwise.FUNCTION,
    "nn.Relu": elementwise.FUNCTION,
    "nn.Relu6": elementwise.FUNCTION,
    "nn.Sigmoid": elementwise.FUNCTION,
    "nn.Silu": elementwise.FUNCTION,
    "nn.HardSigmoid": elementwise.FUNCTION,
    "nn.HardSilu": elementwise.FUNCTION,
    "nn.LeakyRelu": elementwise.FUNCTION,
    "nn.Elu": elementwise.FUNCTION,
    "nn.Gelu": elementwise.FUNCTION,
}


@cache
def _by_class() -> dict[type, Rule]:
    import keras
    from keras.src.ops import nn, numpy

    modules = {"nn": nn, "numpy": numpy}
    rules = {getattr(keras.layers, name): rule for name, rule in LAYER_RULES.items()}
    for path, rule in OPERATION_RULES.items():
        module, name = path.split(".")
        found = getattr(modules[module], name, None)  # older Keras releases lack some of them
        if found is not None:
            rules[found] = rule
    return rules


def rule_for(operation: object) -> Rule | None:
    """The rule of an operation, or None when its exact class has none."""
    return _by_class().get(type(operation))
