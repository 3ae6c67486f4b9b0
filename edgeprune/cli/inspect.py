"""`edgeprune inspect`: what is inside a .tflite file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from edgeprune.tflite.encodings import EncodingComparison, TotalBytes
    from edgeprune.tflite.inspect import PortInfo, TfliteSummary

# Of the largest weights; --json lists all.
_SHOWN = 12


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(model: Path, as_json: bool) -> None:
    """Show what is inside MODEL (.tflite): operations, weights and their zeros, bytes by part, memory.

    The weights are weighed in other encodings too: TFLite's own sparse ones, CSR, a bitmask, N:M and gzip.
    """
    from edgeprune.tflite.encodings import compare_encodings
    from edgeprune.tflite.flatbuffer import read_model
    from edgeprune.tflite.inspect import summarize

    read = read_model(model)
    summary, encodings = summarize(read), compare_encodings(read)
    if as_json:
        document = {
            "model": str(model),
            **asdict(summary),
            "zero_fraction": summary.zero_fraction,
            "encodings": asdict(encodings),
        }
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        _print(model, summary, encodings)


def _print(model: Path, summary: TfliteSummary, encodings: EncodingComparison) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(_overview(model, summary), _operations(summary))
    if summary.weights:
        console.print(_weights(summary))
    if encodings.weights:
        console.print(_encodings(encodings))
        console.print(Text(gain_line(encodings.total)), soft_wrap=True)


def _overview(model: Path, summary: TfliteSummary) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=model.name, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = [("size", _kb(summary.size_bytes)), ("quantization", summary.quantization)]
    rows += [(f"  {dtype} constants", _kb(size)) for dtype, size in summary.constant_bytes.items()]
    if summary.sparse_index_bytes:
        rows.append(("  sparse indices", _kb(summary.sparse_index_bytes)))
    rows.append(("  graph and names", _kb(summary.other_bytes)))
    rows += [("input", _port(port)) for port in summary.inputs]
    rows += [("output", _port(port)) for port in summary.outputs]
    rows.append(("peak arena", _kb(summary.peak_arena_bytes)))
    if summary.unpacked_weight_bytes:
        rows.append(("unpacked weights", f"{_kb(summary.unpacked_weight_bytes)} more in memory once loaded"))
    rows.append(("zeros in weights", f"{summary.zero_fraction:.1%}"))
    if any(weight.is_sparse and weight.dtype == "int8" for weight in summary.weights):
        rows.append(("speed", "no speed-up from sparsity: int8 always runs dense; its encoding makes the file smaller"))
    rows.append(("least runtime", f"TensorFlow {summary.min_runtime_version or 'not noted in the file'}"))
    if summary.dynamic_tensors:
        rows.append(("sizes known at run time", f"{len(summary.dynamic_tensors)} of {summary.tensors} tensors"))
    if summary.custom_ops:
        rows.append(("custom operations", ", ".join(summary.custom_ops)))
    if len(summary.subgraphs) > 1:
        rows.append(("subgraphs", ", ".join(name or "(no name)" for name in summary.subgraphs)))
    if summary.signatures:
        rows.append(("signatures", ", ".join(summary.signatures)))
    # Text: names from the file must not be read as markup.
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


def _operations(summary: TfliteSummary) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="operations", title_justify="left")
    table.add_column("operation", overflow="fold")
    table.add_column("version", justify="right")
    table.add_column("count", justify="right")
    for op in summary.ops:
        table.add_row(Text(op.name), str(op.version), str(op.count))
    return table


def _weights(summary: TfliteSummary) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="weights", title_justify="left")
    table.add_column("tensor", overflow="fold", ratio=1)
    for title in ("shape", "dtype", "encoding"):
        table.add_column(title, overflow="fold")
    for title in ("zeros", "stored"):
        table.add_column(title, justify="right", no_wrap=True)
    for weight in summary.weights:
        shape = "x".join(map(str, weight.shape))
        cells = (shape, weight.dtype, weight.encoding, f"{weight.zero_fraction:.1%}", _kb(weight.stored_bytes))
        table.add_row(Text(weight.name), *cells)
    return table


def _encodings(encodings: EncodingComparison) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="kB of weights in other encodings", title_justify="left")
    table.add_column("tensor", overflow="fold", ratio=1)
    for title in ("stored", "dense", "TFLite's best", "CSR", "bitmask", "N:M", "gzip"):
        table.add_column(title, justify="right", no_wrap=title != "TFLite's best")
    for weight in encodings.weights[:_SHOWN]:
        n_of_m = "-" if weight.n_of_m is None else f"{weight.n_of_m / 1000:.1f}"
        best = f"{weight.tflite / 1000:.1f} {weight.tflite_form}"
        sizes = (f"{size / 1000:.1f}" for size in (weight.csr, weight.bitmask))
        first = (f"{size / 1000:.1f}" for size in (weight.stored, weight.dense))
        table.add_row(Text(weight.name), *first, best, *sizes, n_of_m, f"{weight.gzip / 1000:.1f}")
    table.add_section()
    total = encodings.total
    sums = (total.stored, total.dense, total.tflite, total.csr, total.bitmask, total.n_of_m, total.gzip)
    name = f"all {len(encodings.weights)}" + (f", {len(encodings.left_out)} left out" if encodings.left_out else "")
    table.add_row(name, *(f"{size / 1000:.1f}" for size in sums))
    return table


def gain_line(total: TotalBytes) -> str:
    """What other encodings of all weights could save, in one line."""
    others = {"TFLite's own": total.tflite, "CSR": total.csr, "a bitmask": total.bitmask, "N:M": total.n_of_m}
    smaller = [
        f"{name} {_kb(size)} ({1 - size / total.stored:.0%} less)"
        for name, size in {**others, "gzip": total.gzip}.items()
        if size < 0.995 * total.stored
    ]
    return f"{_kb(total.stored)} of weights as stored; smaller: {', '.join(smaller) or 'none of these'}"


def _port(port: PortInfo) -> str:
    scale = "" if port.scale is None else f", scale {port.scale:.6g}, zero point {port.zero_point}"
    shape = " x ".join("?" if size < 0 else str(size) for size in port.shape) or "scalar"
    return f"{port.name}: {shape} {port.dtype}{scale}"


def _kb(size: int) -> str:
    return f"{size / 1000:.1f} kB"
