"""Before, after, limit and ratio of everything a budget can name: the rows both the terminal and the page show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeprune.records.report import FrozenRow, LimitRow, Metric, ModelRecord
from edgeprune.report import format as fmt


@dataclass(frozen=True)
class Quantity:
    """One value: as a number (ms, bytes, a count or the metric's own unit), for people, and to the last digit."""

    value: float
    text: str
    exact: str


@dataclass(frozen=True)
class Comparison:
    """One row of the before/after table.

    `bound` is the limit as a value of this row: for the metric the lowest (or highest) value allowed.
    `met` is None where the budget sets no limit. `hint` says how the numbers are known.
    """

    key: str
    label: str
    hint: str
    before: Quantity | None
    after: Quantity | None
    bound: Quantity | None
    ratio: str
    met: bool | None


def compare(baseline: ModelRecord, result: ModelRecord, limits: Iterable[LimitRow]) -> tuple[Comparison, ...]:
    """The rows latency, file size, peak RAM, MACs, parameters and, where they are known, energy and the metric."""
    by_name = {row.name: row for row in limits}
    rows = [
        _latency(baseline, result, by_name.get("latency_ms")),
        _bytes("size_kb", "File size", baseline.size_bytes, result.size_bytes, by_name, ""),
        _bytes("ram_kb", "Peak RAM", baseline.peak_ram_bytes, result.peak_ram_bytes, by_name, _ram_hint(result)),
        _counts("macs", "MACs", baseline.macs, result.macs),
        _counts("params", "Parameters", baseline.params, result.params),
    ]
    rows += _energy(baseline.energy_mj, result.energy_mj)
    metric = _metric(baseline.metric, result.metric, by_name.get("accuracy_drop"))
    return (*rows, metric) if metric else tuple(rows)


def comparable_latency(baseline: ModelRecord, result: ModelRecord) -> bool:
    """Whether the two latencies are known in the same way: only then may their ratio be stated."""
    one, other = baseline.latency_ms, result.latency_ms
    return (one.method, one.device, one.threads) == (other.method, other.device, other.threads)


def metric_bound(baseline: Metric, limit: float) -> float:
    """The worst metric value that an accuracy-drop limit allows (see `Budget.max_accuracy_drop`)."""
    return baseline.value - limit if baseline.higher_is_better else baseline.value + limit * abs(baseline.value)


def group_frozen(frozen: Iterable[FrozenRow]) -> tuple[tuple[str, tuple[FrozenRow, ...]], ...]:
    """Frozen layers by reason, the most frequent reason first; layers keep their order."""
    groups: dict[str, list[FrozenRow]] = {}
    for row in frozen:
        groups.setdefault(row.reason, []).append(row)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return tuple((reason, tuple(rows)) for reason, rows in ordered)


def _latency(baseline: ModelRecord, result: ModelRecord, limit: LimitRow | None) -> Comparison:
    same = comparable_latency(baseline, result)
    before, after = baseline.latency_ms, result.latency_ms
    hint = fmt.provenance_text(after)
    if not same:
        hint = f"before {fmt.provenance_text(before)}; after {hint}"
    if after.low is not None and after.high is not None:
        hint += f"; after is likely {fmt.latency_text(after.low)} to {fmt.latency_text(after.high)}"
    return Comparison(
        key="latency_ms",
        label="Latency",
        hint=hint,
        before=_ms(before.value),
        after=_ms(after.value),
        bound=_ms(limit.limit) if limit else None,
        ratio=fmt.ratio_text(after.value, before.value) if same else fmt.UNKNOWN,
        met=limit.met if limit else None,
    )


def _ms(value: float) -> Quantity:
    return Quantity(value, fmt.latency_text(value), f"{fmt.exact_text(value)} ms")


def _size(value: float) -> Quantity:
    return Quantity(value, fmt.size_text(value), f"{fmt.exact_text(value)} bytes")


def _ram_hint(result: ModelRecord) -> str:
    computed = "computed: weights plus the most activations at once"
    if result.process_ram_bytes is None:
        return computed
    return f"{computed}; the whole process takes about {fmt.size_text(result.process_ram_bytes)} after"


def _energy(before: float | None, after: float | None) -> list[Comparison]:
    """A row that says it is an estimate; none where either is not known."""
    if before is None or after is None:
        return []

    def quantity(value: float) -> Quantity:
        return Quantity(value, f"{fmt.significant(value)} mJ", f"{fmt.exact_text(value)} mJ")

    return [
        Comparison(
            key="energy_mj",
            label="Energy, estimate",
            hint="per inference, from operations and bytes moved; for comparing models only",
            before=quantity(before),
            after=quantity(after),
            bound=None,
            ratio=fmt.ratio_text(after, before),
            met=None,
        )
    ]


def _bytes(key: str, label: str, before: int, after: int, limits: dict[str, LimitRow], hint: str) -> Comparison:
    limit = limits.get(key)
    return Comparison(
        key=key,
        label=label,
        hint=hint,
        before=_size(before),
        after=_size(after),
        bound=_size(limit.limit * 1000) if limit else None,
        ratio=fmt.ratio_text(after, before),
        met=limit.met if limit else None,
    )


def _counts(key: str, label: str, before: int, after: int) -> Comparison:
    return Comparison(
        key=key,
        label=label,
        hint="multiply-accumulates per inference" if key == "macs" else "",
        before=Quantity(before, fmt.count_text(before), fmt.exact_text(before)),
        after=Quantity(after, fmt.count_text(after), fmt.exact_text(after)),
        bound=None,
        ratio=fmt.ratio_text(after, before),
        met=None,
    )


def _metric(before: Metric | None, after: Metric | None, limit: LimitRow | None) -> Comparison | None:
    known = after or before
    if known is None:
        return None
    bound = metric_bound(before, limit.limit) if before and limit else None
    direction = "higher" if known.higher_is_better else "lower"
    return Comparison(
        key="accuracy_drop",
        label=known.name,
        hint=f"{direction} is better; on the validation data",
        before=_metric_quantity(before) if before else None,
        after=_metric_quantity(after) if after else None,
        bound=None if bound is None else _metric_quantity(Metric(known.name, bound, known.higher_is_better)),
        ratio=fmt.change_text(before, after) if before and after else fmt.UNKNOWN,
        met=limit.met if limit else None,
    )


def _metric_quantity(metric: Metric) -> Quantity:
    return Quantity(metric.value, fmt.metric_text(metric), fmt.exact_text(metric.value))
