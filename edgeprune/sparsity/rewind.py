"""Lottery tickets: train, prune, rewind, and again.

Frankle and Carbin 2019, "The Lottery Ticket Hypothesis": iterative magnitude pruning, rewinding to the initial weights.
Frankle, Dziugaite, Roy and Carbin 2020, "Linear Mode Connectivity and the Lottery Ticket Hypothesis": rewinding to an
early point of training. Renda, Frankle and Carbin 2020, "Comparing Rewinding and Fine-tuning in Neural Network
Pruning": rewinding the learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.errors import InputError
from edgeprune.progress import say
from edgeprune.sparsity.criteria.base import Evidence
from edgeprune.sparsity.pruner import Pruner
from edgeprune.sparsity.tickets.metric import choose_metric, evaluated, final_values, higher_is_better, name_of
from edgeprune.sparsity.tickets.records import Record, Records
from edgeprune.sparsity.tickets.report import TicketReport, TicketRound, packed, round_name, unpacked
from edgeprune.sparsity.tickets.search import Search, checked
from edgeprune.sparsity.tickets.snapshot import Snapshot
from edgeprune.sparsity.tickets.state import TrainingState, assign, assign_optimizer, capture_start, values

_START, _POINT = "start", "rewind"


def find_ticket(
    model: Any,
    fit: Callable[..., Any],
    rounds: int,
    fraction: float = 0.2,
    rewind_to: str | int = "init",
    *,
    mode: str = "weights",
    criterion: Any = "magnitude",
    pattern: str = "unstructured",
    scope: str = "global",
    include: Any = None,
    exclude: Any = None,
    min_weights: int = 1,
    folder: str | Path | None = None,
    evaluate: Callable[[Any], float] | None = None,
    seed: int = 0,
) -> TicketReport:
    """Look for a sparse network that trains as well as the dense one: iterative pruning with rewinding.

        def fit(model, callbacks):
            return model.fit(x, y, epochs=10, validation_data=(vx, vy), callbacks=callbacks)

        report = edgeprune.find_ticket(model, fit, rounds=10, rewind_to="epoch:1", folder="ticket")
        print(report.table())

    Round 0 trains the dense model. Each of the `rounds` that follow prunes `fraction` of what is left, judged by the
    weights as they were trained; rewinds; and trains again. Pruned weights are exactly zero during and after every
    round and never come back. The model ends as the last round's trained ticket with its masks attached.

    How many are pruned: in round r each kernel of n weights counts for round(n * (1 - (1 - fraction)^r)). Their sum is
    chosen among all kernels (scope "global"), or each kernel loses its own (scope "layer"), as far as `min_weights`
    allows. Of a block pattern, blocks count instead of weights. N:M fixes the last round; round r has
    (1 - (1 - fraction)^r) / (1 - (1 - fraction)^rounds) of what the pattern prunes.

    What is rewound: all variables of the model, BatchNorm statistics and the states of seeds included, and the
    optimizer. For "init" these are the weights that the model was given with, and the optimizer is as new: iterations
    0, so that a learning rate schedule begins again; no moments; the learning rate that it had when `find_ticket` was
    called. For a later point both are as they were there. A `fit` that compiles the model anew brings its own
    optimizer, which works for "init" only.

    How long a rewound training is: as long as `fit` makes it. Keras counts epochs from 0, so after rewinding to
    "epoch:K" plain `fit` trains all T epochs from there; the paper trains the T - K that are left. To do so take a
    parameter `initial_epoch` and pass it to `model.fit`: it is 0, or the number of epochs finished at the point of
    rewinding (a step inside an epoch starts that epoch again).

    Memory: the variables and the optimizer's state once each for "init", twice for a later point; without `folder` the
    variables once more for every round; 1 byte a weight for masks.

    Args:
        model: a built and compiled Keras model, dense.
        fit: trains the model in full and passes `callbacks` on to `model.fit`; it returns the History, or None. A
            function of the model alone will do for "init".
        rounds: how often to prune.
        fraction: share of the weights that are left to prune each time, in (0, 1).
        rewind_to: "init", "epoch:K" (after K epochs of round 0), "step:K" or K (after K batches).
        mode: "weights" rewinds as above; "learning_rate" keeps the trained weights, BatchNorm statistics and states of
            seeds and rewinds the optimizer only.
        criterion: "magnitude", "taylor" (gradients of the round's training) or "random".
        pattern: "unstructured", N:M such as "2:4", or a block such as "1x4".
        scope: "global" ranks all kernels together, "layer" each by itself.
        include, exclude: layers, as `PruningCallback` takes them.
        min_weights: weights of each kernel that always stay.
        folder: where each finished round is kept. An interrupted call that is repeated with the same arguments goes on
            after the last of them and returns the same report. Randomness outside the model is the caller's: seed it
            inside `fit`.
        evaluate: a function of the trained model; its value judges the rounds. Default: the last epoch's value of the
            first validation metric that isn't a loss, else the validation loss, else the same of training.
            Lower is taken as better when the name (of the metric, or of the function) says loss or error.
        seed: of the random criterion.

    Raises:
        InputError: before training for a wrong argument, a model that isn't built, compiled and dense, or a folder of
            another search; after round 0 when `fit` never came to the point of rewinding or nothing judges a round.
    """
    search = checked(
        model,
        fit,
        rounds,
        fraction,
        rewind_to,
        mode=mode,
        criterion=criterion,
        pattern=pattern,
        scope=scope,
        include=include,
        exclude=exclude,
        min_weights=min_weights,
        evaluate=evaluate,
        seed=seed,
    )
    records = Records(folder)
    if _START in records:
        search.check_same(records.get(_START).document["settings"], folder)
    else:
        search.check_dense()
        start = capture_start(model)
        records.put(_START, _state_record(start, {"settings": search.settings()}))
    run = _Run(search, records)
    done = [run.recorded(number) or run.round(number) for number in range(search.rounds + 1)]
    report = TicketReport(
        rounds=tuple(done),
        weights=sum(weight.size for weight in search.ranking.scored),
        higher_is_better=higher_is_better(done[0].metric),
        mode=search.mode,
        rewind_to=str(search.point),
        fraction=search.fraction,
        criterion=search.criterion.name,
        pattern=search.pattern,
        scope=search.scope,
        seed=search.seed,
        records=records,
    )
    report.restore(model, search.rounds)
    return report


class _Run:
    """The rounds of one search. Each begins with recorded state only, so a continued search sees the same as one that
    was never interrupted."""

    def __init__(self, search: Search, records: Records) -> None:
        self.search = search
        self.records = records
        self.optimizer = search.model.optimizer
        self.pruner = Pruner(search.model, search.ranking, self._scorer(), regrows=False)
        self.metric: str | None = None

    def recorded(self, number: int) -> TicketRound | None:
        """A round that is finished."""
        if round_name(number) not in self.records:
            return None
        found = TicketRound(**self.records.get(round_name(number)).document["round"])
        self.metric = found.metric
        return found

    def round(self, number: int) -> TicketRound:
        """Rewind, train, choose what is pruned next, and record all of it."""
        initial_epoch = self._rewind(number)
        metrics = self._train(number, initial_epoch)
        self.pruner.masks.apply()
        keep = self.pruner.masks.keep()
        trained = values(self.search.model.variables)
        result = self._judged(number, metrics, keep)
        groups = {"variables": trained, "keep": packed(keep)}
        if number < self.search.rounds:
            share = self.search.sparsity(number + 1)
            self.pruner.prune(share / self.search.sparsity(self.search.rounds), share)
            groups["next"] = packed(self.pruner.masks.keep())
        document = {"round": vars(result), "kernels": list(self.search.kernels)}
        self.records.put(round_name(number), Record(document, groups))
        say(
            f"find_ticket: round {number} of {self.search.rounds}: {result.weights_left:,} weights left "
            f"({result.sparsity:.1%} sparse), {result.metric} {result.value:.4f}"
        )
        return result

    def _rewind(self, number: int) -> int:
        """Put model, masks and optimizer where the round begins; returns the epochs that it has behind it."""
        model, masks = self.search.model, self.pruner.masks
        late = number > 0 and self.search.point.late
        state = self.records.get(_POINT if late else _START)
        weights_stay = number > 0 and self.search.mode == "learning_rate"
        if number == 0:
            masks.assign([np.ones(tuple(variable.shape), dtype=bool) for variable in masks.variables])
            assign(model.variables, state.groups["variables"])
        else:
            before = self.records.get(round_name(number - 1))
            masks.assign(unpacked(before, "next"))
            assign(model.variables, (before if weights_stay else state).groups["variables"])
            masks.apply()
        if model.optimizer is self.optimizer:  # else fit compiles the model anew, with an optimizer of its own
            assign_optimizer(model.optimizer, state.groups["optimizer"], weights_stay=weights_stay)
        return int(state.document["epochs"])

    def _train(self, number: int, initial_epoch: int) -> dict[str, float]:
        """Train in full; returns the last value of each metric."""
        search, pruner = self.search, self.pruner
        watch = Snapshot(search.point if number == 0 else None)
        learns = search.criterion.needs_gradients and number < search.rounds
        if learns:
            pruner.scorer = self._scorer()
            pruner.watch_gradients(pruner)
            search.model.train_function = None  # one that was compiled before would go on without the hook
        try:
            result = search.fit(search.model, watch.callback, initial_epoch)
        finally:
            if learns:
                pruner.stop_watching()
                search.model.train_function = None
        if (search.point.late or learns) and search.model.optimizer is not self.optimizer:
            lost = f"the optimizer can't be rewound to {search.point}" if search.point.late else "gradients went unseen"
            raise InputError(
                f"find_ticket: fit compiled the model anew, so {lost}; call model.compile(...) once, before find_ticket"
            )
        if number == 0 and search.point.late:
            self._keep_point(watch)
        history = getattr(result, "history", None)
        return final_values(history if isinstance(history, dict) and history else watch.logs)

    def _keep_point(self, watch: Snapshot) -> None:
        point = self.search.point
        if not watch.began:
            raise InputError(
                f'find_ticket: rewind_to="{point}" needs the callbacks that fit was given, but they were not called; '
                "pass them on: model.fit(..., callbacks=callbacks)"
            )
        if watch.state is None:
            raise InputError(
                f'find_ticket: rewind_to="{point}" is beyond the training, which had {watch.epochs} epochs and '
                f"{watch.steps} steps; give an earlier point"
            )
        self.records.put(_POINT, _state_record(watch.state, {}))

    def _judged(self, number: int, metrics: dict[str, float], keep: list[np.ndarray]) -> TicketRound:
        if self.search.evaluate is not None:
            self.metric = name_of(self.search.evaluate)
            value = evaluated(self.search.evaluate, self.search.model)
        else:
            self.metric = self.metric or choose_metric(metrics)
            if self.metric is None or self.metric not in metrics:
                raise InputError(
                    f"find_ticket: nothing judges round {number}: fit gave {', '.join(metrics) or 'no metrics'}"
                    + (f", not {self.metric}" if self.metric else "")
                    + "; return the History of model.fit, or give evaluate=a function of the model"
                )
            value = metrics[self.metric]
        left = sum(int(np.count_nonzero(mask)) for mask in keep)
        weights = sum(mask.size for mask in keep)
        return TicketRound(number, 1.0 - left / weights, left, metrics, self.metric, value)

    def _scorer(self) -> Any:
        search = self.search
        return search.criterion.bind(Evidence(search.model, search.ranking.scored, seed=search.seed))


def _state_record(state: TrainingState, document: dict[str, Any]) -> Record:
    return Record({**document, "epochs": state.epochs}, {"variables": state.variables, "optimizer": state.optimizer})
