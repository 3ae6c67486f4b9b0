"""`edgeprune bench` as a user meets it."""

import json
import os
import subprocess
import sys

import pytest

from edgeprune.cli.bench import speedup_line
from edgeprune.cli.main import main
from edgeprune.device.devices import KINDS, Kind
from edgeprune.device.local import LocalTransport
from edgeprune.errors import DeviceError
from edgeprune.records.bench import Ratio
from tests.tflite.model_files import dense_network

pytestmark = pytest.mark.unit

# One more than there are cores, which is worth a warning
THREADS = (os.cpu_count() or 1) + 1


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(dense_network().pack())
    return path


def run(capsys, *arguments):
    """(exit code, stdout, stderr)."""
    code = 0
    try:
        main(list(map(str, arguments)))
    except SystemExit as end:
        code = end.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_table_and_the_verdict_on_stdout(model, capsys, monkeypatch):
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.02)
    baseline = model.with_name("dense.tflite")
    baseline.write_bytes(model.read_bytes())
    code, out, err = run(capsys, "bench", model, "--baseline", baseline, "--quick", "--threads", THREADS)
    assert code == 0
    columns = ("size kB", "median ms", "p90 ms", "p99 ms", "RAM MB", "samples")
    for word in ("dense.tflite", "model.tflite", *columns, f"{THREADS} threads", "95 % interval"):
        assert word in out
    assert "not trustworthy" not in out
    assert f"not trustworthy: {THREADS} threads were asked for" in err


def test_json_is_one_document_and_nothing_else(model, capsys, monkeypatch):
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.02)
    code, out, _ = run(capsys, "bench", model, "--quick", "--json", "--rounds", "2")
    record = json.loads(out)
    assert code == 0
    assert record["rounds"] == 2
    assert record["model"]["samples_ms"]
    assert record["speedup"] is None


@pytest.mark.parametrize(
    ("ratio", "line"),
    [
        (Ratio(1.83, 1.79, 1.87, 0.95), "speed-up 1.83x (95 % interval 1.79 to 1.87)"),
        (Ratio(1.01, 0.98, 1.03, 0.95), "no measurable difference: 1.01x (95 % interval 0.98 to 1.03)"),
        (Ratio(1.0, 1.0, 1.0, 0.95), "no measurable difference: 1.00x (95 % interval 1.00 to 1.00)"),
        (Ratio(0.5, 0.49, 0.52, 0.95), "speed-up 0.50x (95 % interval 0.49 to 0.52); slower than the baseline"),
    ],
)
def test_the_verdict(ratio, line):
    assert speedup_line(ratio) == line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.tflite", None, "does not exist"),
        ("m.keras", b"PK", "edgeprune build"),
        ("m.tflite", b"hello, this is text", "not a TFLite model"),
        ("m.tflite", dense_network().pack()[:200], "damaged"),
    ],
)
def test_bad_files_exit_with_2_and_one_line(tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, out, err = run(capsys, "bench", tmp_path / name)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_device_failure_exits_with_4(tmp_path, capsys):
    file = dense_network()
    file.op("CUSTOM", [3], [file.tensor((1, 4))], custom="NoSuchThing")
    path = tmp_path / "custom.tflite"
    path.write_bytes(file.pack())
    code, _, err = run(capsys, "bench", path, "--quick")
    assert code == 4
    assert "NoSuchThing" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--device", "ssh://-oProxyCommand=x"], ["--device", "lokal"], ["--threads", "0"]]
)
def test_bad_options_exit_with_2(model, capsys, arguments):
    assert run(capsys, "bench", model, "--quick", *arguments)[0] == 2


@pytest.fixture
def board(monkeypatch):
    """A device "local" and one that fails, in place of the real ones."""
    monkeypatch.setattr("edgeprune.device.bench.QUICK_ROUND_SECS", 0.02)

    def fail(spec):
        raise DeviceError(f"{spec} is\nout of reach")

    monkeypatch.setitem(KINDS, "gone", Kind("gone", fail))
    monkeypatch.setitem(KINDS, "second", Kind("second", lambda spec: LocalTransport()))


def test_several_devices_share_one_table(model, capsys, board):
    code, out, _ = run(capsys, "bench", model, "--quick", "--device", "second", "--device", "local")
    assert code == 0
    assert out.count("median ms") == 1
    assert out.count("model.tflite") == 2


def test_a_device_that_fails_is_named_and_the_others_are_shown(model, capsys, board):
    code, out, err = run(capsys, "bench", model, "--quick", "--device", "gone", "--device", "local")
    assert code == 4
    assert "model.tflite" in out
    assert err.splitlines()[-1] == "edgeprune: gone: gone is out of reach"


def test_several_devices_in_one_json_list(model, capsys, board):
    code, out, _ = run(capsys, "bench", model, "--quick", "--json", "--device", "gone", "--device", "local")
    failed, measured = json.loads(out)
    assert code == 4
    assert failed == {"device": "gone", "error": "gone is out of reach", "exit_code": 4}
    assert measured["device"] == "local"
    assert measured["model"]["peak_rss_kb"] > 0


def test_an_unknown_device_among_others_is_the_users_mistake(model, capsys, board):
    assert run(capsys, "bench", model, "--quick", "--device", "lokal", "--device", "local")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "local", "--device", "local"], "named twice"),
        (["--install"], 'nothing can be installed on "local"'),
        (["--device", "emulator:rpi4", "--threads", "2"], "counts on one thread"),
        (["--device", "emulator:rpi4", "--device", "local", "--install"], "--install; leave it out"),
        (["--device", "ssh://pi;reboot@board"], "can't contain"),
    ],
)
def test_devices_that_can_not_be_asked_for(model, capsys, arguments, message):
    code, out, err = run(capsys, "bench", model, "--quick", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_bench_and_inspect_load_no_tensorflow(model):
    script = f"""
import sys
from edgeprune.cli.main import main
from edgeprune.device.devices import KINDS, Kind
from edgeprune.device.local import LocalTransport
from edgeprune.errors import DeviceError
main(["inspect", {str(model)!r}])
main(["bench", {str(model)!r}, "--quick", "--rounds", "1"])
loaded = [name for name in ("tensorflow", "keras") if name in sys.modules]
sys.exit(f"loaded {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
