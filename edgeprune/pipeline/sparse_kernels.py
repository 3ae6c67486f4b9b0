"""Whether a board will run sparse kernels on a model, asked before anything is trained: that depends on the model's
form and on how many weights are zero, hardly on which."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeprune.errors import ValidationError
from edgeprune.export.modes import allowed_modes
from edgeprune.export.passes.apply import apply_passes
from edgeprune.model_file import load_model, save_model
from edgeprune.pipeline.artifact import ENGAGED, Ships, file_latency_ms, sparse_inference, write_tflite
from edgeprune.pipeline.job import Job
from edgeprune.pipeline.kernels import NO_SPEED_FROM_ZEROS
from edgeprune.pipeline.options import SPARSE, Options
from edgeprune.pipeline.sparse import RampPruning
from edgeprune.progress import say
from edgeprune.target import Target

# Modes that sparse kernels compute in; float16 stores half the bytes and runs as float32.
FLOAT_MODES = ("float16", "none")
# What the model is rewritten to before it is trained; "kept" leaves that to the export, which changes no output.
KEPT, SYMMETRIC = "kept", "symmetric"


@dataclass(frozen=True)
class SparseKernels:
    """What a trial with the least important weights at zero showed.

    verdict: of `tflite.sparse_inference`, "none" for a model without 1x1 convolutions. reason: what stops (the rest of)
    it, or "". layout: KEPT, or SYMMETRIC where kernels run only on symmetric padding, which training has to heal.
    latency_share: predicted latency with zeros / dense float32.
    """

    verdict: str
    reason: str
    layout: str
    latency_share: float

    @property
    def engaged(self) -> bool:
        """Whether (part of) the model runs sparse kernels."""
        return self.verdict in ENGAGED

    def share(self, mode: str) -> float:
        """What part of a dense model's latency in `mode` zeros leave."""
        return self.latency_share if self.engaged and mode in FLOAT_MODES else 1.0


NO_KERNELS = SparseKernels("none", "", KEPT, 1.0)


def try_sparse_kernels(job: Job, mode: str) -> SparseKernels:
    """The trial of a build, recorded; its dense float32 file is the baseline. mode: one of FLOAT_MODES."""
    if job.options.pattern is None:
        return NO_KERNELS
    found = job.stages.run(
        "sparse-kernels",
        lambda folder: asdict(
            look_for_sparse_kernels(job, job.model, job.options, mode, job.dense_file, folder, job.allow_lambda)
        ),
    )
    return SparseKernels(**found)


def look_for_sparse_kernels(
    ships: Ships, model: Any, options: Options, mode: str, baseline: Path, folder: Path, allow_lambda: bool
) -> SparseKernels:
    """Set the least important weights of a copy to zero, export it into `folder`, and predict from the file.

    mode: one of FLOAT_MODES. baseline: the dense float32 file of `model`.
    """
    say(f"looking whether {ships.target.title} will run sparse kernels on this model")
    dense_ms = file_latency_ms(ships.target, baseline)

    def tried(start: Any, layout: str) -> SparseKernels:
        copy, path = folder / f"{layout}.keras", folder / f"{layout}.tflite"
        save_model(start, copy)
        zeroed = load_model(copy, allow_lambda=allow_lambda)
        copy.unlink()
        RampPruning(zeroed, options.pattern or "unstructured", options.final_sparsity).finish()
        passed_over = write_tflite(ships, zeroed, mode, path, sparse=True).passed_over
        found = sparse_inference(ships.target, path)
        share = file_latency_ms(ships.target, path) / dense_ms
        return SparseKernels(found["verdict"], passed_over or found["reason"], layout, share)

    kept = tried(model, KEPT)
    if kept.verdict in ("dense", "broken"):
        rewritten, _ = apply_passes(model, finetuned=True)
        if rewritten is not model:
            symmetric = tried(rewritten, SYMMETRIC)
            # where nothing engages, what stops the rewritten model is what no pass mends
            return symmetric if symmetric.engaged else replace(kept, reason=symmetric.reason)
    return kept


def laid_out(model: Any, kernels: SparseKernels) -> Any:
    """The model as it has to be trained so that its export runs sparse kernels; run again it changes nothing."""
    return apply_passes(model, finetuned=True)[0] if kernels.layout == SYMMETRIC else model


def float_mode(ships: Ships) -> str:
    """The mode for sparse kernels: float16 where the target can, as it stores half the bytes."""
    allowed = {verdict.mode: verdict.allowed for verdict in allowed_modes(ships.target, ships.facts, sparse=True)}
    return "float16" if allowed["float16"] else "none"


def speed_from_zeros(target: Target, engaged: bool, reason: str, how_known: str) -> str:
    """What zeros do for speed, as a sentence."""
    runtime = f"{target.runtime.package} {target.runtime.version}"
    stop = f" ({reason})" if reason else ""
    if not engaged:
        return f"{runtime} computes them like any other number{stop}: {NO_SPEED_FROM_ZEROS}"
    if target.cost["none"].sparse_gmacs is None:
        return (
            f"{runtime} runs sparse kernels ({how_known}), but no time is promised for them: published results show no "
            f"gain on this processor{stop}."
        )
    return f"{runtime} runs sparse kernels ({how_known}){'; not everywhere' + stop if stop else ''}."


def check_engaged(job: Job, verdict: str, reason: str) -> None:
    """Refuse a sparse build whose zeros would not make the model faster though it has 1x1 convolutions.

    Nothing is refused where the user wants the smaller file alone.

    Raises:
        ValidationError: says what stops the kernels, and what to do.
    """
    wanted = job.options.strategy == SPARSE and job.options.pattern is not None and not job.options.allow_dense_kernels
    if wanted and verdict in ("dense", "broken"):
        raise ValidationError(
            f"{job.target.title} would run no sparse kernels on this model: {reason}. Use --strategy structured or "
            "auto for speed, or pass --allow-dense-kernels to build it for the smaller file alone"
        )
