"""Which rule covers which Keras class. Only the exact class counts: a subclass may do anything."""

from __future__ import annotations

from functools import cache

from edgeprune.graph.rules import (
    activation,
    attention,
    axis_operations,
    contraction,
    convolution,
    dense,
    depthwise,
    einsum,
    elementwise,
    embedding,
    merge,
    normalization,
    pixel_shuffle,
    recurrent,
    reduction,
    reshape,
    score_attention,
    slicing,
    wrappers,
)
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
    "LayerNormalization": normalization.OVER_AXES,
    "RMSNormalization": normalization.OVER_AXES,
    "GroupNormalization": normalization.GROUP,
    "Normalization": normalization.PREPROCESSING,
    "Rescaling": normalization.RESCALING,
    "Activation": activation.ACTIVATION,
    "ReLU": activation.RELU,
    "LeakyReLU": elementwise.FUNCTION,
    "ELU": elementwise.FUNCTION,
    "PReLU": elementwise.PRELU,
    "Softmax": reduction.ALONG_AXIS,
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
    "AdaptiveAveragePooling1D": elementwise.SPATIAL,
    "AdaptiveAveragePooling2D": elementwise.SPATIAL,
    "AdaptiveAveragePooling3D": elementwise.SPATIAL,
    "AdaptiveMaxPooling1D": elementwise.SPATIAL,
    "AdaptiveMaxPooling2D": elementwise.SPATIAL,
    "AdaptiveMaxPooling3D": elementwise.SPATIAL,
    "Resizing": elementwise.SPATIAL,
    "CenterCrop": elementwise.SPATIAL,
    "RandomCrop": elementwise.SPATIAL,
    "RandomFlip": elementwise.FREE,
    "RandomRotation": elementwise.FREE,
    "RandomTranslation": elementwise.FREE,
    "RandomZoom": elementwise.FREE,
    "RandomContrast": elementwise.FREE,
    "RandomBrightness": elementwise.FREE,
    "GlobalAveragePooling1D": elementwise.GLOBAL_POOLING,
    "GlobalAveragePooling2D": elementwise.GLOBAL_POOLING,
    "GlobalAveragePooling3D": elementwise.GLOBAL_POOLING,
    "GlobalMaxPooling1D": elementwise.GLOBAL_POOLING,
    "GlobalMaxPooling2D": elementwise.GLOBAL_POOLING,
    "GlobalMaxPooling3D": elementwise.GLOBAL_POOLING,
    "Flatten": reshape.FLATTEN,
    "Reshape": reshape.RESHAPE,
    "Permute": axis_operations.PERMUTE,
    "RepeatVector": axis_operations.REPEAT_VECTOR,
    "UnitNormalization": normalization.UNIT,
    "Masking": reduction.MASKING,
    "Dot": contraction.DOT,
    "Embedding": embedding.EMBEDDING,
    "EinsumDense": einsum.EINSUM_DENSE,
    "Attention": score_attention.LAYER,
    "AdditiveAttention": score_attention.LAYER,
    "MultiHeadAttention": attention.MULTI_HEAD,
    "GroupQueryAttention": attention.GROUPED_QUERY,
    "LSTM": recurrent.RECURRENT,
    "GRU": recurrent.RECURRENT,
    "SimpleRNN": recurrent.RECURRENT,
    "ConvLSTM1D": recurrent.CONV_LSTM,
    "ConvLSTM2D": recurrent.CONV_LSTM,
    "ConvLSTM3D": recurrent.CONV_LSTM,
    "Bidirectional": recurrent.BIDIRECTIONAL,
    "TimeDistributed": wrappers.TIME_DISTRIBUTED,
    "Add": merge.ELEMENTWISE,
    "Subtract": merge.ELEMENTWISE,
    "Multiply": merge.ELEMENTWISE,
    "Average": merge.ELEMENTWISE,
    "Maximum": merge.ELEMENTWISE,
    "Minimum": merge.ELEMENTWISE,
    "Concatenate": merge.CONCATENATE,
}

# Layers that keras.applications defines for itself (keras.src.applications).
APPLICATION_RULES = {
    "convnext.LayerScale": normalization.LAYER_SCALE,
    "convnext.StochasticDepth": elementwise.FREE,
    "inception_resnet_v2.CustomScaleLayer": merge.ELEMENTWISE,
}

# Classes behind `keras.ops.*` and tensor arithmetic in functional models (keras.src.ops), by module and rule.
OPERATION_FAMILIES: dict[str, tuple[tuple[Rule, str], ...]] = {
    "numpy": (
        (
            merge.ELEMENTWISE,
            "Add Subtract Multiply Divide TrueDivide DivideNoNan FloorDivide Maximum Minimum Fmax Fmin Power Mod Fmod "
            "Arctan2 Hypot Logaddexp Logaddexp2 Heaviside Where Equal NotEqual Greater GreaterEqual Less LessEqual "
            "LogicalAnd LogicalOr LogicalXor Isclose",
        ),
        (
            elementwise.FUNCTION,
            "Absolute Abs Fabs Negative Square Sqrt Cbrt Reciprocal Sign Signbit Exp Exp2 Expm1 Log Log10 Log1p Log2 "
            "Sin Cos Tan Sinh Cosh Tanh Arcsin Arccos Arctan Arcsinh Arccosh Arctanh Sinc I0 Deg2rad Rad2deg Ceil "
            "Floor Round Trunc Clip NanToNum Isfinite Isinf Isnan Isneginf Isposinf LogicalNot OnesLike ZerosLike",
        ),
        (elementwise.FREE, "Copy"),
        (
            reduction.REDUCTION,
            "Mean Sum Max Min Amax Amin Prod Var Std All Any Median CountNonzero Ptp Nanmean Nansum Nanmax Nanmin",
        ),
        (reduction.ALONG_AXIS, "Cumsum Cumprod Sort Argsort Nancumsum Nancumprod"),
        (slicing.ORDER, "Argmax Argmin"),
        (merge.CONCATENATE, "Concatenate"),
        (axis_operations.STACK, "Stack"),
        (axis_operations.TRANSPOSE, "Transpose"),
        (axis_operations.SWAP_AXES, "Swapaxes"),
        (axis_operations.MOVE_AXIS, "Moveaxis"),
        (axis_operations.EXPAND_DIMS, "ExpandDims"),
        (axis_operations.SQUEEZE, "Squeeze"),
        (axis_operations.FLIP, "Flip"),
        (axis_operations.ROLL, "Roll"),
        (axis_operations.REPEAT, "Repeat"),
        (axis_operations.TILE, "Tile"),
        (axis_operations.BROADCAST, "BroadcastTo"),
        (axis_operations.PAD, "Pad"),
        (reshape.RESHAPE_OPERATION, "Reshape"),
        (slicing.GET_ITEM, "GetItem"),
        (slicing.SPLIT, "Split ArraySplit"),
        (slicing.TAKE, "Take"),
        (contraction.MATMUL, "Matmul"),
        (contraction.EINSUM, "Einsum"),
    ),
    "nn": (
        (
            elementwise.FUNCTION,
            "Relu Relu6 Sigmoid SparseSigmoid Softplus Softsign SoftShrink SparsePlus Silu Squareplus LogSigmoid "
            "LeakyRelu HardSigmoid HardSilu Elu Selu Gelu Celu TanhShrink HardTanh HardShrink Threshold",
        ),
        (elementwise.SPATIAL, "MaxPool AveragePool AdaptiveMaxPool AdaptiveAveragePool"),
        (reduction.REDUCTION, "Moments"),
        (reduction.ALONG_AXIS, "Softmax LogSoftmax Sparsemax Normalize"),
        (score_attention.OPERATION, "DotProductAttention"),
        (pixel_shuffle.DEPTH_TO_SPACE, "DepthToSpace"),
        (pixel_shuffle.SPACE_TO_DEPTH, "SpaceToDepth"),
    ),
    "core": (
        (elementwise.FUNCTION, "Cast SaturateCast ConvertToTensor"),
        (elementwise.FREE, "StopGradient"),
        (slicing.UNSTACK, "Unstack"),
    ),
    "image": ((elementwise.SPATIAL, "Resize PadImages CropImages GaussianBlur"),),
    "linalg": ((reduction.REDUCTION, "Norm"),),
    "math": ((elementwise.FUNCTION, "Rsqrt Erf Erfc Erfinv"), (reduction.REDUCTION, "Logsumexp")),
}


@cache
def _by_class() -> dict[type, Rule]:
    from importlib import import_module

    import keras

    rules = {getattr(keras.layers, name): rule for name, rule in LAYER_RULES.items() if hasattr(keras.layers, name)}
    for path, rule in APPLICATION_RULES.items():
        module_name, name = path.split(".")
        found = getattr(import_module(f"keras.src.applications.{module_name}"), name, None)
        if found is not None:
            rules[found] = rule
    for module_name, families in OPERATION_FAMILIES.items():
        module = import_module(f"keras.src.ops.{module_name}")
        for rule, names in families:
            for name in names.split():
                if hasattr(module, name):  # older Keras releases lack some of them
                    rules[getattr(module, name)] = rule
    return rules


def rule_for(operation: object) -> Rule | None:
    """The rule of an operation, or None when its exact class has none."""
    return _by_class().get(type(operation))
