"""Which way a metric is good: the table of Keras metrics."""

from __future__ import annotations

from typing import Any

from edgeprune.errors import InputError

# Keras metric class -> whether a higher value is better.
HIGHER_IS_BETTER = {
    "AUC": True,
    "Accuracy": True,
    "BinaryAccuracy": True,
    "BinaryCrossentropy": False,
    "BinaryIoU": True,
    "CategoricalAccuracy": True,
    "CategoricalCrossentropy": False,
    "CategoricalHinge": False,
    "ConcordanceCorrelation": True,
    "CosineSimilarity": True,
    "F1Score": True,
    "FBetaScore": True,
    "FalseNegatives": False,
    "FalsePositives": False,
    "Hinge": False,
    "IoU": True,
    "KLDivergence": False,
    "LogCoshError": False,
    "MeanAbsoluteError": False,
    "MeanAbsolutePercentageError": False,
    "MeanIoU": True,
    "MeanSquaredError": False,
    "MeanSquaredLogarithmicError": False,
    "OneHotIoU": True,
    "OneHotMeanIoU": True,
    "PearsonCorrelation": True,
    "Poisson": False,
    "Precision": True,
    "PrecisionAtRecall": True,
    "R2Score": True,
    "Recall": True,
    "RecallAtPrecision": True,
    "RootMeanSquaredError": False,
    "SensitivityAtSpecificity": True,
    "SparseCategoricalAccuracy": True,
    "SparseCategoricalCrossentropy": False,
    "SparseTopKCategoricalAccuracy": True,
    "SpecificityAtSensitivity": True,
    "SquaredHinge": False,
    "TopKCategoricalAccuracy": True,
    "TrueNegatives": True,
    "TruePositives": True,
}

# Keras accuracy functions that are passed as functions; loss functions are known by their module.
_FUNCTIONS = {
    "accuracy": True,
    "binary_accuracy": True,
    "categorical_accuracy": True,
    "sparse_categorical_accuracy": True,
    "sparse_top_k_categorical_accuracy": True,
    "top_k_categorical_accuracy": True,
}


def direction_of(metric: Any, name: str, stated: bool | None) -> bool:
    """Whether a higher value of a Keras metric object is better.

    metric: a keras Metric; a subclass of a known one counts as known. stated: the user's word, which decides.

    Raises:
        InputError: the metric isn't known and the user didn't say.
    """
    if stated is not None:
        return stated
    for base in type(metric).__mro__:
        if base.__module__.startswith("keras.") and base.__name__ in HIGHER_IS_BETTER:
            return HIGHER_IS_BETTER[base.__name__]
    function = getattr(metric, "_fn", None)
    module = getattr(function, "__module__", "") or ""
    if module.startswith("keras.") and ".losses." in module:
        return False
    function_name = str(getattr(function, "__name__", ""))
    if module.startswith("keras.") and function_name in _FUNCTIONS:
        return _FUNCTIONS[function_name]
    raise InputError(
        f'it isn\'t known whether a higher "{name}" is better; set metric_higher_is_better = true or false in '
        "edgeprune.toml, or choose a Keras metric with metric"
    )
