"""Runs TFLite models where they are to be measured. Copied to devices as it is: it needs Python 3.9, numpy 1 or 2,
and ai-edge-litert or tflite-runtime, and imports nothing from edgeprune.

    python runner.py REQUEST.json        or        python runner.py < REQUEST.json

Request, one JSON object:
    mode         "bench" or "outputs"
    models       paths of .tflite files; "outputs" takes one
    result       path of the JSON result, written beside itself and renamed
    threads      threads of the runtime, default 1
    seed         for random inputs, default 0
    inputs       .npz with input_0, input_1, ... in the model's order, or null; each (samples * batch, ...) in the
                 input's dtype. "bench" uses the first sample and makes random values without it.
    rounds, round_secs, warmup_secs       "bench"
    first_round  "bench": the rounds before it are done already, default 0
    stream       "bench": print each round on stdout as soon as all models have done it, one line of JSON:
                 {"round": number, "rounds_ms": [samples per model]}
    outputs      .npz to write output_0, output_1, ...: (samples * batch, ...)       "outputs"

Result: {"ok": true, "runtime", "runtime_version", "python", "numpy", "machine": before, "machine_after": after,
"models": [...]}; "bench" gives per model rounds_ms (a list of raw samples per round, in milliseconds), kept_every
(1: all invokes are in it; n: each n-th, so that long runs of tiny models stay readable), load_ms and peak_rss_kb: the
memory that loading and running it once took at most, on top of Python with the runtime; null where /proc is missing.
"bench" runs on the fastest cores only, as many of one kind as there are threads, or more.
On failure: {"ok": false, "stage": "request" | "runtime" | "load" | "inputs" | "invoke", "model": index, "message"}.
On stderr, lines starting with "@edgeprune " tell what begins, so that a crash can be told from a hang:
"@edgeprune memory MODEL", "load MODEL", "warmup MODEL", "round MODEL NUMBER", "samples DONE TOTAL".
"""
# ruff: noqa: B905 - zip(strict=) needs Python 3.10

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np

# At most so many samples per round are kept; more adds bytes, not precision.
MAX_SAMPLES_PER_ROUND = 10_000
# Cores of one kind differ by so little in speed; some CPUs let single cores run a little faster.
SAME_SPEED = 0.9
VCGENCMD_SECS = 2.0
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class Failure(Exception):
    """Something to report in the result: the stage it happened in, and the model's index."""

    def __init__(self, stage: str, model: int | None, message: object) -> None:
        super().__init__(str(message))
        self.stage = stage
        self.model = model


def main(arguments: list[str]) -> int:
    """Run the request named in `arguments` or on stdin; returns the exit code (0 done, 1 failed, 2 no request)."""
    try:
        if arguments:
            with open(arguments[0], encoding="utf-8") as handle:
                request = json.load(handle)
        else:
            request = json.load(sys.stdin)
        result_path = request["result"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"no usable request: {error!r}", file=sys.stderr)
        return 2
    forbid_core_dump()
    try:
        result = run(request)
    except Failure as failure:
        result = {"ok": False, "stage": failure.stage, "model": failure.model, "message": str(failure)}
    with open(result_path + ".part", "w", encoding="utf-8") as handle:
        json.dump(result, handle)
    publish(result_path)
    return 0 if result["ok"] else 1


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Do what the request asks; returns the result."""
    if request.get("mode") not in ("bench", "outputs") or not request.get("models"):
        raise Failure("request", None, 'a request needs mode "bench" or "outputs", and models')
    interpreter_class, runtime, runtime_version = find_runtime()
    measures = request["mode"] == "bench"
    before = {**machine_state(), "pinned": pin(int(request.get("threads", 1))) if measures else None}
    places = range(len(request["models"]))
    # First of all, while nothing else is in this process's memory
    peaks_kb = [peak_memory_kb(interpreter_class, request, index) for index in places] if measures else []
    loaded = [Loaded(interpreter_class, request, index) for index in places]
    models = bench(loaded, request) if measures else [compute_outputs(loaded[0], request)]
    for model, peak_kb in zip(models, peaks_kb):
        model["peak_rss_kb"] = peak_kb
    return {
        "ok": True,
        "runtime": runtime,
        "runtime_version": runtime_version,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": before,
        "machine_after": machine_state(),
        "models": models,
    }


def find_runtime() -> tuple[Any, str, str]:
    """(Interpreter class, package name, version) of the runtime that is installed here."""
    missing = []
    for package in ("ai-edge-litert", "tflite-runtime"):
        try:
            module = __import__(package.replace("-", "_") + ".interpreter", fromlist=["Interpreter"])
        except ImportError as error:
            missing.append(str(error))
        else:
            return module.Interpreter, package, package_version(package)
    raise Failure("runtime", None, "; ".join(missing))


def package_version(package: str) -> str:
    """The version of an installed package, "unknown" where it was unpacked without pip."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


class Loaded:
    """One model, ready to run. shapes: of its inputs. batch: samples per invoke."""

    def __init__(self, interpreter_class: Any, request: dict[str, Any], index: int) -> None:
        self.index = index
        # Said model by model, so that a crash of the runtime can be laid to the right file.
        say(f"load {index}")
        began = time.perf_counter_ns()
        try:
            self.interpreter = interpreter_class(
                model_path=request["models"][index], num_threads=int(request.get("threads", 1))
            )
            self.interpreter.allocate_tensors()
        except Exception as error:  # the runtimes raise ValueError, RuntimeError and types of their own
            raise Failure("load", index, error) from error
        self.load_ms = (time.perf_counter_ns() - began) / 1e6
        self.inputs = self.interpreter.get_input_details()
        self.outputs = self.interpreter.get_output_details()
        self.shapes = [tuple(int(size) for size in detail["shape"]) for detail in self.inputs]
        self.batch = self.shapes[0][0] if self.shapes and self.shapes[0] else 1

    def set_inputs(self, values: list[Any]) -> None:
        """Set all inputs, in the model's order."""
        for detail, value in zip(self.inputs, values):
            try:
                self.interpreter.set_tensor(detail["index"], value)
            except Exception as error:  # as above
                raise Failure("inputs", self.index, error) from error

    def invoke(self) -> float:
        """Run once; returns the milliseconds it took."""
        began = time.perf_counter_ns()
        try:
            self.interpreter.invoke()
        except Exception as error:  # as above
            raise Failure("invoke", self.index, error) from error
        return (time.perf_counter_ns() - began) / 1e6


def bench(loaded: list[Loaded], request: dict[str, Any]) -> list[dict[str, Any]]:
    """Warm each model up, then measure them in turns: A B A B."""
    round_secs = float(request["round_secs"])
    results: list[dict[str, Any]] = []
    for model in loaded:
        say(f"warmup {model.index}")
        model.set_inputs(bench_inputs(model, request))
        fastest_ms = warm_up(model, float(request["warmup_secs"]))
        kept_every = max(1, round(round_secs * 1000 / max(fastest_ms, 1e-6) / MAX_SAMPLES_PER_ROUND))
        results.append({"rounds_ms": [], "kept_every": kept_every, "load_ms": model.load_ms})
    for number in range(int(request.get("first_round", 0)), int(request["rounds"])):
        for model, result in zip(loaded, results):
            say(f"round {model.index} {number}")
            result["rounds_ms"].append(measure_round(model, round_secs, result["kept_every"]))
        if request.get("stream"):
            print(json.dumps({"round": number, "rounds_ms": [one["rounds_ms"][-1] for one in results]}), flush=True)
    return results


def warm_up(model: Loaded, seconds: float) -> float:
    """Run for `seconds`, at least once; returns the fastest invoke in milliseconds."""
    deadline = time.perf_counter() + seconds
    fastest = model.invoke()
    while time.perf_counter() < deadline:
        fastest = min(fastest, model.invoke())
    return fastest


def measure_round(model: Loaded, seconds: float, kept_every: int) -> list[float]:
    """Raw milliseconds of the invokes of one round, at least one."""
    # The other model has just filled the caches; one invoke that is not counted brings this one's data back.
    model.invoke()
    samples: list[float] = []
    count = 0
    deadline = time.perf_counter() + seconds
    while not samples or time.perf_counter() < deadline:
        elapsed_ms = model.invoke()
        if count % kept_every == 0:
            samples.append(elapsed_ms)
        count += 1
    return samples


def peak_memory_kb(interpreter_class: Any, request: dict[str, Any], index: int) -> int | None:
    """The most memory that loading a model and running it once takes, in kB; None where it can't be told.

    In a child process, which ends with what it loaded. A model that fails there fails here too, and is named then.
    """
    if not os.path.exists("/proc/self/status") or not hasattr(os, "fork"):
        return None
    say(f"memory {index}")
    reading, writing = os.pipe()
    try:
        with warnings.catch_warnings():
            # Python warns of forks beside other threads: numpy's, which the child doesn't use.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
    except OSError:
        return None
    if child == 0:
        try:
            die_with_parent()
            # A child's peak begins at what its parent uses.
            rest_kb = status_kb("VmRSS")
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            model = Loaded(interpreter_class, request, index)
            model.set_inputs(bench_inputs(model, request))
            model.invoke()
            os.write(writing, str(max(0, status_kb("VmHWM") - rest_kb)).encode("ascii"))
        finally:
            # Without the parent's own clean-up, and whatever was raised.
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return int(text) if text else None


def die_with_parent() -> None:
    """Where the kernel can do that: a child that hangs must not outlive the run."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def status_kb(name: str) -> int:
    """A line of /proc/self/status that is in kB."""
    with open("/proc/self/status", encoding="utf-8") as handle:
        return next(int(line.split()[1]) for line in handle if line.startswith(name + ":"))


def bench_inputs(model: Loaded, request: dict[str, Any]) -> list[Any]:
    """One value per input: the first sample of the given arrays, or seeded random values."""
    if request.get("inputs"):
        return sample_values(model, given_arrays(model, request["inputs"]), 0)
    # RandomState: its numbers are the same in all versions of numpy.
    generator = np.random.RandomState(int(request.get("seed", 0)))
    return [random_values(model, detail, shape, generator) for detail, shape in zip(model.inputs, model.shapes)]


def random_values(model: Loaded, detail: dict[str, Any], shape: tuple[int, ...], generator: Any) -> Any:
    """Random values in the shape and dtype of an input: standard normal floats, integers over the small types'
    whole range, and 0 or 1 for wide integers, which are mostly indices into a table of unknown length."""
    dtype = np.dtype(detail["dtype"])
    if dtype.kind in "fc":
        return np.asarray(generator.standard_normal(shape)).astype(dtype)
    if dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize > 2):
        return np.asarray(generator.randint(0, 2, size=shape)).astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.asarray(generator.randint(limits.min, limits.max + 1, size=shape)).astype(dtype)
    raise Failure("inputs", model.index, f"input {detail['name']} has the dtype {dtype}; give inputs")


def given_arrays(model: Loaded, path: str) -> list[Any]:
    """The arrays of the .npz, in the model's order, checked for names, dtypes, shapes and equal sample counts."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = [stored[f"input_{position}"] for position in range(len(model.inputs))]
    except Exception as error:  # a damaged .npz raises zipfile, zlib, OS and value errors
        raise Failure("inputs", model.index, f"{path} can't be used: {error}") from error
    for position, (detail, shape, array) in enumerate(zip(model.inputs, model.shapes, arrays)):
        fits = array.dtype == detail["dtype"] and array.ndim == max(len(shape), 1) and array.shape[1:] == shape[1:]
        if not fits or not len(array) or len(array) % model.batch or len(array) != len(arrays[0]):
            raise Failure(
                "inputs",
                model.index,
                f"input_{position} is {array.dtype} {array.shape}; the model takes {np.dtype(detail['dtype'])} "
                f"{shape} per invoke, one or more of them, as many as of input_0",
            )
    return arrays


def sample_values(model: Loaded, arrays: list[Any], sample: int) -> list[Any]:
    """The inputs of one invoke."""
    rows = slice(sample * model.batch, (sample + 1) * model.batch)
    return [array[rows].reshape(shape) for array, shape in zip(arrays, model.shapes)]


def compute_outputs(model: Loaded, request: dict[str, Any]) -> dict[str, Any]:
    """Run all samples and write the outputs."""
    if not request.get("inputs") or not request.get("outputs"):
        raise Failure("request", None, 'mode "outputs" needs inputs and outputs')
    arrays = given_arrays(model, request["inputs"])
    total = len(arrays[0]) // model.batch
    collected: list[list[Any]] = [[] for _ in model.outputs]
    for sample in range(total):
        if sample % max(1, total // 50) == 0:
            say(f"samples {sample} {total}")
        model.set_inputs(sample_values(model, arrays, sample))
        model.invoke()
        for parts, detail in zip(collected, model.outputs):
            parts.append(np.atleast_1d(model.interpreter.get_tensor(detail["index"])))
    joined: dict[str, Any] = {f"output_{place}": np.concatenate(parts) for place, parts in enumerate(collected)}
    with open(request["outputs"] + ".part", "wb") as handle:
        np.savez(handle, **joined)
    publish(request["outputs"])
    return {"samples": total, "load_ms": model.load_ms}


def pin(threads: int) -> list[int] | None:
    """Keep this process, and the threads it will start, on the fastest cores; returns them, None where it can't be."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = fastest_cores(core_speeds(sorted(os.sched_getaffinity(0))), threads)
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        return None
    return cores


def core_speeds(cores: list[int], root: str = "/") -> dict[int, float]:
    """Each core's speed relative to others of this machine: its capacity as the kernel knows it, else its highest
    clock. Equal where neither is told."""
    folder = os.path.join(root, "sys/devices/system/cpu/cpu{}", "{}")
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        texts = {core: read_text(folder.format(core, name)) for core in cores}
        if all(text.isdigit() for text in texts.values()):
            return {core: float(text) for core, text in texts.items()}
    return dict.fromkeys(cores, 1.0)


def fastest_cores(speeds: dict[int, float], threads: int) -> list[int]:
    """The cores of the fastest kind, and of the next one until there are as many as threads."""
    slowest = sorted(speeds.values(), reverse=True)[min(threads, len(speeds)) - 1]
    return sorted(core for core, speed in speeds.items() if speed >= SAME_SPEED * slowest)


def machine_state(root: str = "/") -> dict[str, Any]:
    """What decides whether times can be trusted, as far as Linux tells. Missing values are null or empty.

    cores: this process may use. core_speeds: of each, see `core_speeds`. clocks_mhz, max_clocks_mhz: per core, the
    clock that was asked for and the highest one. temperature_c: of the CPU. cooling: per device of the kernel that
    slows the CPU, how much it does. firmware: see `firmware_state`. wall_secs, steady_secs: two clocks.
    """
    cpus = os.path.join(root, "sys/devices/system/cpu")
    names = sorted(name for name in os.listdir(cpus) if name[3:].isdigit()) if os.path.isdir(cpus) else []
    governors = {read_text(os.path.join(cpus, name, "cpufreq/scaling_governor")) for name in names} - {""}
    load = read_text(os.path.join(root, "proc/loadavg")).split()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return {
        "architecture": platform.machine(),
        "cores": len(cores) or os.cpu_count(),
        "core_speeds": list(core_speeds(cores, root).values()),
        "governors": sorted(governors),
        "clocks_mhz": clocks_mhz(cpus, names, "scaling_cur_freq"),
        "max_clocks_mhz": clocks_mhz(cpus, names, "cpuinfo_max_freq"),
        "load_1min": float(load[0]) if load else None,
        "temperature_c": cpu_temperature_c(os.path.join(root, "sys/class/thermal")),
        "cooling": active_cooling(os.path.join(root, "sys/class/thermal")),
        "firmware": firmware_state(),
        "wall_secs": time.time(),
        "steady_secs": time.monotonic(),
    }


def clocks_mhz(cpus: str, names: list[str], file: str) -> dict[str, float]:
    """A clock of each core that tells it."""
    texts = {name: read_text(os.path.join(cpus, name, "cpufreq", file)) for name in names}
    return {name: int(text) / 1000 for name, text in texts.items() if text.isdigit()}


def cpu_temperature_c(thermal: str) -> float | None:
    """Of the zone that is named after the CPU, else of the first one."""
    zones = sorted(name for name in listed(thermal) if name.startswith("thermal_zone"))
    named = [zone for zone in zones if "cpu" in read_text(os.path.join(thermal, zone, "type")).lower()]
    for zone in named + zones[:1]:
        text = read_text(os.path.join(thermal, zone, "temp"))
        if text.lstrip("-").isdigit():
            return int(text) / 1000
    return None


def active_cooling(thermal: str) -> dict[str, int]:
    """The devices that slow the CPU now, by type, with their step; a fan is none of them."""
    active = {}
    for name in listed(thermal):
        kind, step = (read_text(os.path.join(thermal, name, file)) for file in ("type", "cur_state"))
        if name.startswith("cooling_device") and "cpufreq" in kind and step.isdigit() and int(step):
            active[kind] = int(step)
    return active


def firmware_state() -> dict[str, Any] | None:
    """What the firmware of a Raspberry Pi says, which knows more than the kernel; None on other boards.

    throttled: the bits of `vcgencmd get_throttled`. clock_mhz: the real clock. temperature_c.
    """
    program = shutil.which("vcgencmd", path=os.environ.get("PATH", "") + ":/usr/bin:/opt/vc/bin")
    if program is None:
        return None
    said = {}
    for words in (["get_throttled"], ["measure_clock", "arm"], ["measure_temp"]):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                [program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=VCGENCMD_SECS
            )
            said[words[0]] = done.stdout.partition("=")[2].strip()
    numbers: dict[str, Any] = {"throttled": None, "clock_mhz": None, "temperature_c": None}
    with contextlib.suppress(KeyError, ValueError):
        numbers["throttled"] = int(said["get_throttled"], 16)
    with contextlib.suppress(KeyError, ValueError):
        numbers["clock_mhz"] = int(said["measure_clock"]) / 1e6
    with contextlib.suppress(KeyError, ValueError):
        numbers["temperature_c"] = float(said["measure_temp"].rstrip("C").rstrip("'"))
    return numbers


def listed(folder: str) -> list[str]:
    """The names in a folder, none where there is no folder."""
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def read_text(path: str) -> str:
    """The stripped text of a small system file, "" where it can't be read."""
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read().strip()
    except (OSError, ValueError):
        return ""


def forbid_core_dump() -> None:
    """A crash of the runtime is expected business here; it must not leave a core file behind."""
    try:
        import resource
    except ImportError:  # Unix only
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def publish(path: str) -> None:
    """Give the finished file `path`.part its name, so that a reader finds all of it or nothing."""
    with open(path + ".part", "rb") as handle:
        os.fsync(handle.fileno())
    os.replace(path + ".part", path)


def say(text: str) -> None:
    """One line of progress on stderr."""
    print("@edgeprune " + text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
