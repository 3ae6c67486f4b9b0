"""The passes in their order, run over a model until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from edgeprune.errors import InputError, nearest
from edgeprune.export.passes import (
    dense_head,
    embed_depthwise,
    end_by_depth_to_space,
    fold_batchnorm,
    fold_preprocessing,
    keep_pooled_rank,
    mirror_image,
    name_global_pooling,
    pad_symmetrically,
    prelu_by_relu,
    recast_stem,
    reshape_constants,
    swish_by_tanh,
    write_as_depthwise,
)
from edgeprune.export.passes.layer_graph import LayerGraph, read_model
from edgeprune.export.passes.report import PassReport

# One round settles what the passes do today; the second shows that nothing is left.
_ROUNDS = 2


@dataclass(frozen=True)
class LayoutPass:
    """A pass, and whether it runs when fine-tuning follows, when it does not, or (None) always."""

    name: str
    run: Callable[[LayerGraph], PassReport]
    before_finetuning: bool | None = None


# Preprocessing and norms go first: what they leave behind are plain convolutions. The stem is recast where the mirror
# left it one that sparse kernels can't start at; the embedding goes last, for what the mirror refused.
PASSES = (
    LayoutPass(name_global_pooling.NAME, name_global_pooling.run),
    LayoutPass(keep_pooled_rank.NAME, keep_pooled_rank.run),
    LayoutPass(dense_head.NAME, dense_head.run),
    LayoutPass(fold_preprocessing.NAME, fold_preprocessing.run, before_finetuning=False),
    LayoutPass(fold_batchnorm.NAME, fold_batchnorm.run, before_finetuning=False),
    LayoutPass(swish_by_tanh.NAME, swish_by_tanh.run, before_finetuning=False),
    LayoutPass(prelu_by_relu.NAME, prelu_by_relu.run, before_finetuning=False),
    LayoutPass(reshape_constants.NAME, reshape_constants.run),
    LayoutPass(write_as_depthwise.NAME, write_as_depthwise.run),
    LayoutPass(pad_symmetrically.NAME, pad_symmetrically.run, before_finetuning=True),
    LayoutPass(end_by_depth_to_space.NAME, end_by_depth_to_space.run, before_finetuning=False),
    LayoutPass(mirror_image.NAME, mirror_image.run, before_finetuning=False),
    LayoutPass(recast_stem.NAME, recast_stem.run, before_finetuning=False),
    LayoutPass(embed_depthwise.NAME, embed_depthwise.run, before_finetuning=False),
)


def apply_passes(model: Any, *, finetuned: bool, without: Collection[str] = ()) -> tuple[Any, tuple[PassReport, ...]]:
    """Rewrite a functional or built Sequential Keras 3 model so that XNNPACK can run sparse kernels on its export.

    finetuned: True when the model is trained after this: padding changes, and training heals that; norms and
        preprocessing stay as they are, because training needs them. False when it is exported as it comes back: its
        outputs are those of `model` up to float32 rounding.
    without: names of passes to leave out.

    A model that is fine-tuned goes through both, in this order: True, training, False. Meant for sparse float builds;
    int8 gains nothing from it.

    Returns the model and one report per pass that ran. The model is `model` itself where no pass changed anything, else
    a new, uncompiled one with inputs and outputs of the same shapes and names; nested models are flattened into it.
    `model` is never changed. Run on its own result, this changes nothing.

    Raises:
        InputError: a subclassed or unbuilt model, a layer that can't be made again from its config, or an unknown name
            in `without`.
    """
    for name in without:
        if name not in (names := [each.name for each in PASSES]):
            raise InputError(f'unknown pass "{name}"; {nearest(name, names)}')
    graph = read_model(model)
    chosen = [each for each in PASSES if each.before_finetuning in (None, finetuned) and each.name not in without]
    reports: dict[str, PassReport] = {}
    for _ in range(_ROUNDS):
        before = graph.edits
        for each in chosen:
            found = each.run(graph)
            earlier = reports.get(each.name)
            # a second round adds changes; its refusals are the ones that hold at the end
            reports[each.name] = found if earlier is None else replace(found, changed=earlier.changed + found.changed)
        if graph.edits == before:
            break
    return (graph.build() if graph.edits else model), tuple(reports.values())
