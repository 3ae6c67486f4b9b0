"""A stand-in for benchmark_model: reads flags, prints as the real programs do, and misbehaves when it is told to.

It lies at ROOT/data/local/tmp/FOLDER/benchmark_model. ROOT/behaviour.json says how it behaves: "kind" is "TFLite",
"old" or "LiteRT"; "fault" what goes wrong, in the process with the number "at" (0: the first that measures). Each
process adds its arguments to ROOT/calls.
"""

import json
import os
import pathlib
import signal
import site
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[4]
SHARED = ("num_runs", "min_secs", "max_secs", "num_threads", "warmup_runs", "warmup_min_secs", "graph", "use_gpu")
FLAGS = {
    "TFLite": (
        *SHARED,
        "use_xnnpack",
        "input_layer",
        "input_layer_shape",
        "input_layer_value_files",
        "output_filepath",
    ),
    "LiteRT": (*SHARED, "use_cpu", "use_npu"),
}
FLAGS["old"] = FLAGS["TFLite"]


def main() -> int:
    behaviour = json.loads((ROOT / "behaviour.json").read_text())
    kind, fault = behaviour.get("kind", "TFLite"), behaviour.get("fault")
    if sys.argv[1:] == ["--help"]:
        print("usage:", sys.argv[0], "<flags>\nFlags:", file=sys.stderr)
        for name in FLAGS[kind]:
            print(f"\t--{name}=default\tstring\toptional\t{name}", file=sys.stderr)
        return 1
    calls = ROOT / "calls"
    number = len(calls.read_text().splitlines()) if calls.exists() else 0
    with calls.open("a") as log:
        log.write(json.dumps(sys.argv[1:]) + "\n")
    given = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
    prefix = "" if kind == "old" else "INFO: "
    print(f"{prefix}STARTING!", flush=True)
    unknown = [f"--{name}={value}" for name, value in given.items() if name not in FLAGS[kind]]
    if unknown or fault == "flags":
        print("WARN: Unconsumed cmdline flags:", *(unknown or ["--num_threads=1"]))
    if b"NoSuchThing" in pathlib.Path(given["graph"]).read_bytes():
        print("ERROR: Encountered unresolved custom op: NoSuchThing.", file=sys.stderr)
        print("ERROR: Failed to allocate tensors!\nERROR: Benchmarking failed.", file=sys.stderr)
        return 1
    if fault and number == behaviour.get("at", 0):
        code = misbehave(fault)
        if code is not None:
            return code
    if "output_filepath" in given:
        write_outputs(given)
    report(kind, prefix, fault if number == behaviour.get("at", 0) else None, 1000 + number)
    return 0


def misbehave(fault: str) -> "int | None":
    if fault in ("SIGKILL", "SIGSEGV"):
        os.kill(os.getpid(), getattr(signal, fault))
    if fault == "exit":
        print("ERROR: the vendor's library is missing", file=sys.stderr)
        return 3
    if fault == "hang":
        time.sleep(120)
    return None


def report(kind: str, prefix: str, fault: "str | None", average: int) -> None:
    """average: microseconds of an invoke."""
    tail = "" if kind == "old" else f" p5={average - 8} median={average} p95={average + 9}"
    warmup = f"{prefix}count=2 first=2100 curr=1900 min=1900 max=2100 avg=2000 std=100"
    warmup += "" if kind == "old" else " p5=1900 median=2100 p95=2100"
    line = f"{prefix}count=20 first={average + 9} curr={average} min={average - 9} max={average + 10} "
    line += f"avg={average}.25 std=4{tail}"
    summary = f"{prefix}Inference timings in us: Init: 13504, First inference: 2100, Warmup (avg): 2000, "
    summary += f"Inference (avg): {average}.25"
    if fault == "interleaved":
        line = line[:30] + summary[:40] + line[30:]
    if fault == "negative":
        line = line.replace(f"min={average - 9}", "min=-3600000000")
    if fault == "hours":
        line = f"{prefix}count=20 first=1000 curr=1000 min=900 max=3600000000 avg=1.8e+08 std=8e+08"
        summary = summary.replace(f"{average}.25", "1.8e+08")
    print(warmup + "\n\n" + line + "\n")
    if fault == "truncated":
        return
    if kind == "LiteRT":
        place = "INFO: [benchmark_litert_model.h:94] "
        for text in ("Model initialization: 13.50 ms", f"Inference (avg):      {average / 1000:.2f} ms (20 runs)"):
            print(place + text, file=sys.stderr)
        print(place + "Overall footprint:    65.61 MB", file=sys.stderr)
        return
    print(summary)
    print(f"{prefix}Memory footprint delta from the start of the tool (MB): init=31 overall=65.6094")


def write_outputs(given: dict) -> None:
    """What the real runtime computes here."""
    # Left out at the start (python -S), which most runs gain time from.
    site.main()
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=given["graph"])
    interpreter.allocate_tensors()
    files = [pair.split(":") for pair in given["input_layer_value_files"].split(",")]
    assert [name for name, _ in files] == given["input_layer"].split(",")
    shapes = [[int(size) for size in shape.split(",")] for shape in given["input_layer_shape"].split(":")]
    for detail, (_, path), shape in zip(interpreter.get_input_details(), files, shapes, strict=True):
        values = np.fromfile(path, detail["dtype"])
        interpreter.set_tensor(detail["index"], values.reshape(shape))
    interpreter.invoke()
    with open(given["output_filepath"], "wb") as handle:
        for detail in interpreter.get_output_details():
            handle.write(interpreter.get_tensor(detail["index"]).tobytes())


sys.exit(main())
