"""What can be watched of a pruning: a table, a CSV file, TensorBoard scalars."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeprune.atomic import write_text
from edgeprune.errors import InputError
from edgeprune.sparsity.pruner import LayerSparsity

_FIRST_COLUMNS = ("epoch", "step", "target", "sparsity")


def table(layers: Sequence[LayerSparsity]) -> str:
    """Sparsity per layer as text, with a total."""
    weights, kept = sum(layer.weights for layer in layers), sum(layer.kept for layer in layers)
    rows = [*layers, LayerSparsity("total", weights, kept)]
    name = max(len("weights of"), *(len(row.path) for row in rows))
    lines = [f"{'weights of':<{name}}  {'count':>12}  {'kept':>12}  {'sparsity':>8}"]
    lines += [f"{row.path:<{name}}  {row.weights:>12,}  {row.kept:>12,}  {row.sparsity:>8.1%}" for row in rows]
    width = len(lines[0])
    return "\n".join([lines[0], "-" * width, *lines[1:-1], "-" * width, lines[-1]])


class CsvLog:
    """One row an epoch: epoch, step, the schedule's target, total sparsity and that of each layer.

    The file is replaced whole each time, so it is never half-written. A training that goes on adds rows, a new one
    starts over; a file that is no such log is left alone.

    Raises:
        InputError: `path` holds something else, or can't be written.
    """

    def __init__(self, path: str | Path, layers: Sequence[str]) -> None:
        self.path = Path(path)
        self.header = [*_FIRST_COLUMNS, *layers]
        self.rows: list[list[str]] = []
        self._earlier = self._read() if self.path.exists() else [self.header]

    def begin(self, first_epoch: int) -> None:
        """Keep the rows of the epochs before the first one.

        Raises:
            InputError: they are about other layers.
        """
        if first_epoch and self._earlier[0] != self.header:
            raise InputError(f"csv={str(self.path)!r} has other layers than are pruned now; give another file")
        self.rows = [row for row in self._earlier[1:] if int(row[0]) < first_epoch]

    def _read(self) -> list[list[str]]:
        try:
            rows = list(csv.reader(io.StringIO(self.path.read_text(encoding="utf-8"))))
            if (
                not rows
                or tuple(rows[0][:4]) != _FIRST_COLUMNS
                or not all(row and row[0].isdigit() for row in rows[1:])
            ):
                raise ValueError("it has other columns")
        except (OSError, ValueError) as error:
            raise InputError(
                f"csv={str(self.path)!r} exists and is no sparsity log ({error}); give another file"
            ) from error
        return rows

    def add(self, epoch: int, step: int, target: float, total: float, layers: Sequence[LayerSparsity]) -> None:
        """Write one more row."""
        self.rows.append([str(epoch), str(step), *(f"{v:.6f}" for v in (target, total, *(x.sparsity for x in layers)))])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        try:
            write_text(self.path, text.getvalue())
        except OSError as error:
            raise InputError(f"csv={str(self.path)!r} can't be written: {error.strerror}; give another file") from error


class TensorBoardLog:
    """Scalars sparsity/total, sparsity/target and sparsity/LAYER, by step.

    Raises:
        InputError: TensorBoard is not installed (TensorFlow does not bring it any more), or `folder` is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf

        if importlib.util.find_spec("tensorboard") is None:
            raise InputError("tensorboard= needs the package tensorboard: pip install tensorboard, or use csv=")
        if Path(folder).is_file():
            raise InputError(f"tensorboard={str(folder)!r} is a file; give the path of a folder")
        self.writer = tf.summary.create_file_writer(str(folder))

    def add(self, step: int, target: float, total: float, layers: Sequence[LayerSparsity]) -> None:
        """Write the scalars of one mask update."""
        import tensorflow as tf

        values: dict[str, Any] = {"target": target, "total": total, **{x.path: x.sparsity for x in layers}}
        with self.writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(f"sparsity/{name}", value, step=step)

    def close(self) -> None:
        """Write what is buffered."""
        self.writer.close()
