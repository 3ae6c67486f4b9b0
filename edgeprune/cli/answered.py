"""A failure whose JSON document the command has printed itself."""

from __future__ import annotations

from typing import Any

from edgeprune.errors import BudgetError, EdgepruneError


class Answered(EdgepruneError):
    """Ends a command like `error` does, without a JSON document: the one of the command stands on stdout already."""

    def __init__(self, error: EdgepruneError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code


def error_document(error: EdgepruneError) -> dict[str, Any]:
    """What --json says of an error: its line, the exit code, and for a missed budget the closest values if known."""
    document: dict[str, Any] = {"error": one_line(str(error)), "exit_code": error.exit_code}
    if isinstance(error, BudgetError) and error.closest:
        document["closest"] = error.closest
    return document


def one_line(message: str) -> str:
    """`message` without line breaks."""
    return " ".join(message.split())
