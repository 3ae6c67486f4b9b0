"""Counts the instructions of TFLite models on an emulated board. Copied there beside runner.py, which it uses.

    python count_runner.py REQUEST.json

Request, one JSON object:
    models       paths of .tflite files, run one after the other
    skip         so many of them are done already
    results      path of the results
    seed, inputs as for runner.py
    library      name of the runtime's library, or null
    hooks        addresses in it at which a segment of the counts begins
    hooks_file   where to put them as they lie in memory, for the plugin

Results, one JSON object per line, so that a crash loses nothing that was done. First {"runtime", "runtime_version",
"library_base", "python": [[start, end], ...]} with where code lies in memory; then per model {"model": index,
"ok": true, "load_ms", "peak_rss_kb", "load_region", "count_region"} with places in the counts, or {"model": index,
"ok": false, "stage", "message"}.
The counts are written by the plugin of edgeprune/boards/counter.c; without it nothing is counted.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import sys
from typing import Any

# The copy beside this script. In the package itself, which tests import, it is the original.
try:
    from runner import Failure, Loaded, bench_inputs, find_runtime, forbid_core_dump, say
except ImportError:
    from edgeprune.device.runner import Failure, Loaded, bench_inputs, find_runtime, forbid_core_dump, say

BEGIN, END, READ_HOOKS = 1, 2, 3
_MAGIC = 0x7E570000


def main(arguments: list[str]) -> int:
    """Run the request; returns the exit code."""
    with open(arguments[0], encoding="utf-8") as handle:
        request = json.load(handle)
    forbid_core_dump()
    say(f"load {request['skip']}")
    try:
        interpreter_class, runtime, version = find_runtime()
    except Failure as failure:
        report(request, {"model": request["skip"], "ok": False, "stage": failure.stage, "message": str(failure)})
        return 1
    base = library_base(request)
    regions = Regions()
    rest_kb = forget_peak()
    code = [[start, end] for start, end, path in mappings() if path.rpartition("/")[2].startswith("python")]
    report(request, {"runtime": runtime, "runtime_version": version, "library_base": base, "python": code})
    for index in range(request["skip"], len(request["models"])):
        try:
            counted = count(interpreter_class, request, index, regions, rest_kb)
        except Failure as failure:
            counted = {"ok": False, "stage": failure.stage, "message": str(failure)}
            regions.end()
        report(request, {"model": index, **counted})
    return 0


class Regions:
    """Marks regions for the plugin; `done` is how many there are."""

    def __init__(self) -> None:
        self.done = 0
        self.open = False

    def begin(self) -> None:
        """From here on instructions count."""
        self.open = True
        mark(BEGIN)

    def end(self) -> int:
        """Up to here; returns the region's number."""
        if self.open:
            mark(END)
            self.open = False
            self.done += 1
        return self.done - 1


def count(
    interpreter_class: Any, request: dict[str, Any], index: int, regions: Regions, rest_kb: int | None
) -> dict[str, Any]:
    """Load a model, run it once to settle, and count the second run. rest_kb: memory used before the first model."""
    forget_peak()
    regions.begin()
    model = Loaded(interpreter_class, request, index)
    load_region = regions.end()
    model.set_inputs(bench_inputs(model, request))
    say(f"first {index}")
    model.invoke()
    say(f"count {index}")
    regions.begin()
    model.invoke()
    count_region = regions.end()
    return {
        "ok": True,
        "load_ms": model.load_ms,
        "peak_rss_kb": None if rest_kb is None else peak_kb(rest_kb),
        "load_region": load_region,
        "count_region": count_region,
    }


def mark(number: int) -> None:
    """Tell the plugin; for the system it is a call that fails."""
    with contextlib.suppress(OSError):
        os.getpgid(_MAGIC | number)


def library_base(request: dict[str, Any]) -> int:
    """Where the runtime's library lies in memory, 0 without one; hands the hooks to the plugin."""
    found = [start for start, _, path in mappings() if path.endswith("/" + (request["library"] or "/"))]
    if not found:
        return 0
    with open(request["hooks_file"], "w", encoding="ascii") as handle:
        handle.writelines(f"{min(found) + hook:x}\n" for hook in request["hooks"])
    mark(READ_HOOKS)
    return min(found)


def mappings() -> list[tuple[int, int, str]]:
    """(start, end, path) of this process's memory, as the guest sees it."""
    found = []
    with open("/proc/self/maps", encoding="utf-8") as handle:
        for line in handle:
            words = line.split(None, 5)
            start, _, end = words[0].partition("-")
            found.append((int(start, 16), int(end, 16), words[5].strip() if len(words) > 5 else ""))
    return found


def forget_peak() -> int | None:
    """Set the process's peak memory back to what it uses now; returns that in kB, None where the system refuses."""
    # What the model before has freed must not be there for this one.
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as handle:
            handle.write("5")
    except OSError:
        return None
    return guest_kb()


def peak_kb(rest_kb: int) -> int:
    """Peak memory since `forget_peak`, on top of `rest_kb`, in kB.

    The process's peak is the emulator's, with the code it translates. What of that is not the guest's now is taken off.
    """
    emulator_kb = status_kb("VmRSS") - guest_kb()
    return max(0, status_kb("VmHWM") - emulator_kb - rest_kb)


def guest_kb() -> int:
    """Resident memory of the guest's own mappings, in kB.

    The system lists the emulator's memory. The guest's lies in it at one distance, which the library's name shows.
    """
    guest = {(start, end): path for start, end, path in mappings()}
    host: list[tuple[int, int, str, int]] = []
    with open("/proc/self/smaps", encoding="utf-8") as handle:
        for line in handle:
            words = line.split(None, 5)
            if "-" in words[0]:
                start, _, end = words[0].partition("-")
                host.append((int(start, 16), int(end, 16), words[5].strip() if len(words) > 5 else "", 0))
            elif words[0] == "Rss:":
                host[-1] = (*host[-1][:3], int(words[1]))
    named = {path: start for start, _, path, _ in reversed(host) if path.endswith(".so")}
    distance = next((named[path] - start for (start, _), path in guest.items() if path in named), 0)
    low = min(start for start, _ in guest) + distance
    high = max(end for _, end in guest) + distance
    ranges = sorted((start + distance, end + distance) for start, end in guest)
    return sum(kb for start, end, _, kb in host if low <= start and end <= high and inside(start, ranges))


def inside(address: int, ranges: list[tuple[int, int]]) -> bool:
    """Whether an address is in one of the ranges."""
    return any(start <= address < end for start, end in ranges)


def status_kb(name: str) -> int:
    """A line of /proc/self/status that is in kB."""
    with open("/proc/self/status", encoding="utf-8") as handle:
        return next(int(line.split()[1]) for line in handle if line.startswith(name + ":"))


def report(request: dict[str, Any], line: dict[str, Any]) -> None:
    """Append one line to the results."""
    with open(request["results"], "a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
