"""`edgeprune`: a lazy click group, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys

import click

from edgeprune.cli.answered import Answered, error_document, one_line
from edgeprune.cli.interrupts import stopped_like_ctrl_c
from edgeprune.errors import EdgepruneError, InputError, Interrupted, nearest

# command name -> (module with the click command `command`, one-line help)
COMMANDS = {
    "build": ("edgeprune.cli.build", "Prune, convert and validate a model for a board."),
    "plan": ("edgeprune.cli.plan", "Say what would be cut and what it should cost; trains nothing."),
    "inspect": ("edgeprune.cli.inspect", "What is inside a .tflite file: operations, sparsity, bytes."),
    "lint": ("edgeprune.cli.lint", "Will a .tflite file run on a board, and will its sparse kernels? Why not?"),
    "bench": ("edgeprune.cli.bench", "Measure the latency of a .tflite file, alone or against a baseline."),
    "profile": ("edgeprune.cli.profile", "Measure what each layer of a model costs on a device."),
    "calibrate": ("edgeprune.cli.calibrate", "Fit a target's latency to your own board."),
    "boards": ("edgeprune.cli.boards", "List and set up emulated boards."),
    "targets": ("edgeprune.cli.targets", "List, show and validate boards."),
    "init": ("edgeprune.cli.init", "Write a commented edgeprune.toml."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it; listing needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise InputError(f'unknown command "{args[0]}"; {nearest(args[0], COMMANDS)}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgeprune", prog_name="edgeprune")
def cli() -> None:
    """Prune Keras models until they fit a board, and prove it with a measurement."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs the command and exits with the code of errors.py; never shows a traceback
    for a user's mistake. With --json an error is one JSON document on stdout as well."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with stopped_like_ctrl_c():
            cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        _fail(InputError(error.format_message()), arguments)
    except (KeyboardInterrupt, click.Abort):
        _fail(Interrupted("interrupted"), arguments)
    except EdgepruneError as error:
        _fail(error, arguments)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _fail(error: EdgepruneError, arguments: list[str]) -> None:
    """Print one error line to stderr (and under --json a document to stdout, unless there is one), then exit."""
    print(f"edgeprune: {one_line(str(error))}", file=sys.stderr)
    if "--json" in arguments and not isinstance(error, Answered):
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(error_document(error)), flush=True)
    sys.exit(error.exit_code)
