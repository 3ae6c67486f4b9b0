"""What the converter's error texts mean, in one line a user can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgeprune.errors import EdgepruneError, InputError

# 'tf.Erfinv' op is neither a custom op nor a flex op
_REFUSED_OP = re.compile(r"'tfl?\.(\w+)' op is neither a custom op nor a flex op")
# Quantization not yet supported for op: 'CUSTOM'
_NOT_QUANTIZABLE = re.compile(r"[Qq]uantization not yet supported for op:? '?(\w+)'?|'tfl?\.(\w+)' op .*quantiz")
# loc(callsite(fused["Erfinv:", "functional_4_1/erfinv/Erfinv@__inference_serve_1184"]
_PLACE = re.compile(r'fused\["\w+:", "([^"@]+)@')


def explain(error: BaseException, mode: str, layer_names: Iterable[str]) -> EdgepruneError:
    """The error to raise for a failed conversion to `mode`; names the operation and, where the text does, the layer."""
    text = str(error)
    if "No space left on device" in text:
        return InputError("no space left in the temporary folder while converting; free some or point TMPDIR elsewhere")
    refused = sorted(set(_REFUSED_OP.findall(text)))
    if refused:
        return InputError(
            f"TFLite has no operation for {', '.join(refused)}{_layer(text, layer_names)}; "
            "replace it with standard layers, or keep it out of the exported model"
        )
    unquantizable = _NOT_QUANTIZABLE.search(text)
    if unquantizable:
        name = unquantizable.group(1) or unquantizable.group(2)
        return InputError(
            f"{name}{_layer(text, layer_names)} can't be quantized to {mode}; use another --quantize mode"
        )
    reason = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return InputError(
        f"the model can't be converted to TFLite ({mode}){_layer(text, layer_names)}: {reason[:300]}; "
        "change that part of the model or try another --quantize mode"
    )


def _layer(text: str, layer_names: Iterable[str]) -> str:
    """' (layer "x")' for the innermost layer on the first place the text names, or ''."""
    place = _PLACE.search(text)
    if not place:
        return ""
    names = set(layer_names)
    for part in reversed(place.group(1).split("/")):
        # TensorFlow appends _1, _2, ... when a scope's name is taken
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in names:
                return f' (layer "{name}")'
    return ""
