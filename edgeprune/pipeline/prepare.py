"""From what the user gave to a Job: model, data, task and options, all checked before anything long starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgeprune.config import MAX_SEED, SPARSE_STRATEGY
from edgeprune.errors import InputError, nearest
from edgeprune.pipeline.job import Job, Options, identity
from edgeprune.pipeline.stages import Stages
from edgeprune.target import QUANTIZE_MODES, Budget, Target, check_budget

STRATEGIES = ("auto", "structured")


def check_options(options: Options) -> None:
    """Refuse options out of range.

    Raises:
        InputError: names the option, what it was and what is allowed.
    """
    from edgeprune.importance.table import criterion
    from edgeprune.pipeline.allocation import check_allocation

    if SPARSE_STRATEGY.fullmatch(options.strategy):
        raise InputError(f'the strategy "{options.strategy}" is not available in this version; use auto or structured')
    if options.strategy not in STRATEGIES:
        raise InputError(f'unknown strategy "{options.strategy}"; {nearest(options.strategy, STRATEGIES)}')
    modes = ("auto", *QUANTIZE_MODES)
    if options.quantize not in modes:
        raise InputError(f'unknown quantize mode "{options.quantize}"; {nearest(options.quantize, modes)}')
    criterion(options.criterion)
    check_allocation(options.allocation)
    for name, least in (("epochs", 0), ("rounds", 1), ("batch_size", 1), ("calibration", 1), ("seed", 0)):
        value = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}")
    if options.seed > MAX_SEED:
        raise InputError(f"seed must be at most {MAX_SEED}; got {options.seed}")


def with_defaults(budget: Budget | None, target: Target) -> Budget:
    """The user's budget; the target's default where the user set no cost limit. A missing accuracy limit is the
    target's too."""
    budget = Budget() if budget is None else check_budget(budget, "budget")
    limits = ("latency_ms", "size_kb", "ram_kb", "latency_ratio", "size_ratio", "ram_ratio")
    drop = budget.max_accuracy_drop
    drop = target.budget.max_accuracy_drop if drop is None else drop
    source = budget if any(getattr(budget, name) is not None for name in limits) else target.budget
    return Budget(**{name: getattr(source, name) for name in limits}, max_accuracy_drop=drop)


def start_tensorflow() -> None:
    """Import TensorFlow quietly and make its operations deterministic: the same seed gives the same model."""
    from edgeprune.quiet import silence

    silence()
    os.environ["TF_DETERMINISTIC_OPS"] = "1"
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


def prepare(
    model: Any,
    data: Any,
    validation: Any,
    target: Target,
    budget: Budget | None,
    options: Options,
    task_options: Any,
    folder: Path,
    *,
    fresh: bool,
    search_path: Path | None,
    validation_fraction: float,
    allow_lambda: bool,
) -> Job:
    """Check everything and claim the output folder.

    Raises:
        InputError: anything the user gave that can't be used.
    """
    import keras

    from edgeprune.data.load import load_data
    from edgeprune.data.signature import signature_of
    from edgeprune.export.serving import check_exportable, model_facts
    from edgeprune.task.resolve import resolve_task

    check_options(options)
    budget = with_defaults(budget, target)
    check_exportable(model)
    keras.utils.set_random_seed(options.seed)
    signature = signature_of(model)
    if data is None:
        raise InputError(
            "build needs labelled data to recover and check accuracy; give --data file.npz, a folder with one "
            "subfolder per class, or package.module:function (`edgeprune plan` works without)"
        )
    loaded = load_data(
        data,
        signature,
        validation=validation,
        validation_fraction=validation_fraction,
        seed=options.seed,
        search_path=search_path,
    )
    labels = loaded.train.label_sample(1024, options.seed)
    task = resolve_task(model, labels, signature, task_options)
    stages = Stages(folder, identity(model, loaded, task, target, budget, options), fresh)
    facts = model_facts(model)
    return Job(model, signature, loaded, task, target, budget, options, folder, stages, facts, allow_lambda)
