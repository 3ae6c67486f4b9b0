"""Targets: what a board is, which runtime it runs, and what operations cost on it."""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeprune.cost_rates import CostRates, Energy, read_cost, read_energy
from edgeprune.errors import InputError, nearest
from edgeprune.toml_table import Table, read_text, shown

TRANSPORTS = ("local", "ssh", "adb")
ISA_FEATURES = (
    "neon",
    "fp16",
    "dotprod",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "sse4.1",
    "avx",
    "avx2",
    "avx512f",
    "avx512vnni",
)

# A wheel holds the boards inside the package; a source checkout has them beside it (see setup.py).
_FOLDERS = (Path(__file__).with_name("_targets"), Path(__file__).parent.parent / "targets")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc|\.post|\.dev)[0-9]+)?")
_PART = re.compile(r"0x[0-9a-f]{1,3}")
_BYTE = re.compile(r"0x[0-9a-f]{1,2}")
_CPU_MODEL = re.compile(r"[a-z0-9][a-z0-9-]*(?:,[a-z0-9-]+=[a-z0-9]+)*")
_CPU_FEATURE = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Core:
    """One cluster of equal cores. `part` is the MIDR part number, such as 0xd08 for a Cortex-A72; "" off ARM.

    `implementer`, `variant` and `revision` are the other fields of MIDR as /proc/cpuinfo shows them; 0x41 is Arm.
    """

    kind: str
    count: int
    ghz: float
    part: str
    implementer: str = "0x41"
    variant: str = "0x0"
    revision: int = 0


@dataclass(frozen=True)
class Runtime:
    """The Python package and version that runs the model on the board."""

    package: str
    version: str


@dataclass(frozen=True)
class Emulator:
    """How qemu-user plays the board. `cpu` is its -cpu model, `features` those of the board's /proc/cpuinfo."""

    cpu: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class Budget:
    """Limits a build must keep. None means no limit.

    Absolute limits (milliseconds, 1000-byte kB) and ratios to the dense float32 baseline may be mixed; the
    tighter one counts. `max_accuracy_drop` is in the metric's own units for metrics that are better
    when higher (0.01 = one point of accuracy) and relative to the baseline's value otherwise.
    """

    latency_ms: float | None = None
    size_kb: float | None = None
    ram_kb: float | None = None
    max_accuracy_drop: float | None = None
    latency_ratio: float | None = None
    size_ratio: float | None = None
    ram_ratio: float | None = None


@dataclass(frozen=True)
class Target:
    """One board, read from a TOML file. `cost` has one entry per quantization mode.

    `ram_mb` is the memory of the smallest variant sold, `copy_mb_s` what one thread's memcpy copies in 1e6 bytes
    per second, `threads` the thread count that `cost` holds for and that benchmarks use by default. `emulator` is
    None for a board that can't be emulated, `energy` where nothing is known of it.
    """

    name: str
    title: str
    cores: tuple[Core, ...]
    isa: tuple[str, ...]
    ram_mb: int
    copy_mb_s: int
    runtime: Runtime
    channel_multiple: int
    threads: int
    transport: str
    budget: Budget
    cost: Mapping[str, CostRates]
    cost_source: str
    emulator: Emulator | None = None
    energy: Energy | None = None


def list_targets() -> tuple[str, ...]:
    """The names of the boards that come with edgeprune, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def is_target_file(name_or_path: str) -> bool:
    """Whether a target is a user's own file: it ends in `.toml` or contains a path separator."""
    return name_or_path.endswith(".toml") or any(mark in name_or_path for mark in (os.sep, os.altsep) if mark)


def user_rates_path(name: str) -> Path:
    """Where `edgeprune calibrate` stores the rates of the user's own board:
    $XDG_CONFIG_HOME/edgeprune/targets/NAME.toml, ~/.config without the variable."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "edgeprune", "targets", f"{name}.toml")


def load_target(name_or_path: str) -> Target:
    """Load a board by name, or from a user's own file.

    Anything that `is_target_file` is a file. A board that was calibrated (`user_rates_path`) has those rates, and
    `cost_source` says so.

    Raises:
        InputError: unknown name (names the nearest), or a file that is missing or wrong.
    """
    if is_target_file(name_or_path):
        return read_target(Path(name_or_path))
    names = list_targets()
    if name_or_path not in names:
        raise InputError(
            f"unknown target {shown(name_or_path)}; {nearest(name_or_path.lower(), names)} "
            "(a board of your own: give the path of its .toml file)"
        )
    return _calibrated(read_target(_folder() / f"{name_or_path}.toml"))


def _calibrated(target: Target) -> Target:
    """The target with the rates that the user's own board was calibrated to, if it was."""
    path = user_rates_path(target.name)
    if not path.is_file():
        return target
    text = read_text(path, "calibration", f"calibrate again: edgeprune calibrate {target.name}")
    top = Table.parse(text, str(path))
    top.check_keys(("cost",))
    cost, source = read_cost(top)
    return dataclasses.replace(target, cost=cost, cost_source=source)


def read_target(path: Path) -> Target:
    """Read the board file `path`.

    Raises:
        InputError: the file is missing, unreadable or wrong.
    """
    text = read_text(path, "target file", "`edgeprune targets list` names the boards that come with edgeprune")
    return parse_target(text, str(path))


def parse_target(text: str, source: str) -> Target:
    """Parse the text of a board file; `source` is what messages call it.

    Raises:
        InputError: not TOML, an unknown or missing key, or a value out of range.
    """
    top = Table.parse(text, source)
    top.check_keys(field.name for field in dataclasses.fields(Target) if field.name != "cost_source")
    cores = tuple(_core(table) for table in top.tables("cores", "one [[cores]] table per cluster of equal cores"))
    threads = top.integer("threads")
    if threads > sum(core.count for core in cores):
        raise top.wrong("threads", f"at most the {sum(core.count for core in cores)} cores of the board")
    cost, cost_source = read_cost(top)
    return Target(
        name=_matching(top, "name", _NAME, "letters, digits, dots, dashes and underscores, at most 64"),
        title=top.text("title"),
        cores=cores,
        isa=_isa(top),
        ram_mb=top.integer("ram_mb"),
        copy_mb_s=top.integer("copy_mb_s"),
        runtime=_runtime(top.table("runtime", "a [runtime] table with package and version")),
        channel_multiple=top.integer("channel_multiple"),
        threads=threads,
        transport=top.choice("transport", TRANSPORTS),
        budget=budget_from(top),
        cost=cost,
        cost_source=cost_source,
        emulator=_emulator(top, cores),
        energy=read_energy(top),
    )


def budget_from(top: Table) -> Budget:
    """The optional [budget] table of a target or project file.

    Raises:
        InputError: an unknown limit, or one that `check_budget` refuses.
    """
    if "budget" not in top:
        return Budget()
    table = top.table("budget", "a table of limits")
    table.check_keys((field.name for field in dataclasses.fields(Budget)), kind="limit")
    for name, value in table.values.items():
        allowed = _refused_limit(name, value)
        if allowed:
            raise table.wrong(name, allowed)
    return Budget(**{name: float(value) for name, value in table.values.items()})


def check_budget(budget: Budget, where: str) -> Budget:
    """The budget with plain floats, once every limit is found possible; `where` names its origin in messages.

    Raises:
        InputError: a limit is not a number (a bool is not one), NaN, infinite, zero or negative
            (`max_accuracy_drop` may be zero), or a ratio is above 1.
    """
    limits = {name: value for name, value in dataclasses.asdict(budget).items() if value is not None}
    for name, value in limits.items():
        allowed = _refused_limit(name, value)
        if allowed:
            raise InputError(f"{where}: {name} must be {allowed}, received {shown(value)}")
    return Budget(**{name: float(value) for name, value in limits.items()})


def _refused_limit(name: str, value: object) -> str | None:
    """What the limit `name` must be where `value` is refused; None where it is accepted."""
    real = _finite(value)
    if name.endswith("_ratio"):
        return (
            None if real is not None and 0 < real <= 1 else "a ratio above 0 and at most 1 (0.4 = 40 % of the baseline)"
        )
    if name == "max_accuracy_drop":
        return None if real is not None and real >= 0 else "a number of at least 0 (0.01 = one point of accuracy)"
    return None if real is not None and real > 0 else "a number above 0"


def _finite(value: object) -> float | None:
    """`value` as a finite float; numpy's scalars count as numbers, bools don't."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        real = float(value)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None


def _folder() -> Path:
    for folder in _FOLDERS:
        if folder.is_dir():
            return folder
    raise InputError(f"the board files of edgeprune are missing from {_FOLDERS[0]}; install edgeprune again")


def _core(table: Table) -> Core:
    table.check_keys(field.name for field in dataclasses.fields(Core))
    part, implementer, variant = (
        _matching(table, key, pattern, f'the {key} number of the CPU, such as "{example}"') if key in table else default
        for key, pattern, example, default in (
            ("part", _PART, "0xd08", ""),
            ("implementer", _BYTE, "0x41", "0x41"),
            ("variant", _BYTE, "0x0", "0x0"),
        )
    )
    return Core(
        kind=table.text("kind"),
        count=table.integer("count"),
        ghz=table.number("ghz"),
        part=part,
        implementer=implementer,
        variant=variant,
        revision=table.integer("revision", 0) if "revision" in table else 0,
    )


def _emulator(top: Table, cores: tuple[Core, ...]) -> Emulator | None:
    """The optional [emulator] table."""
    if "emulator" not in top:
        return None
    table = top.table("emulator", "an [emulator] table with cpu and features")
    table.check_keys(field.name for field in dataclasses.fields(Emulator))
    allowed = 'a list of the words after "Features" in /proc/cpuinfo, such as "asimd"'
    features = table.texts("features", allowed)
    if not features or not all(map(_CPU_FEATURE.fullmatch, features)):
        raise table.wrong("features", allowed)
    without = next((core.kind for core in cores if not core.part), None)
    if without is not None:
        raise top.error("cores", f"an emulated board needs the part number of each core, {without} has none")
    return Emulator(
        cpu=_matching(table, "cpu", _CPU_MODEL, 'a model of `qemu-aarch64 -cpu help`, such as "cortex-a72"'),
        features=features,
    )


def _isa(top: Table) -> tuple[str, ...]:
    allowed = "a list out of " + ", ".join(ISA_FEATURES)
    features = top.texts("isa", allowed)
    unknown = next((feature for feature in features if feature not in ISA_FEATURES), None)
    if unknown is not None:
        raise top.error("isa", f"unknown isa feature {shown(unknown)}; {nearest(unknown, ISA_FEATURES)}")
    return features


def _runtime(table: Table) -> Runtime:
    table.check_keys(field.name for field in dataclasses.fields(Runtime))
    return Runtime(
        package=_matching(table, "package", _PACKAGE, 'a Python package such as "ai-edge-litert"'),
        version=_matching(table, "version", VERSION, 'a version such as "2.3.0"'),
    )


def _matching(table: Table, key: str, pattern: re.Pattern[str], allowed: str) -> str:
    value = table.text(key, allowed)
    if not pattern.fullmatch(value):
        raise table.wrong(key, allowed)
    return value
