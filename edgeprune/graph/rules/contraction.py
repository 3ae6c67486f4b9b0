"""Products of two activations: matmul, einsum, Dot.

Along a letter of the equation that stays in the output, channels at equal places of the operands go together. A sum
over channels of two activations changes when one of them is removed, even when nothing reads it: those channels stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Any

import numpy as np

from edgeprune.graph.context import FROZEN, Call, Context, NoRuleError, Traced, Work, on_axis
from edgeprune.graph.rules.call_arguments import Operand, with_operands
from edgeprune.graph.rules.layout import long_axis, positive
from edgeprune.graph.rules.lookahead import preferred_axis
from edgeprune.graph.rules.rule import Rule


@dataclass(frozen=True, eq=False)
class Factor:
    """An operand with one letter per axis."""

    letters: str
    ids: np.ndarray
    shape: tuple[int | None, ...]


def contract(call: Call, context: Context, factors: Sequence[Factor], output: str) -> Traced:
    """The ids behind sum(product of factors) with the axes in `output`."""
    lengths: dict[str, int] = {}
    found: dict[str, list[np.ndarray]] = {}
    for factor in factors:
        axis = long_axis(factor.ids)
        for place, (letter, length) in enumerate(zip(factor.letters, factor.shape, strict=True)):
            lengths[letter] = max(lengths.get(letter, 1), length or 1)
            if place == axis:
                found.setdefault(letter, []).append(factor.ids.reshape(-1))
    for letter in [letter for letter in found if letter not in output]:
        for ids in found.pop(letter):
            context.freeze(ids, call, "summed over in a product of two activations")
    for letter, same in found.items():
        for ids in same[1:]:
            context.unite(same[0], ids)
        for factor in factors:
            if letter in factor.letters and factor.ids.size == 1 and factor.shape[factor.letters.index(letter)] != 1:
                context.unite(same[0], factor.ids.reshape(-1))
    order = [letter for letter in output if letter in found]
    if len(order) > 1:
        chosen = output[preferred_axis(call, {output.index(letter): lengths[letter] for letter in order})]
        order.sort(key=lambda letter: letter != chosen)
    for letter in order[1:]:
        context.freeze(found[letter][0], call, "a product with channels on two axes")
    batch = factors[0].letters[0]
    over = tuple(found[letter][0] for letter in order[:1])
    rest = [length for letter, length in lengths.items() if letter != batch and letter not in order[:1]]
    work = Work("dense", int(np.prod(rest, dtype=np.int64)), over)
    rank = len(call.output_shapes[0])
    if not order:
        return Traced((np.full((1,) * rank, FROZEN, dtype=np.int64),), (work,))
    return Traced((on_axis(found[order[0]][0], rank, output.index(order[0])),), (work,))


def _factor(value: Any, letters: str) -> Factor:
    """A tensor of the graph, or a constant, whose entries all stay."""
    if isinstance(value, Operand):
        return Factor(letters, value.ids, value.shape)
    shape = np.shape(value)
    return Factor(letters, np.full((1,) * len(shape), FROZEN, dtype=np.int64), shape)


def _rank(value: Any) -> int:
    return len(value.shape) if isinstance(value, Operand) else np.ndim(value)


def _check_batch(factors: Sequence[Factor], values: Sequence[Any], output: str) -> None:
    """The batch must be the first axis of every tensor and of the output."""
    batches = {factor.letters[:1] for factor, value in zip(factors, values, strict=True) if isinstance(value, Operand)}
    if batches != {output[:1]}:
        raise NoRuleError("a product that mixes the batch")


def trace_einsum(call: Call, context: Context) -> Traced:
    """keras.ops.einsum with an explicit output."""
    values = list(with_operands(call)[0])
    equation = call.operation.subscripts.replace(" ", "")
    if "->" not in equation:
        raise NoRuleError("einsum without an explicit output")
    left, output = equation.split("->")
    terms = left.split(",")
    free = [letter for letter in ascii_letters if letter not in equation]
    widest = max(_rank(v) - len(t.replace("...", "")) for v, t in zip(values, terms, strict=True))
    spare = "".join(free[:widest])
    factors = []
    for value, term in zip(values, terms, strict=True):
        elided = _rank(value) - len(term.replace("...", ""))
        letters = term.replace("...", spare[len(spare) - elided :])
        if len(set(letters)) != len(letters):
            raise NoRuleError("einsum over a diagonal")
        factors.append(_factor(value, letters))
    output = output.replace("...", spare)
    _check_batch(factors, values, output)
    return contract(call, context, factors, output)


def trace_matmul(call: Call, context: Context) -> Traced:
    """keras.ops.matmul: (..., m, k) x (..., k, n), leading axes broadcast."""
    first, second = with_operands(call)[0][:2]
    if min(_rank(first), _rank(second)) < 2:
        raise NoRuleError("matmul with a vector")
    stack = ascii_letters[: max(_rank(first), _rank(second)) - 2]
    letters = [stack[len(stack) - (_rank(value) - 2) :] for value in (first, second)]
    factors = [_factor(first, letters[0] + "XY"), _factor(second, letters[1] + "YZ")]
    output = stack + "XZ"
    _check_batch(factors, (first, second), output)
    return contract(call, context, factors, output)


def trace_dot(call: Call, context: Context) -> Traced:
    """keras.layers.Dot: a product over one axis of each of two tensors."""
    layer = call.operation
    if layer.normalize:
        raise NoRuleError("Dot with normalize=True")
    ranks = [len(shape) for shape in call.shapes]
    axes = (layer.axes,) * 2 if isinstance(layer.axes, int) else tuple(layer.axes)
    first, second = (positive(axis, rank) for axis, rank in zip(axes, ranks, strict=True))
    if 0 in (first, second):
        raise NoRuleError("a product that mixes the batch")
    left = list("A" + ascii_letters[: ranks[0] - 1])
    right = list("A" + ascii_letters[10 : 10 + ranks[1] - 1])
    left[first] = right[second] = "Y"
    output = "".join(letter for letter in left + right[1:] if letter != "Y")
    if len(output) == 1:  # (batch, k) x (batch, k) gives (batch, 1)
        output += "Z"
    factors = [
        Factor("".join(letters), ids, shape)
        for letters, ids, shape in zip((left, right), call.inputs, call.shapes, strict=True)
    ]
    return contract(call, context, factors, output)


EINSUM = Rule(trace_einsum)
MATMUL = Rule(trace_matmul)
DOT = Rule(trace_dot)
