"""What a misbehaving runtime becomes: one line, the right class, and no child left behind."""

import os
import time

import numpy as np
import pytest

from edgeprune.device.local import LocalTransport
from edgeprune.device.transport import RunRequest
from edgeprune.errors import DeviceError, InputError
from tests.tflite.model_files import ModelFile, dense_network

pytestmark = pytest.mark.unit

START = """
import json, os, signal, sys, time
request = json.load(open(sys.argv[1]))
print("@edgeprune load 0", file=sys.stderr, flush=True)
"""


@pytest.fixture
def request_for(tmp_path):
    """A bench request for a small model."""
    path = tmp_path / "small.tflite"
    path.write_bytes(dense_network().pack())
    return RunRequest("bench", (path,), rounds=1, round_secs=0.02, warmup_secs=0.01)


def runner(tmp_path, body: str):
    path = tmp_path / "bad_runner.py"
    path.write_text(START + body)
    return path


def test_a_run_and_its_progress(request_for):
    steps = []
    result = LocalTransport().run(request_for, steps.append)
    assert steps == ["memory 0", "load 0", "warmup 0", "round 0 0"]
    assert result.runtime.startswith("ai-edge-litert ")
    assert len(result.rounds_ms) == len(result.rounds_ms[0]) == 1
    assert all(sample > 0 for sample in result.rounds_ms[0][0])
    assert LocalTransport().describe() == "local"


def test_outputs_are_written_where_asked(request_for, tmp_path):
    np.savez(tmp_path / "in.npz", input_0=np.ones((2, 8), np.float32))
    request = RunRequest("outputs", request_for.models, inputs=tmp_path / "in.npz", outputs=tmp_path / "out.npz")
    assert LocalTransport().run(request).rounds_ms == ()
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["output_0"], np.full((2, 4), 8.0))


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_crash_names_signal_model_and_step(request_for, tmp_path, name):
    body = f'print("@edgeprune warmup 0", file=sys.stderr, flush=True)\nos.kill(os.getpid(), signal.{name})\n'
    with pytest.raises(DeviceError) as caught:
        LocalTransport(runner=runner(tmp_path, body)).run(request_for)
    assert f"crashed on small.tflite with {name} during warm-up" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_crash_leaves_no_half_written_outputs(request_for, tmp_path):
    body = 'open(request["outputs"] + ".part", "w").close()\nos.abort()\n'
    request = RunRequest("outputs", request_for.models, inputs=tmp_path / "in.npz", outputs=tmp_path / "out.npz")
    with pytest.raises(DeviceError, match="SIGABRT"):
        LocalTransport(runner=runner(tmp_path, body)).run(request)
    assert not list(tmp_path.glob("out.npz*"))


def test_the_second_model_is_blamed_for_its_own_crash(request_for, tmp_path):
    other = tmp_path / "other.tflite"
    other.write_bytes(dense_network().pack())
    body = 'print("@edgeprune load 1", file=sys.stderr, flush=True)\nos.abort()\n'
    request = RunRequest("bench", (*request_for.models, other))
    with pytest.raises(DeviceError, match=r"crashed on other.tflite with SIGABRT during loading"):
        LocalTransport(runner=runner(tmp_path, body)).run(request)


def test_a_hang_ends_after_the_patience_and_leaves_no_process(request_for, tmp_path):
    body = f'open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))\ntime.sleep(600)\n'
    began = time.monotonic()
    with pytest.raises(DeviceError, match=r"small.tflite hangs: no progress for \d+ s during loading"):
        LocalTransport(stall_secs=1.0, runner=runner(tmp_path, body)).run(request_for)
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_progress_keeps_a_slow_run_alive(request_for, tmp_path):
    """Each step takes less than the patience; together they take far more."""
    body = """
for number in range(3):
    print("@edgeprune round 0", number, file=sys.stderr, flush=True)
    time.sleep(0.4)
document = {"ok": True, "runtime": "r", "runtime_version": "1", "machine": {}, "models": [{"rounds_ms": [[1.0]]}]}
json.dump(document, open(request["result"], "w"))
"""
    result = LocalTransport(stall_secs=1.0, runner=runner(tmp_path, body)).run(request_for)
    assert result.rounds_ms == (((1.0,),),)


def test_an_interruption_ends_the_child(request_for, tmp_path):
    body = f'open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))\n'
    body += 'print("@edgeprune warmup 0", file=sys.stderr, flush=True)\ntime.sleep(600)\n'

    def interrupt(step: str) -> None:
        if step.startswith("warmup"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalTransport(runner=runner(tmp_path, body)).run(request_for, interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_exit_without_result_quotes_the_last_words(request_for, tmp_path):
    body = 'sys.exit("no room for the runtime")\n'
    with pytest.raises(DeviceError, match='exit code 1 during loading; its last words: "no room for the runtime"'):
        LocalTransport(runner=runner(tmp_path, body)).run(request_for)


def test_a_model_the_runtime_refuses_is_quoted_in_one_line(tmp_path):
    file = ModelFile()
    x, y = file.tensor((1, 4)), file.tensor((1, 4))
    file.op("CUSTOM", [x], [y], custom="NoSuchThing")
    file.inputs, file.outputs = [x], [y]
    path = tmp_path / "custom.tflite"
    path.write_bytes(file.pack())
    with pytest.raises(DeviceError, match=r"can't load custom.tflite: \".*NoSuchThing") as caught:
        LocalTransport().run(RunRequest("bench", (path,), rounds=1, round_secs=0.01, warmup_secs=0))
    assert "\n" not in str(caught.value)


def test_inputs_that_do_not_fit_are_the_users_mistake(request_for, tmp_path):
    np.savez(tmp_path / "in.npz", input_0=np.ones((2, 7), np.float32))
    request = RunRequest("outputs", request_for.models, inputs=tmp_path / "in.npz", outputs=tmp_path / "out.npz")
    with pytest.raises(InputError, match="don't fit small.tflite"):
        LocalTransport().run(request)
    assert not (tmp_path / "out.npz").exists()
