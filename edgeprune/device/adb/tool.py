"""The flags of benchmark_model: which of its two programs it is, and how a run is asked for.

The classic tool: tflite/tools/benchmark/benchmark_tflite_model.cc; the LiteRT tool:
litert/tools/benchmark_litert_model.h. Both take --name=value only, and pass over what they don't know with a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeprune.errors import InputError

# a line of tflite::Flags::Usage: tab, --name=default, tab, type
_FLAG = re.compile(r"^\s*--(\w+)=", re.MULTILINE)
# The tool's own limit on one series; raised where a round is longer.
_MAX_SECS = 150.0
_GIVEN_INPUTS = ("input_layer", "input_layer_shape", "input_layer_value_files", "output_filepath")


@dataclass(frozen=True)
class Tool:
    """One benchmark_model. flags: the names its --help lists; empty where it lists none."""

    flags: frozenset[str]

    @property
    def name(self) -> str:
        """The program, as reports name it."""
        if "use_xnnpack" in self.flags or "input_layer" in self.flags:
            return "benchmark_model (TFLite tool)"
        if "use_cpu" in self.flags:
            return "benchmark_model (LiteRT tool)"
        return "benchmark_model"

    @property
    def takes_inputs(self) -> bool:
        """Whether it can be given input values and writes outputs."""
        return all(flag in self.flags for flag in _GIVEN_INPUTS)


def read_help(output: str) -> Tool:
    """The tool behind the output of its --help."""
    return Tool(frozenset(_FLAG.findall(output)))


def bench_flags(
    tool: Tool, graph: str, *, threads: int, round_secs: float, warmup_secs: float, gpu: bool, xnnpack: bool
) -> list[str]:
    """The flags of one measuring process.

    Raises:
        InputError: this program can't do what is asked.
    """
    return [
        f"--graph={graph}",
        f"--num_threads={threads}",
        # Time decides, not the number of runs; one is always made.
        "--num_runs=1",
        f"--min_secs={round_secs:g}",
        f"--max_secs={max(_MAX_SECS, 2 * round_secs):g}",
        "--warmup_runs=1",
        f"--warmup_min_secs={warmup_secs:g}",
        *_accelerator(tool, gpu=gpu, xnnpack=xnnpack),
    ]


def output_flags(
    tool: Tool,
    graph: str,
    inputs: list[tuple[str, tuple[int, ...], str]],
    output: str,
    *,
    threads: int,
    gpu: bool,
    xnnpack: bool,
) -> list[str]:
    """The flags of a process that runs once, on given values.

    inputs: per input (name, shape, file with the raw bytes), in the model's order. The tool matches them by position;
    a name that differs from the tensor's only makes it print a warning, and one with a comma or colon in it can't be
    written the same way for all builds. Such names are replaced.

    Raises:
        InputError: this program can't do what is asked.
    """
    plain = [name if re.fullmatch(r"[\w./-]+", name) else f"input_{index}" for index, (name, _, _) in enumerate(inputs)]
    names = plain if len(set(plain)) == len(plain) else [f"input_{index}" for index in range(len(plain))]
    shapes = [",".join(str(size) for size in shape) for _, shape, _ in inputs]
    files = [f"{name}:{path}" for name, (_, _, path) in zip(names, inputs, strict=True)]
    return [
        f"--graph={graph}",
        f"--num_threads={threads}",
        # No warm-up: a model with variables would enter the counted run in another state.
        *("--num_runs=1", "--min_secs=0", "--warmup_runs=0", "--warmup_min_secs=-1"),
        f"--input_layer={','.join(names)}",
        f"--input_layer_shape={':'.join(shapes)}",
        f"--input_layer_value_files={','.join(files)}",
        f"--output_filepath={output}",
        *_accelerator(tool, gpu=gpu, xnnpack=xnnpack),
    ]


def _accelerator(tool: Tool, *, gpu: bool, xnnpack: bool) -> list[str]:
    if not xnnpack and tool.flags and "use_xnnpack" not in tool.flags:
        raise InputError(
            f"{tool.name} can't switch XNNPACK off: it has no --use_xnnpack; give the classic TFLite tool as binary"
        )
    if gpu and tool.flags and "use_gpu" not in tool.flags:
        raise InputError(f"{tool.name} has no --use_gpu; give another binary, or leave gpu out")
    flags = []
    if "use_xnnpack" in tool.flags or not xnnpack:
        flags.append(f"--use_xnnpack={'true' if xnnpack else 'false'}")
    if gpu:
        flags.append("--use_gpu=true")
    return flags
