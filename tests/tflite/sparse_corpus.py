"""Networks around each rule that decides whether sparse kernels run: the corpus of issue 5.

Each case builds one network with the encoding it is told; `Net` explains why that shows the truth.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.tflite.convolution_nets import Net

Case = Callable[[bool], bytes]
CASES: dict[str, Case] = {}


def case(build: Callable[[bool], bytes]) -> Callable[[bool], bytes]:
    """Add a case under its function's name."""
    CASES[build.__name__] = build
    return build


def _family(name: str, make: Callable[[Net], int], **options: object) -> None:
    """Add a case with one output that needs no code of its own."""

    def build(sparse: bool) -> bytes:
        net = Net(sparse=sparse, **options)  # type: ignore[arg-type]
        return net.pack(make(net))

    build.__name__ = name
    case(build)


def _inside(name: str, change: Callable[[Net, int], int], **options: object) -> None:
    """Add a case whose network holds `change` between two blocks of an otherwise sparse cluster."""
    _family(name, lambda net: net.head(net.block(change(net, net.block(net.stem())))), **options)


def _conv2(net: Net, x: int) -> int:
    return net.head(net.block(x))


# The plain network, by sparsity, storage and batch
_inside("plain", lambda net, x: x)
for percent in (40, 60, 66, 67, 70, 80, 99):
    _inside(f"zeros_{percent}", lambda net, x: x, zeros=percent / 100)
for percent in (60, 80):
    _inside(f"float16_zeros_{percent}", lambda net, x: x, zeros=percent / 100, storage="float16")
    _inside(f"int8_storage_zeros_{percent}", lambda net, x: x, zeros=percent / 100, storage="int8")
_inside("batch_2", lambda net, x: x, batch=2)

# The stem
_family("stem_same", lambda net: _conv2(net, net.conv(net.input, 16, 3, stride=2, padding="same")))
_family(
    "float16_stem_same",
    lambda net: _conv2(net, net.conv(net.input, 16, 3, stride=2, padding="same")),
    storage="float16",
)
_family("stem_same_odd", lambda net: _conv2(net, net.conv(net.input, 16, 3, stride=2, padding="same")), size=17)
_family("stem_pad_0_1", lambda net: _conv2(net, net.stem(before=0, after=1)))
_family("stem_pad_2_2", lambda net: _conv2(net, net.stem(before=2, after=2)))
_family("stem_no_pad", lambda net: _conv2(net, net.conv(net.input, 16, 3, stride=2)))
_family("stem_stride_1", lambda net: _conv2(net, net.conv(net.pad(net.input, 1, 1), 16, 3)))
_family("stem_5x5", lambda net: _conv2(net, net.conv(net.pad(net.input, 2, 2), 16, 5, stride=2)))
_family("stem_1x1_on_input", lambda net: _conv2(net, net.conv(net.input, 16)))
_family("stem_twice", lambda net: _conv2(net, net.conv(net.pad(net.stem(), 1, 1), 16, 3, stride=2)))
_family("stem_dilated", lambda net: _conv2(net, net.conv(net.pad(net.input, 1, 1), 16, 3, dilation=2)))
_family(
    "scaled_before_stem",
    lambda net: _conv2(
        net, net.conv(net.pad(net.binary("MUL", net.input, net.constant(0.5, (1,))), 1, 1), 16, 3, stride=2)
    ),
)

# Inside
for kernel, stride, padding, pads in (
    (3, 1, "same", None),
    (5, 1, "same", None),
    (7, 1, "same", None),
    (3, 2, "same", None),
    (3, 2, "valid", (0, 1)),
    (3, 2, "valid", (1, 1)),
    (5, 2, "valid", (1, 2)),
    (5, 2, "valid", (2, 2)),
    (3, 1, "valid", None),
):
    _inside(
        f"depthwise_{kernel}_stride_{stride}_{padding}" + (f"_pad_{pads[0]}_{pads[1]}" if pads else ""),
        lambda net, x, k=kernel, s=stride, p=padding, pads=pads: net.depthwise(
            net.pad(x, *pads) if pads else x, k, stride=s, padding=p
        ),
    )
_inside("depthwise_multiplier", lambda net, x: net.depthwise(x, multiplier=2))
_inside("depthwise_dilated", lambda net, x: net.depthwise(x, dilation=2))
_inside("conv_1x1_stride_2", lambda net, x: net.conv(x, 32, stride=2))
_inside("conv_1x1_same", lambda net, x: net.conv(x, 32, padding="same"))
_inside("conv_1x1_groups", lambda net, x: net.conv(x, 32, groups=2))
_inside("conv_3x3", lambda net, x: net.conv(x, 32, 3, padding="same"))
_inside("conv_tanh", lambda net, x: net.conv(x, 32, act="tanh"))
_inside("conv_linear", lambda net, x: net.conv(x, 32, act="none"))
_inside("average_pool", lambda net, x: net.pool(x, 2))
_inside("max_pool", lambda net, x: net.pool(x, 2, name="MAX_POOL_2D"))
_inside("resize", lambda net, x: net.resize(x, 16))
_inside("concat", lambda net, x: net.concat(x, x))
_inside("residual", lambda net, x: net.binary("ADD", x, net.block(x)))
_inside("residual_relu", lambda net, x: net.binary("ADD", x, net.block(x), act="relu"))
for name in ("SUB", "MAXIMUM", "MINIMUM"):
    _inside(f"binary_{name.lower()}", lambda net, x, name=name: net.binary(name, x, net.block(x)))
_inside("square_by_mul", lambda net, x: net.binary("MUL", x, x))
_inside("double_by_add", lambda net, x: net.binary("ADD", x, x))
for name in (
    "LOGISTIC", "HARD_SWISH", "TANH", "RELU", "RELU6", "ELU", "LEAKY_RELU", "SQRT", "EXP", "ABS", "NEG",
    "SQUARE", "GELU", "FLOOR", "SIN",
):  # fmt: skip
    _inside(f"unary_{name.lower()}", lambda net, x, name=name: net.unary(name, net.unary("ABS", x)))
_inside("swish", lambda net, x: net.binary("MUL", x, net.unary("LOGISTIC", x)))
for what, shape in (("rank_0", ()), ("rank_1", (1,)), ("vector", (64,)), ("rank_4", (1, 1, 1, 1)),
                    ("rank_4_vector", (1, 1, 1, 64)), ("map", (1, 8, 8, 1))):  # fmt: skip
    _inside(f"constant_second_{what}", lambda net, x, s=shape: net.binary("MUL", x, net.constant(0.5, s)))
    _inside(f"constant_first_{what}", lambda net, x, s=shape: net.binary("MUL", net.constant(0.5, s), x))
_inside("add_constant_second", lambda net, x: net.binary("ADD", x, net.constant(3.0, (1, 1, 1, 1))))
_inside("add_constant_first", lambda net, x: net.binary("ADD", net.constant(3.0, (1, 1, 1, 1)), x))
_inside("maximum_constant", lambda net, x: net.binary("MAXIMUM", x, net.constant(0.25, (1, 1, 1, 1))))
_inside("minimum_constant_rank_0", lambda net, x: net.binary("MINIMUM", x, net.constant(0.25, ())))


def _gate(net: Net, x: int, *, keep: bool = True, hard: str | None = None, reduce: str = "MEAN") -> int:
    pooled = net.reduce(x, keep=keep, name=reduce)
    if not keep:
        pooled = net.reshape(pooled, (1, 1, 1, net.shape(x)[3]))
    gate = net.conv(net.conv(pooled, 16), net.shape(x)[3], act="none")
    if hard is None:
        gate = net.unary("LOGISTIC", gate)
    else:
        three, sixth = net.constant(3.0, (1, 1, 1, 1)), net.constant(1 / 6, () if hard == "rank_0" else (1, 1, 1, 1))
        gate = net.unary("RELU6", net.binary("ADD", *((three, gate) if hard == "first" else (gate, three))))
        gate = net.binary("MUL", *((sixth, gate) if hard == "first" else (gate, sixth)))
    return net.binary("MUL", x, gate)


def _dense_gate(net: Net, x: int, *, units: int = 16, zeros: float = 0.0) -> int:
    """Squeeze-excite by dense layers that keep four dimensions."""
    squeezed = net.dense(net.reduce(x, keep=True), units, zeros=zeros, act="relu", version=5, keep=True)
    gate = net.dense(squeezed, net.shape(x)[3], zeros=zeros, version=5, keep=True)
    return net.binary("MUL", x, net.unary("LOGISTIC", gate))


_inside("gate_dense", _dense_gate)
_inside("gate_dense_big", lambda net, x: _dense_gate(net, x, units=1024))
_inside("gate_dense_big_sparse", lambda net, x: _dense_gate(net, x, units=1024, zeros=0.9))
_inside("dense_on_map", lambda net, x: net.dense(x, 64, zeros=0.9, act="relu", version=5, keep=True))
_inside("gate", _gate)
_inside("gate_sum", lambda net, x: _gate(net, x, reduce="SUM"))
_inside("gate_reshape", lambda net, x: _gate(net, x, keep=False))
_inside("gate_hard_rank_0", lambda net, x: _gate(net, x, hard="rank_0"))
_inside("gate_hard_second", lambda net, x: _gate(net, x, hard="second"))
_inside("gate_hard_first", lambda net, x: _gate(net, x, hard="first"))


# The end
def _body(net: Net) -> int:
    return net.block(net.block(net.stem()))


_family("end_mean", lambda net: net.reduce(_body(net)))
_family("end_mean_keep", lambda net: net.reduce(_body(net), keep=True))
_family("end_mean_axes_reversed", lambda net: net.reduce(_body(net), axes=(2, 1)))
_family("end_mean_channels", lambda net: net.reduce(_body(net), axes=(3,)))
_family("end_mean_rows", lambda net: net.reduce(_body(net), axes=(1,)))
_family("end_mean_all", lambda net: net.reduce(_body(net), axes=(1, 2, 3)))
_family("end_sum", lambda net: net.reduce(_body(net), name="SUM"))
_family("end_max", lambda net: net.reduce(_body(net), name="REDUCE_MAX"))
_family("end_average_pool", lambda net: net.pool(_body(net), 8))
_family("end_depth_to_space", lambda net: net.depth_to_space(_body(net)))
_family("end_convolution", _body)
_family("end_flatten", lambda net: net.dense(net.reshape(_body(net), (1, 4096)), 10))
_family("end_mean_logistic", lambda net: net.unary("LOGISTIC", net.reduce(_body(net), keep=True)))
_family("end_mean_conv", lambda net: net.conv(net.reduce(_body(net), keep=True), 10, zeros=0.0))
_family(
    "end_mean_conv_reshape",
    lambda net: net.softmax(net.reshape(net.conv(net.reduce(_body(net), keep=True), 10, zeros=0.0), (1, 10))),
)
_family("end_mean_conv_logistic", lambda net: net.unary("LOGISTIC", net.conv(net.reduce(_body(net), keep=True), 10)))
_family(
    "end_mean_dense_4d_reshape",
    lambda net: net.softmax(
        net.reshape(net.dense(net.reduce(_body(net), keep=True), 10, version=5, keep=True), (1, 10))
    ),
)
_family("end_mean_keep_dense", lambda net: net.dense(net.reduce(_body(net), keep=True), 10))
for zeros in (0.0, 0.9):
    _family(
        f"end_mean_keep_dense_big_zeros_{zeros:.0%}".rstrip("%"),
        lambda net, z=zeros: net.dense(net.reduce(_body(net), keep=True), 600, zeros=z),
    )
_inside("gate_without_convolution", lambda net, x: net.binary("MUL", x, net.reduce(x, keep=True)))
_inside("gate_logistic_only", lambda net, x: net.binary("MUL", x, net.unary("LOGISTIC", net.reduce(x, keep=True))))
_family("stem_then_pool", lambda net: net.head(net.block(net.pool(net.stem(), 2))))
_family("broken_but_dense", lambda net: net.head(net.block(net.pool(net.block(net.stem()), 2))), zeros=0.6)
_family(
    "end_mean_keep_reshape_dense", lambda net: net.dense(net.reshape(net.reduce(_body(net), keep=True), (1, 64)), 10)
)
_family("end_mean_twice", lambda net: net.binary("ADD", *(net.reduce(_body(net), keep=True) for _ in range(2))))
for axes in ((2,), (1, 3), (2, 3), (3, 2, 1), (0, 1, 2)):
    what = "".join(map(str, axes))
    _family(f"end_mean_axes_{what}", lambda net, a=axes: net.reduce(_body(net), axes=a))
    _family(f"end_mean_keep_axes_{what}", lambda net, a=axes: net.reduce(_body(net), axes=a, keep=True))
_family("end_mean_keep_channels", lambda net: net.reduce(_body(net), axes=(3,), keep=True))
_family("end_sum_keep", lambda net: net.reduce(_body(net), name="SUM", keep=True))
_family("end_mean_conv_conv", lambda net: net.conv(net.conv(net.reduce(_body(net), keep=True), 16), 10))
_family("end_mean_conv_add", lambda net: net.binary("ADD", *[net.conv(net.reduce(_body(net), keep=True), 16)] * 2))
_family("end_mean_softmax", lambda net: net.softmax(net.reduce(_body(net), keep=True)))
_family("end_mean_square", lambda net: net.reduce(net.unary("SQUARE", _body(net))))
_family("end_gate", lambda net: _gate(net, _body(net)))
_family("gate_then_average_pool", lambda net: net.head(net.pool(_gate(net, _body(net)), 2)))
_family("gate_then_log_softmax", lambda net: net.head(net.other("LOG_SOFTMAX", _gate(net, _body(net)))))
_family("gate_then_concat", lambda net: net.head(net.concat(*[_gate(net, _body(net))] * 2)))
_family("gate_then_one_channel", lambda net: net.unary("LOGISTIC", net.conv(_gate(net, _body(net)), 1, act="none")))
_family("gate_then_unary", lambda net: net.unary("LOGISTIC", _gate(net, _body(net))))
_family("gate_then_resize", lambda net: net.resize(_gate(net, _body(net)), 16))
_family(
    "stem_4_channels",
    lambda net: net.head(net.block(net.conv(net.pad(net.concat(net.input, net.input), 1, 1), 16, 3, stride=2))),
)
_family("input_twice", lambda net: net.head(net.block(net.binary("ADD", net.stem(), net.stem()))))
_family("stem_to_mean", lambda net: net.head(net.stem()))
_family("stem_activation_alone", lambda net: net.head(net.block(net.unary("HARD_SWISH", net.stem(act="none")))))
for percent in (40, 50):
    _inside(f"float16_zeros_{percent}", lambda net, x: x, zeros=percent / 100, storage="float16")
_family("head_dense_big", lambda net: net.head(_body(net), 600))
_family("head_dense_big_sparse", lambda net: net.head(_body(net), 600, zeros=0.9))
_family("head_two_dense", lambda net: net.dense(net.dense(net.reduce(_body(net)), 300, act="relu"), 10))
_family("head_custom", lambda net: net.other("CUSTOM", net.head(_body(net)), custom="Nothing"))
_family("head_cast", lambda net: net.other("ROUND", net.other("LOG_SOFTMAX", net.dense(net.reduce(_body(net)), 10))))
_inside("not_delegated_inside", lambda net, x: net.other("LOG_SOFTMAX", x))


@case
def output_in_the_middle(sparse: bool) -> bytes:
    net = Net(sparse=sparse)
    middle = net.block(net.stem())
    return net.pack(net.head(net.block(middle)), middle)


@case
def two_heads(sparse: bool) -> bytes:
    net = Net(sparse=sparse)
    body = _body(net)
    return net.pack(net.head(body), net.head(net.block(body)))


for percent in (0, 10, 25, 32):

    @case
    def _float16(sparse: bool, zeros: float = percent / 100) -> bytes:
        net = Net(sparse=sparse, zeros=zeros, storage="float16")
        return net.pack(net.dense(net.reduce(_body(net)), 10, zeros=0.5))

    CASES[f"float16_hinted_zeros_{percent}"] = CASES.pop("_float16")


@case
def maps_leave_by_depth_to_space(sparse: bool) -> bytes:
    """SPACE_TO_DEPTH undoes it, outside the cluster."""
    net = Net(sparse=sparse)
    maps = net.depth_to_space(_body(net))
    return net.pack(net.conv(net.space_to_depth(maps), 10))


@case
def padding_with_two_readers(sparse: bool) -> bytes:
    net = Net(sparse=sparse)
    padded = net.pad(net.conv(net.stem(), 32), 1, 1)
    both = [net.conv(net.depthwise(padded, stride=2, padding="valid"), 32) for _ in range(2)]
    return net.pack(net.head(net.binary("ADD", *both)))


@case
def two_stems_for_four_channels(sparse: bool) -> bytes:
    """What recast_stem writes: one tile for each three channels."""
    net = Net(sparse=sparse)
    parts = [net.conv(net.pad(net.input, 1, 1), 16, 3, stride=2, act="none") for _ in range(2)]
    return net.pack(net.head(net.block(net.binary("ADD", *parts, act="relu"))))


@case
def pooled_is_an_output(sparse: bool) -> bytes:
    net = Net(sparse=sparse)
    pooled = net.reduce(_body(net))
    return net.pack(net.dense(pooled, 10), pooled)


@case
def pooled_has_two_readers(sparse: bool) -> bytes:
    net = Net(sparse=sparse)
    pooled = net.reduce(_body(net))
    return net.pack(net.dense(pooled, 10), net.softmax(pooled))


@case
def pooled_map_has_two_readers(sparse: bool) -> bytes:
    net = Net(sparse=sparse)
    pooled = net.reduce(_body(net), keep=True)
    return net.pack(net.dense(pooled, 10), net.softmax(pooled))


@case
def two_gates_and_an_output(sparse: bool) -> bytes:
    net = Net(sparse=sparse)
    body = _gate(net, _body(net))
    return net.pack(net.head(net.block(body)), body)


@case
def head_and_pool(sparse: bool) -> bytes:
    net = Net(sparse=sparse)
    body = _body(net)
    return net.pack(net.head(body), net.pool(body, 2, name="MAX_POOL_2D"))


@case
def only_dense_is_sparse(sparse: bool) -> bytes:
    """The convolutions hold zeros but are stored densely; the head's weight alone is behind DENSIFY."""
    net = Net(sparse=False)
    pooled = net.reduce(_body(net))
    net.sparse = sparse
    return net.pack(net.dense(pooled, 10, zeros=0.5))
