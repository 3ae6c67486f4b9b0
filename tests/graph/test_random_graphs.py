"""Random graphs from all rules of image models: whatever is removed, the smaller model equals the masked one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import pytest
from graph_oracle import assert_counts, assert_same, masked_outputs, outputs, prune, random_inputs, randomize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers, ops

pytestmark = pytest.mark.keras

# One step grows the graph by one call (or a few) on tensors drawn from those made so far.
STEPS = (
    "conv",
    "strided conv",
    "dilated conv",
    "grouped conv",
    "transposed",
    "depthwise",
    "separable",
    "batch norm",
    "layer norm",
    "group norm",
    "activation",
    "prelu",
    "add",
    "multiply",
    "subtract twice",
    "concatenate",
    "squeeze and excite",
    "pool",
    "pad and crop",
    "up-sample",
    "reshape",
    "shared conv",
    "nested",
    "dense",
    "constant",
    "operators",
)


@dataclass(frozen=True)
class Plan:
    """A drawn graph: (step, number, number) where the numbers choose tensors and sizes; then how to prune it."""

    steps: tuple[tuple[str, int, int], ...]
    flatten: bool
    outputs: int
    ratio: float
    seed: int


PLANS = st.builds(
    Plan,
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 1000), st.integers(0, 1000)), min_size=3, max_size=12
    ).map(tuple),
    flatten=st.booleans(),
    outputs=st.integers(1, 2),
    ratio=st.sampled_from([0.1, 0.4, 0.7, 1.0]),
    seed=st.integers(0, 10_000),
)


class Grower:
    """Grows a graph step by step; every tensor it holds has rank 4. `unread` are those nothing has been made from."""

    def __init__(self) -> None:
        self.images = [keras.Input((6, 6, 3)), keras.Input((6, 6, 4))]
        self.tensors = [layers.Conv2D(6, 3, padding="same")(image) for image in self.images]
        self.unread = {id(tensor): tensor for tensor in self.tensors}
        self.shared: dict[tuple[Any, ...], Any] = {}

    def pick(self, number: int) -> Any:
        """One of the last five tensors."""
        x = self.tensors[-1 - min(number % 5, len(self.tensors) - 1)]
        self.unread.pop(id(x), None)
        return x

    def partner(self, x: Any, number: int) -> Any:
        """Another tensor brought to the shape of x by a 1x1 convolution and resizing."""
        other = self.pick(number)
        if other.shape[1:3] != x.shape[1:3]:
            other = layers.Resizing(*x.shape[1:3])(other)
        return other if other.shape == x.shape else layers.Conv2D(x.shape[-1], 1)(other)

    def grow(self, step: str, number: int, size: int) -> None:
        x = self.pick(number)
        channels, width = x.shape[-1], 1 + size % 7
        made = {
            "conv": lambda: layers.Conv2D(width, 3, padding="same", use_bias=bool(size % 2))(x),
            "strided conv": lambda: layers.Conv2D(width, 2, strides=2, padding="same", activation="relu")(x),
            "dilated conv": lambda: layers.Conv2D(width, 2, dilation_rate=2, padding="same")(x),
            "grouped conv": lambda: self.grouped(x, size),
            "transposed": lambda: layers.Conv2DTranspose(width, 3, padding="same")(x),
            "depthwise": lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1 + size % 2)(x),
            "separable": lambda: layers.SeparableConv2D(width, 3, padding="same", depth_multiplier=1 + size % 3)(x),
            "batch norm": lambda: layers.BatchNormalization(scale=bool(size % 2))(x),
            "layer norm": lambda: layers.LayerNormalization()(x),
            "group norm": lambda: layers.GroupNormalization(groups=_divisor(channels, size))(x),
            "activation": lambda: layers.Activation(("relu", "tanh", "gelu", "sigmoid")[size % 4])(x),
            "prelu": lambda: layers.PReLU(shared_axes=[None, [1, 2], [1, 2, 3]][size % 3])(x),
            "add": lambda: layers.Add()([x, self.partner(x, size)]),
            "multiply": lambda: layers.Multiply()([x, self.partner(x, size)]),
            "subtract twice": lambda: x - self.partner(x, size) - x,
            "concatenate": lambda: self.concatenated(x, size),
            "squeeze and excite": lambda: self.gated(x, width),
            "pool": lambda: (layers.MaxPooling2D, layers.AveragePooling2D)[size % 2](2, padding="same")(x),
            "pad and crop": lambda: layers.Cropping2D(((2, 1), (1, 0)))(layers.ZeroPadding2D(2)(x)),
            "up-sample": lambda: layers.UpSampling2D(1 + size % 2)(x),
            "reshape": lambda: layers.Reshape((-1, 1, channels))(x),
            "shared conv": lambda: self.reused(x, ("conv", channels), lambda: layers.Conv2D(4, 1)),
            "nested": lambda: self.reused(x, ("nested", channels, *x.shape[1:3]), lambda: _block(x.shape[1:])),
            "dense": lambda: layers.Dense(width, activation="relu")(x),
            "constant": lambda: x * keras.random.normal((channels,), seed=size).numpy() + 0.5,
            "operators": lambda: ops.silu(x) / 2.0 + ops.maximum(x, 0.1) * x,
        }[step]()
        if made.shape[1] * made.shape[2] <= 200 and made.shape[-1] <= 40:
            self.tensors.append(made)
            self.unread[id(made)] = made

    def grouped(self, x: Any, size: int) -> Any:
        groups = _divisor(x.shape[-1], size)
        return layers.Conv2D(groups * (1 + size % 3), 3, padding="same", groups=groups)(x)

    def concatenated(self, x: Any, size: int) -> Any:
        other = self.pick(size)
        if other.shape[1:3] != x.shape[1:3]:
            other = layers.Resizing(*x.shape[1:3])(other)
        return layers.Concatenate()([x, other, x] if size % 3 == 0 else [x, other])

    def gated(self, x: Any, width: int) -> Any:
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Dense(x.shape[-1], activation="sigmoid")(layers.Dense(width, activation="relu")(gate))
        return layers.Multiply()([x, gate])

    def reused(self, x: Any, key: tuple[Any, ...], make: Any) -> Any:
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key](x)


def _divisor(channels: int, number: int) -> int:
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    return divisors[number % len(divisors)]


def _block(shape: tuple[int, ...]) -> Any:
    inner = keras.Input(shape)
    x = layers.Conv2D(shape[-1], 3, padding="same", activation="relu")(inner)
    return keras.Model(inner, [layers.Add()([inner, layers.BatchNormalization()(x)])][0])


def build(plan: Plan) -> Any:
    grower = Grower()
    for step, number, size in plan.steps:
        grower.grow(step, number, size)
    # Everything that was made matters to the output: what nothing reads yet is joined in front of the heads.
    ends = list(grower.unread.values()) or [grower.tensors[-1]]
    ends = [layers.Flatten()(x) if plan.flatten else layers.GlobalAveragePooling2D()(x) for x in ends]
    joined = layers.Concatenate()(ends) if len(ends) > 1 else ends[0]
    return keras.Model(grower.images, [layers.Dense(2)(joined) for _ in range(plan.outputs)])


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(plan=PLANS)
def test_random_graphs(plan: Plan) -> None:
    model = build(plan)
    randomize(model, plan.seed)
    inputs = random_inputs(model)
    pruned = prune(model, plan.ratio, plan.seed)
    assert_counts(pruned)
    assert_same(masked_outputs(pruned, inputs), outputs(pruned.smaller, inputs))
