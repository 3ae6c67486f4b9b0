"""The board's CPU as Linux shows it: /proc/cpuinfo and /sys/devices/system/cpu, written from the target's facts.

qemu-user opens these below its root folder before the host's. The runtime picks its kernels by them, and
ai-edge-litert crashes at start on an arm64 guest that sees the host's files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgeprune.errors import InputError
from edgeprune.target import Core, Target


@dataclass(frozen=True)
class _Cpu:
    """One processor of Linux: its number, and the cluster that it is in with the numbers of that."""

    number: int
    core: Core
    cluster: int
    siblings: tuple[int, int]


def cpu_files(target: Target) -> dict[str, str]:
    """Path below the root folder -> content.

    Clusters keep the target's order, big ones first, while phones number little cores first: a runtime asks on which
    processor it runs, and the emulator runs on the host's first one.

    Raises:
        InputError: the target has no facts for an emulator.
    """
    if target.emulator is None:
        raise InputError(f"{target.name} can't be emulated: its target file has no [emulator] table")
    cpus = tuple(_cpus(target))
    everything = _range(0, len(cpus) - 1)
    folder = "sys/devices/system/cpu"
    files = {
        "proc/cpuinfo": "".join(_cpuinfo(cpu, target.emulator.features) for cpu in cpus),
        f"{folder}/possible": everything,
        f"{folder}/present": everything,
        f"{folder}/online": everything,
        f"{folder}/kernel_max": f"{len(cpus) - 1}\n",
    }
    for cpu in cpus:
        for name, content in _one_cpu(cpu).items():
            files[f"{folder}/cpu{cpu.number}/{name}"] = content
    return files


def pinned_cpu(target: Target, allowed: set[int]) -> int | None:
    """The host's CPU to run on, so that the guest finds itself on a core of the target's first kind.

    A number that the board doesn't have counts as the first. None: the board has one kind, or no CPU fits.
    """
    parts = [core.part for core in target.cores for _ in range(core.count)]
    if len(set(parts)) < 2:
        return None
    return min((cpu for cpu in allowed if cpu >= len(parts) or parts[cpu] == parts[0]), default=None)


def _cpus(target: Target) -> Iterator[_Cpu]:
    first = 0
    for cluster, core in enumerate(target.cores):
        last = first + core.count - 1
        for number in range(first, last + 1):
            yield _Cpu(number, core, cluster, (first, last))
        first = last + 1


def _cpuinfo(cpu: _Cpu, features: tuple[str, ...]) -> str:
    core = cpu.core
    lines = (
        ("processor\t", str(cpu.number)),
        ("Features\t", " ".join(features)),
        ("CPU implementer\t", core.implementer),
        ("CPU architecture", "8"),
        ("CPU variant\t", core.variant),
        ("CPU part\t", core.part),
        ("CPU revision\t", str(core.revision)),
    )
    return "".join(f"{name}: {value}\n" for name, value in lines) + "\n"


def _one_cpu(cpu: _Cpu) -> dict[str, str]:
    khz = f"{round(cpu.core.ghz * 1e6)}\n"
    return {
        "topology/core_id": f"{cpu.number}\n",
        "topology/physical_package_id": f"{cpu.cluster}\n",
        "topology/core_siblings_list": _range(*cpu.siblings),
        "topology/thread_siblings_list": f"{cpu.number}\n",
        "cpufreq/cpuinfo_max_freq": khz,
        "cpufreq/scaling_governor": "performance\n",
    }


def _range(first: int, last: int) -> str:
    return f"{first}\n" if first == last else f"{first}-{last}\n"
