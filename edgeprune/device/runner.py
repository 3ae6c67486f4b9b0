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
    outputs      .npz to write output_0, output_1, ...: (samples * batch, ...)       "outputs"

Result: {"ok": true, "runtime", "runtime_version", "python", "numpy", "machine": before, "machine_after": after,
"models": [...]}; "bench" gives per model rounds_ms (a list of raw samples per round, in milliseconds), kept_every
(1: all invokes are in it; n: each n-th, so that long runs of tiny models stay readable) and load_ms.
On failure: {"ok": false, "stage": "request" | "runtime" | "load" | "inputs" | "invoke", "model": index, "message"}.
On stderr, lines starting with "@edgeprune " tell what begins, so that a crash can be told from a hang:
"@edgeprune load MODEL", "warmup MODEL", "round MODEL NUMBER", "samples DONE TOTAL".
"""
# ruff: noqa: B905 - zip(strict=) needs Python 3.10

from __future__ import annotations

import json
import os
import platform
import sys
import time
from typing import Any

import numpy as np

# At most so many samples per round are kept; more adds bytes, not precision.
MAX_SAMPLES_PER_ROUND = 10_000


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
    before = machine_state()
    loaded = [Loaded(interpreter_class, request, index) for index in range(len(request["models"]))]
    models = bench(loaded, request) if request["mode"] == "bench" else [compute_outputs(loaded[0], request)]
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
    for number in range(int(request["rounds"])):
        for model, result in zip(loaded, results):
            say(f"round {model.index} {number}")
            result["rounds_ms"].append(measure_round(model, round_secs, result["kept_every"]))
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


def machine_state(root: str = "/") -> dict[str, Any]:
    """What decides whether times can be trusted, as far as Linux tells: cores this process may use, the load,
    governors and temperature. Missing values are null."""
    cpus = os.path.join(root, "sys/devices/system/cpu")
    names = sorted(os.listdir(cpus)) if os.path.isdir(cpus) else []
    governors = {read_text(os.path.join(cpus, name, "cpufreq/scaling_governor")) for name in names} - {""}
    load = read_text(os.path.join(root, "proc/loadavg")).split()
    temperature = read_text(os.path.join(root, "sys/class/thermal/thermal_zone0/temp"))
    return {
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "governors": sorted(governors),
        "load_1min": float(load[0]) if load else None,
        "temperature_c": int(temperature) / 1000 if temperature.lstrip("-").isdigit() else None,
    }


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
