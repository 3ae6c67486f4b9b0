"""Calling the user's training with what it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from edgeprune.errors import InputError
from edgeprune.sparsity.schedules.checks import received

_FORM = "def fit(model, callbacks): return model.fit(x, y, epochs=10, callbacks=callbacks)"


@dataclass(frozen=True)
class FitCall:
    """The user's `fit`, and how it takes the callbacks: as second argument, by keyword or not at all."""

    fit: Callable[..., Any]
    callbacks: Literal["second", "keyword"] | None
    initial_epoch: bool

    def __call__(self, model: Any, callback: Any, initial_epoch: int) -> Any:
        """Train. `initial_epoch`: the epochs that the rewound state has behind it; for a `fit` that takes it."""
        options: dict[str, Any] = {"initial_epoch": initial_epoch} if self.initial_epoch else {}
        if self.callbacks == "second":
            return self.fit(model, [callback], **options)
        if self.callbacks == "keyword":
            options["callbacks"] = [callback]
        return self.fit(model, **options)


def as_fit_call(fit: Any, needs_callbacks: str | None) -> FitCall:
    """Read the signature of `fit`: (model), (model, callbacks) or (model, callbacks, initial_epoch).

    A second parameter with a default that isn't named callbacks is the user's own.

    Args:
        needs_callbacks: what `fit` must take callbacks for; None when it needn't.

    Raises:
        InputError: not callable, takes something else, or takes no callbacks where they are needed.
    """
    if not callable(fit):
        raise InputError(
            f"find_ticket: fit must be a function that trains the model: {_FORM}. Received: {received(fit)}"
        )
    try:
        signature = inspect.signature(fit)
    except (TypeError, ValueError):  # a callable without one, such as a builtin
        return FitCall(fit, "second", False)
    call = FitCall(fit, _takes_callbacks(signature), _by_name(signature, "initial_epoch"))
    try:
        second = (None,) if call.callbacks == "second" else ()
        named = [
            name
            for name, wanted in (("callbacks", call.callbacks == "keyword"), ("initial_epoch", call.initial_epoch))
            if wanted
        ]
        signature.bind(None, *second, **dict.fromkeys(named))
    except TypeError as error:
        raise InputError(f"find_ticket: fit{signature} can't be called as fit(model, callbacks): {error}") from error
    if needs_callbacks and call.callbacks is None:
        raise InputError(
            f"find_ticket: {needs_callbacks} needs a fit that takes callbacks and passes them on: {_FORM}. "
            f"Received: fit{signature}"
        )
    return call


def _takes_callbacks(signature: inspect.Signature) -> Literal["second", "keyword"] | None:
    kinds = inspect.Parameter
    parameters = list(signature.parameters.values())
    if _by_name(signature, "callbacks"):
        return "keyword"
    own = [one for one in parameters if one.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    if len(own) > 1:
        free = own[1].default is kinds.empty and own[1].name != "initial_epoch"
        return "second" if free or own[1].name == "callbacks" else None
    if any(one.kind is kinds.VAR_POSITIONAL for one in parameters):
        return "second"
    return "keyword" if any(one.kind is kinds.VAR_KEYWORD for one in parameters) else None


def _by_name(signature: inspect.Signature, name: str) -> bool:
    found = signature.parameters.get(name)
    return found is not None and found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)
