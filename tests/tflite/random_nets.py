"""Random networks around the rules for sparse kernels: what nobody thought of when writing the corpus."""

from __future__ import annotations

import numpy as np

from tests.tflite.convolution_nets import Net


def random_net(seed: int, sparse: bool) -> bytes:
    """The same network for the same seed, with either encoding."""
    choose = np.random.default_rng(seed)
    net = Net(sparse=sparse, zeros=float(choose.choice([0.6, 0.75, 0.9])), size=int(choose.choice([16, 17])))
    maps = [_stem(net, choose)]
    for _ in range(choose.integers(2, 7)):
        maps.append(_step(net, choose, maps))
    outputs = [_end(net, choose, maps[-1])]
    if choose.random() < 0.2:
        outputs.append(_end(net, choose, maps[choose.integers(len(maps))]))
    if choose.random() < 0.1:
        outputs.append(maps[choose.integers(len(maps))])
    return net.pack(*dict.fromkeys(outputs))


def _stem(net: Net, choose: np.random.Generator) -> int:
    if choose.random() < 0.9:
        return net.stem(act=str(choose.choice(["relu", "relu6", "none"])))
    return net.conv(net.input, 16, 3, stride=2, padding=str(choose.choice(["same", "valid"])))


def _step(net: Net, choose: np.random.Generator, maps: list[int]) -> int:
    # A chain, so that everything is read: converters drop what is not, and old runtimes crash on it.
    x = maps[-1]
    size, channels = net.shape(x)[1], net.shape(x)[3]
    # The first five keep a cluster whole; they come up more often.
    kind = int(choose.choice(14, p=[0.26, 0.2, 0.12, 0.1, 0.1, 0.06, 0.03, 0.02, 0.02, 0.02, 0.01, 0.02, 0.02, 0.02]))
    if kind == 1:
        return net.depthwise(x, int(choose.choice([3, 5])))
    if kind == 2:
        return net.binary("ADD", x, net.block(x, channels))
    if kind == 3:
        pooled = net.reduce(x, keep=True)
        gate = net.conv(net.conv(pooled, 8), channels, act="none")
        return net.binary("MUL", x, net.unary("LOGISTIC", gate))
    if kind == 4:
        return net.unary(str(choose.choice(["HARD_SWISH", "LOGISTIC", "RELU6", "TANH"])), x)
    if kind == 5 and size >= 4:
        return net.depthwise(net.pad(x, *((1, 1) if choose.random() < 0.7 else (0, 1))), stride=2, padding="valid")
    if kind == 6:
        return net.binary("MUL", net.constant(0.7, (1, 1, 1, channels if choose.random() < 0.5 else 1)), x)
    if kind == 7:
        return net.binary(str(choose.choice(["ADD", "MUL", "SUB", "MAXIMUM"])), x, net.constant(0.7, (1, 1, 1, 1)))
    if kind == 8 and size >= 4:
        return net.pool(x, 2, name=str(choose.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"])))
    if kind == 9:
        alike = [other for other in maps if net.shape(other) == net.shape(x)]
        other = alike[choose.integers(len(alike))]
        return net.binary(str(choose.choice(["ADD", "MUL"] if other == x else ["ADD", "MUL", "SUB"])), x, other)
    if kind == 10 and channels <= 64:
        return net.concat(x, x)
    if kind == 11 and channels % 4 == 0 and size <= 8:
        return net.depth_to_space(x)
    if kind == 12 and 1 < size <= 8:
        return net.resize(x, size + 3)
    if kind == 13:
        return net.binary("MUL", x, net.reduce(x, keep=True))
    return net.conv(x, int(choose.choice([32, 64])), act=str(choose.choice(["relu", "none"])))


def _end(net: Net, choose: np.random.Generator, x: int) -> int:
    kind = int(choose.choice(7, p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05]))
    if kind == 1:
        return net.dense(net.reduce(x, keep=True), 10)
    if kind == 2:
        return net.reduce(x)
    if kind == 3:
        return net.reduce(x, keep=bool(choose.random() < 0.5), axes=((1, 2), (1,), (3,))[choose.integers(3)])
    if kind == 4:
        return net.conv(net.reduce(x, keep=True), 10)
    if kind == 5:
        return net.pool(x, net.shape(x)[1])
    if kind == 6:
        return x
    return net.head(x)
