"""Progress on stderr: a bar with ETA on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int, str], None]]:
    """A bar for one long step.

    Yields `advance(steps, note)`: moves the bar by `steps` and shows `note` behind it. The bar shows
    elapsed time and ETA, goes to stderr and disappears when done. `total` None means unknown.
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(steps: int, note: str) -> None:
            bar.update(task, advance=steps, note=note)

        yield advance


def _silent(steps: int, note: str) -> None:
    """No bar where stderr is not a terminal."""


def shown(text: str) -> str:
    """`text` with control characters, which could steer a terminal, replaced by "?"."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def say(message: str) -> None:
    """One line of news on stderr, outside `--json` results."""
    print(shown(message), file=sys.stderr, flush=True)
