"""Measure TFLite models on an Android phone with Google's benchmark_model, over adb.

    python tools/adb_benchmark.py model.tflite                                     the only phone
    python tools/adb_benchmark.py a.tflite b.tflite --serial R58M --runs 5 --threads 4 --json out.json

Each run of a model is one process of benchmark_model, because it prints no more than the mean of a process; the models
take turns. The program is pushed to a private folder below /data/local/tmp, which is removed at the end. Without
--binary (or EDGEPRUNE_BENCHMARK_MODEL) it is downloaded once, and its sha256 recorded and checked from then on.

Exit codes: 0 done, 2 wrong input, 4 the phone or the program failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeprune.device.adb.output import ProcessRun
    from edgeprune.device.adb.transport import AdbTransport, Measured


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help=".tflite files")
    parser.add_argument("--serial", help="as `adb devices` shows it, or HOST:PORT; default: the only device")
    parser.add_argument("--runs", type=at_least_one, default=5, help="processes per model (default 5)")
    parser.add_argument("--secs", type=positive, default=10.0, help="seconds that each process measures (default 10)")
    parser.add_argument("--warmup-secs", type=positive, default=2.0, help="seconds to warm up before that (default 2)")
    parser.add_argument("--threads", type=at_least_one, default=1, help="CPU threads (default 1)")
    parser.add_argument("--no-xnnpack", action="store_true", help="switch the XNNPACK kernels off")
    parser.add_argument("--gpu", action="store_true", help="run on the GPU")
    parser.add_argument("--fixed-performance", action="store_true", help="let Android 11+ hold its clocks meanwhile")
    parser.add_argument("--binary", type=Path, help="a benchmark_model for the phone's ABI")
    parser.add_argument("--offline", action="store_true", help="download nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    return parser


def at_least_one(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def positive(text: str) -> float:
    """A time in seconds."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; returns the exit code."""
    given = parser().parse_args(arguments)
    # Imported after --help has been answered.
    from edgeprune.errors import EdgepruneError, Interrupted

    try:
        run(given)
    except EdgepruneError as error:
        print(f"adb_benchmark: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("adb_benchmark: interrupted", file=sys.stderr)
        return Interrupted.exit_code
    return 0


def run(given: argparse.Namespace) -> None:
    """Measure, print and write.

    Raises:
        EdgepruneError: anything that went wrong.
    """
    from contextlib import closing

    from edgeprune.atomic import write_json
    from edgeprune.device.adb.spec import check_serial, parse_spec
    from edgeprune.device.adb.transport import connect
    from edgeprune.device.transport import RunRequest
    from edgeprune.tflite.flatbuffer import read_model

    # Read in full first: the program itself may crash on a damaged file.
    for path in given.models:
        read_model(path)
    spec = options_of(given, parse_spec("adb"))
    if given.serial is not None:
        check_serial(given.serial)
    request = RunRequest(
        "bench",
        tuple(given.models),
        threads=given.threads,
        rounds=given.runs,
        round_secs=given.secs,
        warmup_secs=given.warmup_secs,
    )
    with closing(connect(spec)) as phone:
        measured = phone.measure(request, lambda step: show(step, given))
    found = document(phone, measured, given)
    print_table(found)
    if given.json is not None:
        write_json(given.json, found)


def options_of(given: argparse.Namespace, defaults: Any) -> Any:
    """The options over what the variables say (`edgeprune.device.adb.spec.AdbSpec`)."""
    from dataclasses import replace

    return replace(
        defaults,
        serial=given.serial or defaults.serial,
        binary=given.binary or defaults.binary,
        offline=given.offline or defaults.offline,
        fixed_performance=given.fixed_performance,
        gpu=given.gpu,
        xnnpack=not given.no_xnnpack,
    )


def show(step: str, given: argparse.Namespace) -> None:
    """One line of progress, on a terminal only."""
    words = step.split()
    if words[0] == "round" and sys.stderr.isatty():
        name = ascii(given.models[int(words[1])].name)
        print(f"run {int(words[2]) + 1} of {given.runs}: {name}", file=sys.stderr)


def document(phone: AdbTransport, measured: Measured, given: argparse.Namespace) -> dict[str, Any]:
    """All that was measured; the numbers under "processes" are in microseconds and MB, as the program printed them."""
    from edgeprune.device.adb.transport import runtime_name
    from edgeprune.device.trust import change_warnings, machine_warnings

    result = measured.result
    warnings = (
        *result.warnings,
        *machine_warnings(result.before, given.threads),
        *change_warnings(result.before, result.after),
    )
    return {
        "device": phone.describe(),
        "runtime": runtime_name(result.tool.name, measured.binary),
        "binary_sha256": measured.binary.sha256,
        "threads": given.threads,
        "cores": list(result.cores),
        "machine": result.before,
        "machine_after": result.after,
        "models": [one_model(path, runs) for path, runs in zip(given.models, result.runs, strict=True)],
        "warnings": list(dict.fromkeys(warnings)),
        "notes": list(measured.notes),
    }


def one_model(path: Path, runs: tuple[ProcessRun, ...]) -> dict[str, Any]:
    """One model's part of the document."""
    from dataclasses import asdict

    memory = [run.memory_overall_mb for run in runs if run.memory_overall_mb is not None]
    return {
        "model": str(path),
        "bytes": path.stat().st_size,
        "median_ms": median(run.inference.avg_us for run in runs) / 1000,
        "samples_ms": [run.inference.avg_us / 1000 for run in runs],
        "init_ms": median(run.init_us for run in runs) / 1000,
        "memory_mb": max(memory, default=None),
        "processes": [asdict(run) for run in runs],
    }


def print_table(found: dict[str, Any]) -> None:
    """One line per model, then why it may not be trusted, then what to know."""
    threads = "1 thread" if found["threads"] == 1 else f"{found['threads']} threads"
    print(f"{found['device']}, {found['runtime']}, {threads}")
    names = [ascii(Path(model["model"]).name)[1:-1] for model in found["models"]]
    width = max(len("model"), *map(len, names))
    titles = f"{'kB':>9} {'median ms':>10} {'min ms':>9} {'max ms':>9} {'load ms':>9} {'memory MB':>10} runs"
    print(f"{'model':{width}} {titles}")
    for name, model in zip(names, found["models"], strict=True):
        samples = model["samples_ms"]
        memory = "-" if model["memory_mb"] is None else f"{model['memory_mb']:.1f}"
        print(
            f"{name:{width}} {model['bytes'] / 1000:9.1f} {model['median_ms']:10.3f} {min(samples):9.3f} "
            f"{max(samples):9.3f} {model['init_ms']:9.1f} {memory:>10} {len(samples):4d}"
        )
    for warning in found["warnings"]:
        print(f"not trustworthy: {warning}")
    for note in found["notes"]:
        print(f"note: {note}")


if __name__ == "__main__":
    raise SystemExit(main())
