"""`edgeprune calibrate`: fit a target's latency to the user's own board."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command("calibrate")
@click.argument("target_name", metavar="TARGET")
@click.option("--device", required=True, help="The board; as for `edgeprune bench`. An emulated one has no times.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(target_name: str, device: str, as_json: bool) -> None:
    """Measure a short set of layers on your own TARGET and predict latency by it from now on.

    The rates go to $XDG_CONFIG_HOME/edgeprune/targets/TARGET.toml (~/.config without the variable); delete that file to
    go back to the ones that come with edgeprune.
    """
    from edgeprune.pipeline.calibrate import calibrate
    from edgeprune.target import load_target

    result = calibrate(load_target(target_name), device)
    if as_json:
        click.echo(json.dumps({**asdict(result), "path": str(result.path)}, allow_nan=False))
        return
    for fit in result.modes:
        click.echo(
            f"{fit.mode}: compute takes {fit.compute_factor:.2f} of the predicted time, other operations "
            f"{fit.other_factor:.2f}; error {fit.error_before:.0%} before, {fit.error_after:.0%} after"
        )
    click.echo(f"stored in {result.path}")
