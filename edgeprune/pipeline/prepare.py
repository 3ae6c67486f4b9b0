"""From what the user gave to a Job: model, data, task and options, all checked before anything long starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError
from edgeprune.pipeline.job import Job, identity
from edgeprune.pipeline.options import Options, check_options
from edgeprune.pipeline.stages import Stages
from edgeprune.target import Budget, Target, check_budget, load_target

_COST_LIMITS = ("latency_ms", "size_kb", "ram_kb", "latency_ratio", "size_ratio", "ram_ratio")


def with_defaults(budget: Budget | None, target: Target) -> Budget:
    """The user's budget; the target's default where the user set no cost limit. A missing accuracy limit is the
    target's too."""
    budget = Budget() if budget is None else check_budget(budget, "budget")
    drop = budget.max_accuracy_drop
    drop = target.budget.max_accuracy_drop if drop is None else drop
    source = budget if _limits_costs(budget) else target.budget
    return Budget(**{name: getattr(source, name) for name in _COST_LIMITS}, max_accuracy_drop=drop)


def _limits_costs(budget: Budget | None) -> bool:
    """Whether the user set any limit besides the accuracy."""
    return budget is not None and any(getattr(budget, name, None) is not None for name in _COST_LIMITS)


def check_arguments(function: str, target: Any, budget: Any, options: Any) -> Target:
    """Check what needs no TensorFlow; returns the target, loaded where a name or path was given.

    Raises:
        InputError: names the argument, what it was and what is allowed.
    """
    check_type(function, "options", options, Options, "an edgeprune.Options")
    check_type(function, "budget", budget, (Budget, type(None)), "an edgeprune.Budget or None")
    check_options(options)
    target = load_target(str(target)) if isinstance(target, (str, Path)) else target
    check_type(function, "target", target, Target, "an edgeprune Target, or the name or TOML path of one")
    assert isinstance(target, Target)
    return target


def check_type(function: str, name: str, value: Any, allowed: type | tuple[type, ...], words: str) -> None:
    """Refuse an argument of another type.

    Raises:
        InputError: names the function, the argument and what is allowed.
    """
    if not isinstance(value, allowed):
        raise InputError(f"{function}: {name} must be {words}; received {type(value).__name__}")


def check_device(device: str) -> None:
    """Refuse a device that can't be opened, before anything long starts.

    Raises:
        InputError: it is unknown or wrongly written.
        DeviceError: the emulated board is not set up.
    """
    from edgeprune.device.devices import open_device

    open_device(device).close()


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
    check_device(options.device)
    default_budget = not _limits_costs(budget)
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
    stages = Stages(folder, identity(model, loaded, task, task_options, target, budget, options), fresh)
    facts = model_facts(model)
    return Job(
        model,
        signature,
        loaded,
        task,
        target,
        budget,
        options,
        folder,
        stages,
        facts,
        allow_lambda=allow_lambda,
        default_budget=default_budget,
        training=task_options,
    )
