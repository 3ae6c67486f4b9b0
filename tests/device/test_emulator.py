"""Real runs on an emulated Raspberry Pi 4: parity with this host, counts, crashes. Sets the board up once."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprune.boards.board import find_board
from edgeprune.boards.setup import board_state, setup_board
from edgeprune.cli.main import main
from edgeprune.device.devices import open_device
from edgeprune.device.emulator import EmulatorTransport
from edgeprune.device.instructions import bench_instructions, count_instructions
from edgeprune.device.outputs import device_outputs
from edgeprune.device.transport import RunRequest, Transport
from edgeprune.errors import DeviceError, InputError
from edgeprune.records.instructions import InstructionCounts
from edgeprune.target import Runtime
from tests.device.contract import TransportContract

pytestmark = pytest.mark.emulator

PI4 = "emulator:rpi4"
OLD_RUNTIME = Runtime("tflite-runtime", "2.14.0")
PI4_OLD = "emulator:rpi4@tflite-runtime==2.14.0"
INPUT = (1, 64, 64, 3)
# The issue's own limit for a model of 300 million multiply-accumulates, start included.
MOBILENET_SECS = 20.0


@pytest.fixture(scope="session")
def boards(board_cache: str) -> str:
    """The cache folder in which rpi4 is set up with two runtimes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", board_cache)
        setup_board("rpi4")
        setup_board("rpi4", OLD_RUNTIME)
    return board_cache


@pytest.fixture(autouse=True)
def use_boards(boards: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test sees that cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", boards)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network that XNNPACK can run sparsely, as float32, int8 and sparse; dense layers; MobileNetV2; bad files."""
    import keras

    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(7)
    network = _network()
    dense = _blocky_dense()
    mobilenet = keras.applications.MobileNetV2(input_shape=(224, 224, 3), weights=None)
    fixed = keras.Input((224, 224, 3), batch_size=1)
    files = {
        "float32": _converted(network),
        "int8": _converted(network, calibrated=True),
        "dense": _converted(dense),
        "mobilenet": _converted(keras.Model(fixed, mobilenet(fixed))),
    }
    _prune_1x1(network)
    files["sparse"] = _converted(network, "EXPERIMENTAL_SPARSITY")
    # Segmentation fault in all of LiteRT 1.4 to 2.3: 8-bit dynamic range, with blocks of 1x16 zeros.
    files["crashes"] = _converted(dense, "DEFAULT", "EXPERIMENTAL_SPARSITY")
    files["truncated"] = files["float32"][:5000]
    paths = {}
    for name, content in files.items():
        paths[name] = folder / f"{name}.tflite"
        paths[name].write_bytes(content)
    return paths


def _network() -> Any:
    import keras
    from keras import layers

    start = keras.Input(INPUT[1:], batch_size=1)
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(layers.ZeroPadding2D(1)(start))
    for channels in (32, 64, 64):
        x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
        x = layers.Conv2D(channels, 1, activation="relu")(x)
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def _prune_1x1(network: Any) -> None:
    """Zero 9 of 10 weights of each 1x1 convolution."""
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if type(layer).__name__ == "Conv2D" and layer.kernel_size == (1, 1):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * (generator.random(kernel.shape) < 0.1), bias])


def _blocky_dense() -> Any:
    import keras
    from keras import layers

    network = keras.Sequential([keras.Input((256,), batch_size=1), layers.Dense(256), layers.Dense(16)])
    kernel, bias = network.layers[0].get_weights()
    blocks = kernel.T.reshape(256, 16, 16) * (np.random.default_rng(0).random((256, 16, 1)) < 0.2)
    network.layers[0].set_weights([blocks.reshape(256, 256).T, bias])
    return network


def _converted(network: Any, *optimizations: str, calibrated: bool = False) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [getattr(tf.lite.Optimize, name) for name in optimizations]
    if calibrated:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample[None]] for sample in _samples(8))
        converter.inference_input_type = converter.inference_output_type = tf.int8
    content: bytes = converter.convert()
    return content


def _samples(count: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, *INPUT[1:])).astype(np.float32)


def outputs(device: str, model: Path, inputs: np.ndarray) -> np.ndarray:
    (found,) = device_outputs(model, [inputs], device=device)
    return found


@pytest.fixture(scope="session")
def counted(boards: str, models: dict[str, Path]) -> dict[str, InstructionCounts | DeviceError | InputError]:
    """All models in one call: two of them must fail, one by crashing the emulator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", boards)
        names = [name for name in models if name != "mobilenet"]
        found = count_instructions([models[name] for name in names], device=PI4)
    return dict(zip(names, found, strict=True))


def counts(counted: dict[str, Any], name: str) -> InstructionCounts:
    found = counted[name]
    assert isinstance(found, InstructionCounts), found
    return found


def test_a_setup_is_kept_and_listed(boards: str) -> None:
    state = board_state("rpi4")
    assert state.runtimes == ("ai-edge-litert==2.3.0", "tflite-runtime==2.14.0")
    assert 50e6 < state.disk_bytes < 1e9
    assert Path(state.path) == Path(boards, "edgeprune/boards/rpi4")
    # Once cached nothing is downloaded: apt and pip could not, with such a proxy.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        assert setup_board("rpi4") == state


@pytest.mark.parametrize("device", [PI4, PI4_OLD])
def test_float32_outputs_agree_with_the_host(models: dict[str, Path], device: str) -> None:
    here = outputs("local", models["float32"], _samples(3))
    there = outputs(device, models["float32"], _samples(3))
    assert there.shape == here.shape == (3, 10)
    assert np.abs(there - here).max() <= 1e-5 * np.abs(here).max()


def test_sparse_kernels_compute_what_the_host_computes(models: dict[str, Path]) -> None:
    here = outputs("local", models["sparse"], _samples(2))
    there = outputs(PI4, models["sparse"], _samples(2))
    assert np.abs(there - here).max() <= 1e-5 * np.abs(here).max()


def test_int8_outputs_agree_within_one_step(models: dict[str, Path]) -> None:
    inputs = np.random.default_rng(2).integers(-128, 128, (3, *INPUT[1:]), dtype=np.int8)
    here = outputs("local", models["int8"], inputs).astype(int)
    there = outputs(PI4, models["int8"], inputs).astype(int)
    assert here.std() > 1, "outputs that all are equal would prove nothing"
    assert np.abs(there - here).max() <= 1


def test_one_crash_and_one_refusal_cost_no_other_model(counted: dict[str, Any]) -> None:
    assert isinstance(counted["crashes"], DeviceError)
    assert "on the emulated rpi4 crashed on crashes.tflite with SIGSEGV" in str(counted["crashes"])
    assert isinstance(counted["truncated"], DeviceError)
    assert "can't load truncated.tflite: \"" in str(counted["truncated"])
    for name in ("float32", "int8", "dense", "sparse"):
        assert counts(counted, name).instructions > 0


def test_every_operation_has_its_instructions(counted: dict[str, Any]) -> None:
    found = counts(counted, "float32")
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED", "other"} <= set(found.by_op)
    assert sum(found.by_op.values()) == found.instructions
    # One NEON multiply-add does four of the 1x1 convolutions' 32 * 32 * (16 * 32 + 32 * 64 + 64 * 64) and the stem's
    # 32 * 32 * 27 * 16; loads, stores and loops at most double it.
    macs = 32 * 32 * (16 * 32 + 32 * 64 + 64 * 64 + 27 * 16)
    assert macs / 4 < found.by_op["CONV_2D"] < macs / 2
    assert found.by_op["other"] < 0.01 * found.instructions
    # The Pi 4's own kernels, not those of a core that qemu or the host would suggest
    assert any("cortex_a75" in kernel for kernel in found.by_kernel)
    assert found.load_instructions > 0
    assert found.emulated_load_secs > 0


def test_sparse_kernels_are_seen(counted: dict[str, Any]) -> None:
    dense, sparse = counts(counted, "float32"), counts(counted, "sparse")
    assert any("_spmm_" in kernel for kernel in sparse.by_kernel)
    assert not any("_spmm_" in kernel for kernel in dense.by_kernel)
    assert sparse.instructions < 0.5 * dense.instructions


def test_counts_repeat(counted: dict[str, Any], models: dict[str, Path]) -> None:
    (again,) = count_instructions([models["float32"]], device=PI4)
    assert isinstance(again, InstructionCounts)
    first = counts(counted, "float32")
    assert again.instructions == pytest.approx(first.instructions, rel=1e-3)
    assert again.by_op["CONV_2D"] == pytest.approx(first.by_op["CONV_2D"], rel=1e-3)


def test_memory_is_that_of_the_guest(models: dict[str, Path]) -> None:
    """MobileNetV2 has 14 MB of weights, which the runtime packs into as much again, and activations of up to 4.8 MB.

    The code that the emulator translates is not the guest's. Time is that of the processor, as on an idle host.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    (found,) = count_instructions([models["mobilenet"]], device=PI4)
    assert isinstance(found, InstructionCounts)
    assert found.peak_rss_kb is not None
    assert 28e6 < found.peak_rss_kb * 1024 < 70e6
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < MOBILENET_SECS
    # What an independent counter found for this model, board and runtime, Python's part included
    assert found.instructions == pytest.approx(123.3e6, rel=2e-3)


def test_a_hang_is_an_error(models: dict[str, Path], tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(
        "import json, sys, time\n"
        "request = json.load(open(sys.argv[1]))\n"
        "print('@edgeprune load 0', file=sys.stderr, flush=True)\n"
        "open(request['results'], 'a').write(json.dumps({'library_base': 0, 'python': []}) + '\\n')\n"
        "time.sleep(600)\n"
    )
    began = time.monotonic()
    transport = EmulatorTransport(find_board("rpi4"), stall_secs=6.0, count_runner=script)
    (found,) = transport.run(RunRequest("count", (models["float32"],))).counts
    assert "float32.tflite hangs: no progress for 6 s during loading on the emulated rpi4" in str(found)
    assert time.monotonic() - began < 60


def test_the_command_line_says_instructions_and_no_times(
    models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", str(models["sparse"]), "--baseline", str(models["float32"]), "--device", PI4]
    main(arguments)
    out = capsys.readouterr().out
    assert "instructions of one invoke in M" in out
    assert "of the baseline's instructions" in out
    assert "a count, not a time" in out
    assert " ms" not in out
    main([*arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["unit"] == "guest instructions per invoke, emulated; not a time"
    assert document["ratio"] == document["model"]["instructions"] / document["baseline"]["instructions"]
    assert not [key for key in document["model"] if key.endswith("_ms")]


def test_two_runtimes_side_by_side(models: dict[str, Path]) -> None:
    found = bench_instructions(models["float32"], device=PI4_OLD)
    assert found.runtime == "tflite-runtime 2.14.0"
    assert {"CONV_2D", "DEPTHWISE_CONV_2D"} <= set(found.model.by_op)


def test_nothing_is_left_behind(boards: str) -> None:
    assert not list(Path(boards).rglob("*.partial"))
    assert not [name for name in os.listdir() if name.endswith(".core")]


class TestContract(TransportContract):
    """The contract of all transports; this one counts and has no times."""

    measures, counts = False, True

    @pytest.fixture
    def transport(self, temporary: Path) -> Iterator[Transport]:
        with closing(open_device(PI4)) as transport:
            yield transport

    @pytest.fixture
    def remains(self, temporary: Path) -> Callable[[], list[str]]:
        return lambda: sorted(path.name for path in temporary.iterdir())
