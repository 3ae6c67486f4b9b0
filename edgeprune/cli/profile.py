"""`edgeprune profile`: measure what each layer of a model costs on a device."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command("profile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", "target_name", required=True, help="The board (edgeprune targets list).")
@click.option("--device", default="local", show_default=True, help="Where to measure; as for `edgeprune bench`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The cost table, a JSON file.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1), help="Threads of the runtime.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(model: Path, target_name: str, device: str, output: Path, threads: int, as_json: bool) -> None:
    """Measure each distinct layer of MODEL (.tflite, or .keras as float32) over a grid of channel counts.

    Every layer becomes a model of its own with random weights. The table holds milliseconds, or instructions of an
    emulated board, with device, runtime, date and samples. A table that is already there is continued.
    """
    from edgeprune.device.devices import is_emulator
    from edgeprune.errors import InputError
    from edgeprune.pipeline.profile import profile
    from edgeprune.target import load_target

    if is_emulator(device) and threads != 1:
        raise InputError(f"{device} counts on one thread, received --threads {threads}; leave it out")
    table = profile(model, load_target(target_name), device, output, threads=threads)
    if as_json:
        click.echo(json.dumps(asdict(table), allow_nan=False))
        return
    click.echo(f"{len(table.entries)} layers in {table.unit} on {table.device} ({table.runtime}): {output}")
