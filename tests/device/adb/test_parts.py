"""The parts that need no phone: spec, flags, ABI, clocks, cores, state, download."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.device.adb import binary
from edgeprune.device.adb.binary import Binary, abi_of, find_binary
from edgeprune.device.adb.client import Answer
from edgeprune.device.adb.clock import Clocks, read_clocks
from edgeprune.device.adb.faults import run_failed
from edgeprune.device.adb.phone import Core, Phone, _cores
from edgeprune.device.adb.spec import AdbSpec, parse_spec
from edgeprune.device.adb.tool import bench_flags, output_flags, read_help
from edgeprune.errors import DeviceError, InputError
from tests.device.adb.elf_files import elf

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("ANDROID_SERIAL", "EDGEPRUNE_BENCHMARK_MODEL", "EDGEPRUNE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("adb", AdbSpec()),
        ("adb:R58M", AdbSpec("R58M")),
        ("adb:192.168.1.5:5555", AdbSpec("192.168.1.5:5555")),
        ("adb:[fe80::1%25eth0]:5555", AdbSpec("[fe80::1%eth0]:5555")),
        ("adb:?xnnpack=0", AdbSpec(xnnpack=False)),
    ],
)
def test_specs(text, spec):
    assert parse_spec(text) == spec


def test_options_are_percent_decoded():
    spec = parse_spec("adb:R58M?binary=/a%20b%26c/tool&fixed_performance=1&gpu=true&offline=1")
    assert (str(spec.binary), spec.fixed_performance, spec.gpu, spec.offline) == ("/a b&c/tool", True, True, True)


def test_variables_stand_in(monkeypatch):
    monkeypatch.setenv("ANDROID_SERIAL", "R58M")
    monkeypatch.setenv("EDGEPRUNE_BENCHMARK_MODEL", "/tool")
    monkeypatch.setenv("EDGEPRUNE_OFFLINE", "1")
    spec = parse_spec("adb")
    assert (spec.serial, str(spec.binary), spec.offline) == ("R58M", "/tool", True)
    assert parse_spec("adb:X?offline=0").offline is False
    assert parse_spec("adb:X").serial == "X"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adb:", "names no serial"),
        ("adb:-s", "can't be the serial"),
        ("adb:a%0Ab", "can't be the serial"),
        ("adb:a b", "can't be the serial"),
        ("adb:R?binari=/x", 'unknown option "binari".*did you mean "binary"'),
        ("adb:R?binary=", 'option "binary".*has no value'),
        ("adb:R?gpu=perhaps", "is 0 or 1"),
    ],
)
def test_wrong_specs(text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_spec(text)
    assert "\n" not in str(caught.value)


@given(st.text(min_size=1))
def test_any_serial_comes_back_or_is_refused(serial):
    try:
        found = parse_spec(f"adb:{quote(serial)}").serial
    except InputError as error:
        found, message = None, str(error)
    assert message.isprintable() if found is None else found == serial


CLASSIC = read_help(
    "usage: benchmark_model <flags>\nFlags:\n\t--num_runs=50\tint32\toptional\truns\n\t--use_xnnpack=false\tbool\n"
    "\t--use_gpu=false\tbool\n\t--input_layer=\tstring\n\t--input_layer_shape=\tstring\n"
    "\t--input_layer_value_files=\tstring\te.g. input1:file_path1, see --x=y\n\t--output_filepath=\tstring\n"
)
LITERT = read_help("\t--num_runs=50\tint32\n\t--use_cpu=true\tbool\n\t--use_gpu=false\tbool\n")
SHORT = {"threads": 2, "round_secs": 0.5, "warmup_secs": 0.25, "gpu": False, "xnnpack": True}


def test_the_tools_are_told_apart_by_their_flags():
    assert CLASSIC.name == "benchmark_model (TFLite tool)"
    assert CLASSIC.takes_inputs
    assert "x" not in CLASSIC.flags
    assert LITERT.name == "benchmark_model (LiteRT tool)"
    assert not LITERT.takes_inputs


def test_flags_are_those_that_the_tool_knows():
    assert "--use_xnnpack=true" in bench_flags(CLASSIC, "g", **SHORT)
    assert not any("xnnpack" in flag for flag in bench_flags(LITERT, "g", **SHORT))
    with pytest.raises(InputError, match="can't switch XNNPACK off"):
        bench_flags(LITERT, "g", **{**SHORT, "xnnpack": False})


def test_a_long_round_is_not_ended_by_the_tool():
    assert "--max_secs=150" in bench_flags(CLASSIC, "g", **SHORT)
    assert "--max_secs=800" in bench_flags(CLASSIC, "g", **{**SHORT, "round_secs": 400})


def test_inputs_are_named_shaped_and_given():
    inputs = [("image", (1, 4, 4, 3), "/f/a"), ("serving_default_mask:0", (1, 2), "/f/b")]
    flags = output_flags(CLASSIC, "g", inputs, "/f/out", threads=1, gpu=False, xnnpack=True)
    assert "--input_layer=image,input_1" in flags
    assert "--input_layer_shape=1,4,4,3:1,2" in flags
    assert "--input_layer_value_files=image:/f/a,input_1:/f/b" in flags
    assert "--output_filepath=/f/out" in flags
    # One invoke, not one more to warm up: a model may remember.
    assert {"--num_runs=1", "--min_secs=0", "--warmup_runs=0", "--warmup_min_secs=-1"} <= set(flags)


@pytest.mark.parametrize(
    ("machine", "size", "abi"),
    [(183, 2, "arm64-v8a"), (40, 1, "armeabi-v7a"), (62, 2, "x86_64"), (3, 1, "x86"), (8, 2, "another machine")],
)
def test_abis(machine, size, abi):
    assert abi_of(elf(machine, size)) == abi


def test_what_is_no_elf():
    assert abi_of(b"") is None
    assert abi_of(b"\x7fELF") is None
    assert abi_of(b"MZ" + bytes(60)) is None


def test_the_users_binary(tmp_path):
    path = tmp_path / "tool"
    path.write_bytes(elf())
    digest = hashlib.sha256(elf()).hexdigest()
    assert find_binary(AdbSpec(binary=path), ("arm64-v8a",)) == Binary(path, digest, "arm64-v8a")
    # A 64-bit phone also runs 32-bit programs.
    path.write_bytes(elf(40, 1))
    assert find_binary(AdbSpec(binary=path), ("arm64-v8a", "armeabi-v7a")).abi == "armeabi-v7a"
    with pytest.raises(DeviceError, match=r"wrong ABI: tool is built for armeabi-v7a, the device runs arm64-v8a"):
        find_binary(AdbSpec(binary=path), ("arm64-v8a",))
    path.write_bytes(b"#!/system/bin/sh\n")
    assert find_binary(AdbSpec(binary=path), ("arm64-v8a",)).abi == ""
    path.write_bytes(b"hello")
    with pytest.raises(InputError, match="not a program for Android"):
        find_binary(AdbSpec(binary=path), ("arm64-v8a",))
    for missing in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="give the path of a benchmark_model"):
            find_binary(AdbSpec(binary=missing), ("arm64-v8a",))


class Site(http.server.BaseHTTPRequestHandler):
    """Serves what the test wants."""

    content = b""
    claimed = 0
    status = 200
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(self.status)
        self.send_header("Content-Length", str(self.claimed or len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *arguments):
        """Silence."""


@pytest.fixture
def site(monkeypatch):
    """The place where the program is published."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = type("OneSite", (Site,), {"content": elf() + b"program"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), served) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        monkeypatch.setitem(binary.URLS, "arm64-v8a", f"http://127.0.0.1:{listener.server_port}/tool")
        yield served
        listener.shutdown()
        thread.join()


ARM = ("arm64-v8a",)


def test_it_is_downloaded_once_and_its_checksum_recorded(site, own_cache):
    found = find_binary(AdbSpec(), ARM)
    digest = hashlib.sha256(site.content).hexdigest()
    assert (found.sha256, found.path.read_bytes()) == (digest, site.content)
    recorded = json.loads((own_cache / "edgeprune/benchmark_model/arm64-v8a.json").read_text())
    assert (recorded["sha256"], recorded["url"]) == (digest, binary.URLS["arm64-v8a"])
    site.content = elf() + b"another"
    assert find_binary(AdbSpec(offline=True), ARM) == found
    assert site.asked == 1


def test_a_changed_file_in_the_cache_is_refused(site):
    path = find_binary(AdbSpec(), ARM).path
    path.write_bytes(elf() + b"changed")
    with pytest.raises(DeviceError, match="is not the file that was downloaded"):
        find_binary(AdbSpec(), ARM)
    path.unlink()
    with pytest.raises(DeviceError, match="is not the file that was downloaded"):
        find_binary(AdbSpec(), ARM)


def test_offline_downloads_nothing(site):
    with pytest.raises(InputError, match="nothing may be downloaded"):
        find_binary(AdbSpec(offline=True), ARM)
    assert site.asked == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": 404}, "can't be downloaded.*404"),
        ({"content": b"<html>sorry</html>"}, "is not a program for arm64-v8a"),
        ({"content": elf(40, 1)}, "is not a program for arm64-v8a"),
        ({"claimed": 10_000}, "10000"),
    ],
)
def test_a_bad_download_leaves_nothing(site, own_cache, change, message):
    for name, value in change.items():
        setattr(site, name, value)
    with pytest.raises(DeviceError, match=message) as caught:
        find_binary(AdbSpec(), ARM)
    assert "\n" not in str(caught.value)
    assert not list(own_cache.rglob("arm64*"))


def test_nobody_publishes_a_program_for_other_abis():
    with pytest.raises(DeviceError, match="published for the ABI riscv64"):
        find_binary(AdbSpec(), ("riscv64",))


def look(before: str, wall: str, after: str) -> str:
    return f"edgeprune-clock {before} {wall} {after}"


def test_clocks_are_read_around_the_output():
    first, last = look("100.50 9.0", "1000.25", "100.75 9.0"), look("103.50 9.5", "1003.50", "104.00 9.5")
    rest, clocks = read_clocks(f"\n{first}\nhello\n\n{last}\n")
    assert rest.split() == ["hello"]
    # From 100.75 to 103.50 for certain, from 100.50 to 104.00 at most
    assert clocks == Clocks(3.25, (2.75, 3.5), 0.15)


def test_clocks_of_other_phones():
    # Android before 8 has no %N.
    first, last = look("100.50 9.0", "1000.N", "100.50 9.0"), look("103.50 9.5", "1003.N", "103.50 9.5")
    assert read_clocks(f"{first}\n{last}")[1] == Clocks(3.0, (3.0, 3.0), 1.15)
    # The shell of some phones may not read the uptime.
    assert read_clocks(f"{look('', '1000.5', '')}\n{look('', '1001.5', '')}")[1] == Clocks(1.0, None, 0.15)


@pytest.mark.parametrize(
    "output",
    [
        "hello",
        look("1 2", "3", "1 2"),
        *(f"{look('1 2', wall, '1 2')}\n{look('1 2', '3', '1 2')}" for wall in ("x", "")),
    ],
)
def test_clocks_that_are_not_told(output):
    assert read_clocks(output)[1] is None


@pytest.mark.parametrize(
    ("clocks", "elapsed", "measured", "fault"),
    [
        (Clocks(10.0, (10.0, 10.0), 0.15), 10.1, 9.0, None),
        # A busy phone: the looks took half a second.
        (Clocks(10.4, (9.9, 10.5), 0.15), 10.6, 9.0, None),
        (Clocks(10.3, (10.0, 10.0), 0.15), 10.1, 9.0, r"jumped by \+0.3"),
        (Clocks(9.0, (10.0, 10.2), 0.15), 10.3, 9.0, "jumped by -1.0"),
        (Clocks(9.0, (10.0, 10.0), 1.15), 10.1, 9.0, None),
        (Clocks(12.0, (12.0, 12.0), 0.15), 10.0, 9.0, "12.0 s passed in 10.0 s"),
        (Clocks(10.0, (10.0, 10.0), 0.15), 10.1, 11.0, "11.0 s of invokes in 10.0 s"),
        # Without an uptime the host's clock is what there is; it waits longer than the command takes.
        (Clocks(9.0, None, 0.15), 10.0, 8.0, None),
        (Clocks(11.0, None, 0.15), 10.0, 8.0, "jumped"),
        (Clocks(-1.0, None, 0.15), 10.0, 8.0, "jumped"),
    ],
)
def test_clock_faults(clocks, elapsed, measured, fault):
    found = clocks.fault(elapsed, measured)
    assert found is None if fault is None else re.search(fault, found)


def phone_with(*capacities: int) -> Phone:
    cores = tuple(Core(number, capacity) for number, capacity in enumerate(capacities))
    return Phone("p", "13", 33, ("arm64-v8a",), "id", cores, True)


def test_big_cores():
    pixel4 = phone_with(450, 450, 450, 450, 871, 871, 871, 1024)
    assert pixel4.big_cores(1) == (7,)
    assert pixel4.big_cores(2) == pixel4.big_cores(4) == (4, 5, 6, 7)
    assert pixel4.big_cores(5) == tuple(range(8))
    assert [pixel4.mixes_cores(threads) for threads in (1, 4, 5)] == [False, False, True]
    assert phone_with(0, 0).big_cores(1) == (0, 1)
    assert phone_with().big_cores(1) == ()
    assert not phone_with().mixes_cores(1)


def test_cores_come_from_sysfs():
    lines = [f"cpu{number}" for number in (0, 1, 10)] + ["cpu1/online:1", "cpu10/online:0"]
    clocks = [f"cpu{number}/cpufreq/cpuinfo_max_freq:{clock}" for number, clock in ((0, 1800), (1, 2400))]
    # By clock, where one core tells no capacity; a core that is off does not count.
    assert _cores([*lines, *clocks, "cpu1/cpu_capacity:1024"]) == (Core(0, 1800), Core(1, 2400))
    capacities = ["cpu0/cpu_capacity:400", "cpu1/cpu_capacity:1024"]
    assert _cores([*lines, *clocks, *capacities]) == (Core(0, 400), Core(1, 1024))
    assert _cores(lines) == (Core(0, 0), Core(1, 0))
    assert _cores(["", "model=cpu0"]) == ()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (137, "most likely out of memory"),
        (139, "SIGSEGV"),
        (134, "SIGABRT"),
        (126, "can't be started"),
        (127, "can't be started"),
        (1, "exit code 1"),
        (250, "signal 122"),
    ],
)
def test_exit_codes_have_names(code, words):
    message = str(run_failed(Answer(code, "INFO: x\n", "ERROR: first\nERROR: second\nERROR: third\n"), "m", "phone"))
    assert words in message
    assert '"ERROR: first; ERROR: second"' in message
    assert "\n" not in message
