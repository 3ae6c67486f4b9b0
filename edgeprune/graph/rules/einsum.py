"""EinsumDense: output = einsum(equation, input, kernel) + bias, one letter of the equation per axis.

Letters that input and kernel share and the output lacks are contracted: the kernel's axis rides on the input ids.
Letters of kernel and output alone are made by the layer; one of them carries fresh ids, (heads) rather than (dim).
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters

import numpy as np

from edgeprune.graph.context import FROZEN, Call, Context, NoRuleError, Traced, Work, elements, on_axis
from edgeprune.graph.rules.activation import own_activation
from edgeprune.graph.rules.layout import long_axis
from edgeprune.graph.rules.lookahead import preferred_axis
from edgeprune.graph.rules.rule import Config, KeptLengths, Rule


@dataclass(frozen=True)
class Equation:
    """An equation with its ellipsis written out. right: how many trailing axes of the output it stands for."""

    input: str
    kernel: str
    output: str
    right: int

    @staticmethod
    def parse(equation: str, rank: int) -> Equation:
        """For an input of the given rank."""
        source, output = equation.replace(" ", "").split("->")
        source, kernel = source.split(",")
        elided = rank - len(source.replace("...", ""))
        spare = "".join(letter for letter in ascii_letters if letter not in equation)[:elided]
        right = elided if source.endswith("...") else 0
        return Equation(source.replace("...", spare), kernel, output.replace("...", spare), right)


def trace(call: Call, context: Context) -> Traced:
    """Input ids on the kernel's axes of the same letter; fresh ids on one of the axes the layer makes."""
    layer = call.operation
    if getattr(layer, "quantization_mode", None) or layer.lora_enabled:
        raise NoRuleError("EinsumDense that is quantized or has LoRA weights")
    equation = Equation.parse(layer.equation, len(call.shapes[0]))
    if equation.output[0] != equation.input[0] or equation.input[0] in equation.kernel:
        raise NoRuleError("an equation that mixes the batch")
    ids, axis = call.inputs[0], long_axis(call.inputs[0])
    rank = len(equation.output)
    kernel_axes: dict[int, np.ndarray] = {}
    carried: int | None = None  # output axis with the ids of the input
    incoming: np.ndarray | None = None
    if axis is not None:
        letter = equation.input[axis]
        if letter not in equation.kernel and letter not in equation.output:
            raise NoRuleError("sums over the channels")
        incoming = context.layer_axis(call, "in", ids.reshape(-1))
        if letter in equation.kernel:
            kernel_axes[equation.kernel.index(letter)] = incoming
        if letter in equation.output:
            carried = equation.output.index(letter)
            if _confuses_keras(call, carried):
                raise NoRuleError("Keras would add the bias along the channels once there are as many")
            _register(call, context, equation, carried, incoming)

    made_axis = None if carried is not None else _made_axis(call, context, equation)
    made: np.ndarray | None = None
    produces = None
    if made_axis is not None:
        made = context.issued(call, _name(equation, made_axis), call.output_shapes[0][made_axis])
        produces = equation.kernel.index(equation.output[made_axis])
        kernel_axes[produces] = made
    context.weight(call, layer._kernel, "kernel", kernel_axes, produces=produces)

    out_axis = made_axis if carried is None else carried
    outgoing = made if carried is None else incoming
    if layer.bias is not None:
        place = None if out_axis is None else out_axis - (rank - layer.bias.ndim)
        on_bias = place is not None and place >= 0 and layer.bias.shape[place] > 1
        context.weight(call, layer.bias, "bias", {place: outgoing} if on_bias else {})
    over = tuple(found for found in (incoming, made) if found is not None)
    work = Work("dense", _macs(call, equation, kernel_axes, carried), over)
    output = np.full((1,) * rank, FROZEN, dtype=np.int64) if outgoing is None else on_axis(outgoing, rank, out_axis)
    return Traced((output,), (work, *own_activation(call, context, output)))


def _confuses_keras(call: Call, place: int) -> bool:
    """Whether, with fewer channels on output axis `place`, Keras could add the bias along another axis than its own.

    Its TensorFlow `add` takes what has one long axis for a bias of the last axis, or of axis 1, when the lengths are
    equal. Source: `add` in keras/src/backend/tensorflow/numpy.py (bias_add).
    """
    bias, shape = call.operation.bias, call.output_shapes[0]
    if bias is None:
        return False
    long = [axis - bias.ndim for axis in range(bias.ndim) if bias.shape[axis] > 1]
    if len(long) != 1 or long[0] == -1:
        return False
    own = long[0] + len(shape)
    mistaken = {axis for axis in (1, len(shape) - 1) if axis != own}
    if place == own:
        return any((shape[axis] or 0) <= bias.shape[long[0]] for axis in mistaken)
    return place in mistaken and bias.shape[long[0]] <= shape[place]


def _made_axis(call: Call, context: Context, equation: Equation) -> int | None:
    """The output axis that carries fresh ids, the same in all calls of a layer."""
    candidates = {
        place: call.output_shapes[0][place]
        for place, letter in enumerate(equation.output)
        if letter in equation.kernel
        and letter not in equation.input
        and call.output_shapes[0][place] > 1
        and not _confuses_keras(call, place)
    }
    for place in candidates:
        if (id(call.operation), _name(equation, place)) in context.layer_ids:
            return place
    return preferred_axis(call, candidates) if candidates else None


def _name(equation: Equation, place: int) -> str:
    """Names an output axis by its place in the layer's `output_shape`, counted from the last."""
    return str(place - len(equation.output) + equation.right)


def _register(call: Call, context: Context, equation: Equation, place: int, ids: np.ndarray) -> None:
    if place < len(equation.output) - equation.right:
        context.layer_axis(call, _name(equation, place), ids)


def _macs(call: Call, equation: Equation, kernel_axes: dict[int, np.ndarray], carried: int | None) -> int:
    """MACs but for the channel axes: one per output element and contracted position."""
    skipped = {equation.kernel[place] for place in kernel_axes}
    if carried is not None:
        skipped.add(equation.output[carried])
    lengths = dict(zip(equation.input, call.shapes[0], strict=True))
    lengths.update(zip(equation.output, call.output_shapes[0], strict=True))
    return elements((1, *(length for letter, length in lengths.items() if letter not in skipped | {equation.input[0]})))


def resize(config: Config, kept: KeptLengths) -> Config:
    """The channel axis of `output_shape` follows; axes given as None are taken from the input."""
    shape = list(config["output_shape"])
    for name, length in kept.items():
        if name != "in" and -int(name) <= len(shape) and shape[int(name)] is not None:
            shape[int(name)] = length
    return {**config, "output_shape": tuple(shape)}


EINSUM_DENSE = Rule(trace, resize)
