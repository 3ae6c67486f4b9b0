"""`edgeprune lint`: will a .tflite file run on a board, and will its zeros make it faster there?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeprune.cost.file_latency import FilePrediction
    from edgeprune.cost.memory import RamPrediction
    from edgeprune.target import Target
    from edgeprune.tflite.lint import LintResult
    from edgeprune.tflite.sparse_inference.records import Cluster, Finding

_VERDICTS = {
    "sparse": "sparse kernels will run",
    "partly": "sparse kernels will run in a part of the model",
    "dense": "sparse kernels won't run; zeros are computed like any other number",
    "broken": "sparse kernels will run and break the model: it computes wrong numbers, or does not load",
    "none": "there is no 1x1 convolution that sparse kernels could run",
}
# The first says where to begin; a stock model repeats the same rule over and over.
_SHOWN = 8


@click.command("lint")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="A board (edgeprune targets list), or a .toml file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(model: Path, target: str, as_json: bool) -> None:
    """Check MODEL (.tflite) for a board without running it.

    Says whether the runtime's sparse kernels will run and, for each cluster of operations, which operation and rule
    stops them and what mends it; then known traps, operations that the board's runtime lacks, and what the model should
    cost: latency, memory and energy are predicted, not measured.

    The exit code is 0 when the model should run on the board, sparse or dense, and 5 when it should not load there, or
    compute wrong numbers.
    """
    from edgeprune.cli.answered import Answered
    from edgeprune.cost.file_latency import predict_file
    from edgeprune.cost.memory import predict_ram
    from edgeprune.errors import ValidationError
    from edgeprune.target import load_target
    from edgeprune.tflite.flatbuffer import read_model
    from edgeprune.tflite.lint import lint

    board = load_target(target)
    result = lint(model, board)
    read = read_model(model)
    latency, ram = predict_file(read, board), predict_ram(read, board)
    if as_json:
        document = {
            "model": str(model),
            "target": board.name,
            "runtime": f"{board.runtime.package} {board.runtime.version}",
            **asdict(result),
            "predicted": {
                "latency_ms": latency.ms,
                "low_ms": latency.low_ms,
                "high_ms": latency.high_ms,
                "threads": latency.threads,
                "process_ram_bytes": ram.total,
                "energy_mj": latency.energy_mj,
            },
        }
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        for line in (*_lines(model, board, result), *_costs(latency, ram)):
            click.echo(line)
    if not result.passed:
        names = ", ".join(trap.name for trap in result.traps if trap.severity == "fails")
        raise Answered(ValidationError(f"{model.name} should not be used on {board.name}: {names}"))


def _lines(model: Path, board: Target, result: LintResult) -> Iterator[str]:
    prediction = result.sparse_inference
    yield f"{model.name} on {board.name} ({board.runtime.package} {board.runtime.version})"
    yield f"  {_VERDICTS[prediction.verdict]}"
    if prediction.reason:
        yield f"  {prediction.reason}"
    if not prediction.verified:
        yield "  (by the rules of the nearest version that was compared with an emulated board)"
    for number, cluster in enumerate(prediction.clusters, 1):
        yield from _cluster(number, cluster)
    if result.traps:
        yield "  traps"
    for trap in result.traps:
        yield f"    {trap.severity}: {trap.name}: {trap.reason}"
        yield f"      mend: {trap.remedy}"
    if result.missing_operations:
        yield f"  operations that the runtime lacks: {', '.join(result.missing_operations)}"
    yield f"  least runtime: TensorFlow {result.min_runtime_version or 'not noted in the file'}"
    for note in result.notes:
        yield f"  note: {note}"


def _costs(latency: FilePrediction, ram: RamPrediction) -> Iterator[str]:
    """What the model should cost there; nothing of it was measured."""
    threads = "1 thread" if latency.threads == 1 else f"{latency.threads} threads"
    band = f"likely {latency.low_ms:.3g} to {latency.high_ms:.3g}"
    yield f"  predicted latency: {latency.ms:.3g} ms on {threads} ({band}); not measured"
    yield f"  predicted peak memory of the process: {ram.total / 1e6:.1f} MB"
    if latency.energy_mj is not None:
        yield f"  energy per inference, a rough estimate: {latency.energy_mj:.3g} mJ"


def _cluster(number: int, cluster: Cluster) -> Iterator[str]:
    yield (
        f"  cluster {number}: {cluster.verdict}; operations {cluster.first_op} to {cluster.last_op}, "
        f"{cluster.sparse_convolutions} of {cluster.convolutions} 1x1 convolutions sparse, "
        f"{cluster.zeros / max(cluster.weights, 1):.1%} zeros"
    )
    for finding in cluster.findings[:_SHOWN]:
        yield f"    {_place(finding)}{finding.reason}"
        yield f"      mend: {finding.mend}"
    if len(cluster.findings) > _SHOWN:
        yield f"    and {len(cluster.findings) - _SHOWN} more (--json lists all)"


def _place(finding: Finding) -> str:
    return "" if finding.op is None else f"operation {finding.op}, {finding.name} {finding.tensor}: "
