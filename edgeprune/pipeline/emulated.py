"""Counting a sparse result on the emulated board of its target: what was predicted from the file is then seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeprune.boards.board import find_board
from edgeprune.device.devices import is_emulator
from edgeprune.device.instructions import count_instructions
from edgeprune.errors import DeviceError, InputError, ValidationError
from edgeprune.pipeline.artifact import ENGAGED, write_tflite
from edgeprune.pipeline.job import Job
from edgeprune.progress import say

# Functions of the runtime that multiply sparse weights have this in their names.
_SPARSE_FUNCTION = "_spmm_"


def board_of(job: Job) -> str | None:
    """The emulated board to count on: the one that was asked for, else the target's own where it is set up."""
    if is_emulator(job.options.device):
        return job.options.device
    name, runtime = job.target.name, job.target.runtime
    try:
        find_board(name, runtime)
    except (DeviceError, InputError):  # not set up, or no board that can be emulated
        return None
    return f"emulator:{name}@{runtime.package}=={runtime.version}"


def count_sparse(job: Job, model: Any, result: Path, predicted: dict[str, Any]) -> dict[str, Any]:
    """`predicted` of artifact.sparse_inference, with what the board shows where one is set up: the instructions of
    `result`, of the same model with every zero stored and no rewriting, and whether sparse kernels ran. Recorded.

    Raises:
        ValidationError: the board's runtime does not run the file.
        DeviceError: the board that was asked for is not set up.
    """
    board = board_of(job)
    if board is None:
        return predicted
    seen = job.stages.run("emulated", lambda folder: _counted(job, model, result, board, folder))
    ran = seen.pop("ran")
    if ran is None or ran == (predicted["verdict"] in ENGAGED):
        return predicted | seen
    if ran:
        return predicted | seen | {"verdict": "partly", "reason": ""}
    return predicted | seen | {"verdict": "dense", "reason": f"{board} ran none, against the prediction from the file"}


def _counted(job: Job, model: Any, result: Path, board: str, folder: Path) -> dict[str, Any]:
    """Both counts, how they are known, and whether a sparse kernel ran; None where the runtime names no functions."""
    dense = folder / "dense.tflite"
    write_tflite(job, model, "none", dense)
    say(f"counting instructions on {board}")
    counted = count_instructions((dense, result), device=board)
    dense.unlink()
    for found in counted:
        if isinstance(found, Exception):
            raise ValidationError(f"the model does not run on {board}: {found}") from found
    of_dense, of_result = counted
    assert not isinstance(of_dense, Exception)
    assert not isinstance(of_result, Exception)
    counts = {"instructions_dense": of_dense.instructions, "instructions_sparse": of_result.instructions}
    if not of_result.by_op:
        return {"ran": None, **counts}
    ran = any(_SPARSE_FUNCTION in kernel for kernel in of_result.by_kernel)
    return {"ran": ran, "how_known": "emulated", **counts}
