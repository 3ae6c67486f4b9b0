"""`edgeprune init`: writes a commented edgeprune.toml."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgeprune.atomic import write_text
from edgeprune.config import (
    ALLOCATIONS,
    CRITERIA,
    DEFAULT_NAME,
    QUANTIZE_CHOICES,
    STRATEGIES,
    is_function_spec,
    parse_config,
)
from edgeprune.errors import InputError
from edgeprune.pipeline.options import DEFAULT_SPARSITY, Options
from edgeprune.target import is_target_file, load_target

# The keys that are commented out show their default, or an example where there is none.
_TEMPLATE = """\
# An edgeprune project: `edgeprune build` in this folder reads it.
# Relative paths start at the folder of this file. Options on the command line win over what stands here.

# The trained Keras 3 model.
model = {model}

# The labelled data: a file.npz with x and y (or x_train, y_train, x_val, y_val), a folder with one subfolder per class,
# or package.module:function returning (train, validation).
data = {data}

# The board, or a list of boards: a name from `edgeprune targets list`, or the path of your own .toml file.
target = {target}

# Where the results go.
# output = "build"

# The shape of one sample, for a model whose own is not fixed.
# input_shape = [224, 224, 3]

# Modules to import before the model is loaded; they register its custom objects.
# imports = ["my_package.layers"]

# seed = 0
# validation_fraction = 0.2   # split off where the data has no validation part of its own

# How much work to put in.
# rounds = {rounds:<18} # of prune -> fine-tune
# epochs = {epochs:<18} # of fine-tuning per round
# batch_size = {batch_size}

# strategy = "auto"           # {strategies}; or N:M such as "2:4"
# sparsity = {sparsity:<18}# the share of zeros, for the strategy "sparse"
# quantize = "auto"           # {quantize}
# criterion = "taylor"        # {criteria}
# allocation = "auto"         # {allocations}
# device = "local"            # where to measure

# The limits of the result; the target's own hold where none is given. Ratios are to the dense float32 baseline.
[budget]
# latency_ms = 12.0
# size_kb = 500               # 1 kB = 1000 bytes
# ram_kb = 2000
# latency_ratio = 0.5
# size_ratio = 0.4
# ram_ratio = 0.5
# max_accuracy_drop = 0.01    # 0.01 = one point of accuracy

# For fine-tuning and judging; without these keys they come from the compiled model, else from the data.
[training]
# loss = "sparse_categorical_crossentropy"
# optimizer = "adam"
# learning_rate = 0.0003
# metric = "accuracy"
# metric_higher_is_better = true

# Fine-tuning may also follow the dense model's outputs: 0 = the labels alone, 1 = the dense model alone.
# distillation_weight = {distillation_weight}
# distillation_temperature = {distillation_temperature}
"""


@click.command("init", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", help="The trained Keras model.  [default: model.keras]")
@click.option("--data", help="FILE.npz, a folder, or package.module:function.  [default: data.npz]")
@click.option("--target", "targets", multiple=True, help="A board or a .toml file; may be repeated.  [default: rpi4]")
@click.option(
    "-o", "output", type=click.Path(path_type=Path), default=DEFAULT_NAME, show_default=True, help="The file to write."
)
def command(model: str | None, data: str | None, targets: tuple[str, ...], output: Path) -> None:
    """Write a commented edgeprune.toml; an existing file is never overwritten."""
    if os.path.lexists(output):
        raise InputError(f"{output} exists and is not overwritten; delete it, or name another file with -o")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not a folder; create it, or name another file with -o")
    for target in targets:
        load_target(target)
    text = project_text(model, data, targets or ("rpi4",), output)
    parse_config(text, output)
    write_text(output, text)
    click.echo(f"wrote {output}; edit it, then run: edgeprune build{_argument(output)}")


def project_text(model: str | None, data: str | None, targets: tuple[str, ...], output: Path) -> str:
    """The text of a project file at `output`. Paths are given as seen from the current folder; the text holds them as
    seen from `output`'s. None stands for a file beside `output`."""
    names = [_toml_string(_from(output, target) if is_target_file(target) else target) for target in targets]
    return _TEMPLATE.format(
        model=_toml_string("model.keras" if model is None else _from(output, model)),
        data=_toml_string("data.npz" if data is None else _data(output, data)),
        target=names[0] if len(names) == 1 else f"[{', '.join(names)}]",
        strategies=_choices(STRATEGIES),
        quantize=_choices(QUANTIZE_CHOICES),
        criteria=_choices(CRITERIA),
        allocations=_choices(ALLOCATIONS),
        rounds=Options.rounds,
        epochs=Options.epochs,
        batch_size=Options.batch_size,
        sparsity=DEFAULT_SPARSITY,
        distillation_weight=Options.distillation_weight,
        distillation_temperature=Options.distillation_temperature,
    )


def _data(output: Path, data: str) -> str:
    return data if is_function_spec(data) else _from(output, data)


def _from(output: Path, path: str) -> str:
    """`path` as seen from the folder of `output`; absolute and blank paths stay as they are."""
    if os.path.isabs(path) or not path.strip() or output.parent == Path("."):
        return path
    return os.path.relpath(path, output.parent)


def _choices(values: tuple[str, ...]) -> str:
    return ", ".join(values[:-1]) + " or " + values[-1]


def _toml_string(value: str) -> str:
    """`value` as a TOML basic string, whatever is in it."""
    escaped = "".join(
        f"\\u{ord(character):04x}"
        if ord(character) < 0x20 or ord(character) == 0x7F
        else f"\\{character}"
        if character in '"\\'
        else character
        for character in value
    )
    return f'"{escaped}"'


def _argument(output: Path) -> str:
    return "" if output == Path(DEFAULT_NAME) else f" {output}"
