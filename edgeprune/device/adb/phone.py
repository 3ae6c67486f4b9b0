"""What kind of phone it is: ABIs, Android version, and which of its cores are the big ones."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeprune.device.adb.client import Adb
from edgeprune.errors import DeviceError
from edgeprune.tflite.model import text as printable

_PROPERTIES = {
    "model": "ro.product.model",
    "android": "ro.build.version.release",
    "sdk": "ro.build.version.sdk",
    "abi": "ro.product.cpu.abi",
    "abis": "ro.product.cpu.abilist",
    "build": "ro.build.fingerprint",
    "serialno": "ro.serialno",
}
# One grep for all files: a phone starts programs slowly, and it should stay cool.
_CORES = """
cd /sys/devices/system/cpu && ls -d cpu[0-9]*
grep -H . cpu[0-9]*/online cpu[0-9]*/cpu_capacity cpu[0-9]*/cpufreq/cpuinfo_max_freq 2>/dev/null
command -v taskset >/dev/null && echo taskset=1
true"""
_CORE_FACT = re.compile(r"cpu(\d+)(?:/(?:cpufreq/)?(\w+):\s*(\d+))?\s*")
# From here on Android can hold the clocks at a level that it can keep up.
FIXED_PERFORMANCE_SDK = 30


@dataclass(frozen=True)
class Core:
    """One core that is online. capacity: relative speed, in the kernel's own unit; 0 where nothing is known."""

    number: int
    capacity: int


@dataclass(frozen=True)
class Phone:
    """A phone. abis: what its programs may be built for, best first. identity: differs between two phones."""

    model: str
    android: str
    sdk: int
    abis: tuple[str, ...]
    identity: str
    cores: tuple[Core, ...]
    has_taskset: bool

    def big_cores(self, threads: int) -> tuple[int, ...]:
        """The cores to measure `threads` threads on: the fastest kind, and the next ones until there are enough.

        All of the phone's cores are in it where it has one kind only, or does not tell.
        """
        chosen: list[int] = []
        for capacity in sorted({core.capacity for core in self.cores}, reverse=True):
            if len(chosen) >= threads and chosen:
                break
            chosen += [core.number for core in self.cores if core.capacity == capacity]
        return tuple(sorted(chosen))

    def mixes_cores(self, threads: int) -> bool:
        """Whether so many threads need cores of less than half the fastest one's speed."""
        capacities = [core.capacity for core in self.cores if core.number in self.big_cores(threads)]
        return bool(capacities) and min(capacities) < max(capacities) / 2


def read_phone(adb: Adb) -> Phone:
    """Ask a device what it is.

    Raises:
        DeviceLost: it went away.
        DeviceError: it is not an Android device.
    """
    asked = "".join(f"printf '{name}=%s\\n' \"$(getprop {key})\"\n" for name, key in _PROPERTIES.items())
    lines = adb.ask(asked + _CORES, "asking what it is").splitlines()
    found = {
        name: printable(value.strip()) for name, equals, value in (line.partition("=") for line in lines) if equals
    }
    abis = [abi.strip() for abi in (found.get("abi", ""), *found.get("abis", "").split(",")) if abi.strip()]
    if not abis:
        raise DeviceError(f"{adb.name} tells no ABI (ro.product.cpu.abi); is it an Android device?")
    sdk = found.get("sdk", "")
    return Phone(
        model=found.get("model") or "unknown model",
        android=found.get("android") or "unknown",
        sdk=int(sdk) if sdk.isdigit() else 0,
        abis=tuple(dict.fromkeys(abis)),
        identity=" ".join(found.get(name, "") for name in ("serialno", "build", "model")),
        cores=_cores(lines),
        has_taskset=found.get("taskset") == "1",
    )


def _cores(lines: list[str]) -> tuple[Core, ...]:
    """Cores that are online. By cpu_capacity where the kernel tells it of all, else by the highest clock."""
    facts: dict[int, dict[str, int]] = {}
    for found in filter(None, map(_CORE_FACT.fullmatch, lines)):
        core = facts.setdefault(int(found[1]), {})
        if found[2]:
            core[found[2]] = int(found[3])
    # cpu0 has no switch on most phones: it is always on.
    online = {number: core for number, core in sorted(facts.items()) if core.get("online", 1)}
    by_capacity = all(core.get("cpu_capacity") for core in online.values())
    measure = "cpu_capacity" if by_capacity else "cpuinfo_max_freq"
    return tuple(Core(number, core.get(measure, 0)) for number, core in online.items())
