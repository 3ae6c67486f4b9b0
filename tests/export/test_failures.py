"""Converter error texts, as TensorFlow 2.21 words them, in one line."""

from __future__ import annotations

import pytest

from edgeprune.export.failures import explain

pytestmark = pytest.mark.unit

REFUSED = (
    'Could not translate MLIR to FlatBuffer.<unknown>:0: error: loc(callsite(fused["Erfinv:", '
    '"functional_4_1/tail_1/Erfinv@__inference_serve_1184"] at callsite(fused["StatefulPartitionedCall:", '
    '"StatefulPartitionedCall@__inference_signature_wrapper_1194"] at fused["StatefulPartitionedCall:", '
    "\"StatefulPartitionedCall\"]))): 'tf.Erfinv' op is neither a custom op nor a flex op\n<unknown>:0: note: called"
)


def test_names_operation_and_layer():
    message = str(explain(RuntimeError(REFUSED), "none", {"tail", "head"}))
    assert "no operation for Erfinv" in message
    assert 'layer "tail"' in message
    assert "\n" not in message


def test_unknown_layer_is_left_out():
    assert "layer" not in str(explain(RuntimeError(REFUSED), "none", {"head"})).replace("standard layers", "")


def test_full_disk_is_said():
    error = RuntimeError("Failed to write /tmp/x/variables: No space left on device")
    assert "no space left" in str(explain(error, "none", ()))


def test_other_errors_keep_their_first_line():
    message = str(explain(ValueError("\n  strange thing\nmore"), "int8", ()))
    assert "strange thing" in message
    assert "more" not in message
    assert "int8" in message


def test_error_without_text_names_its_class():
    assert "KeyError" in str(explain(KeyError(), "none", ()))
