"""From "adb:SERIAL?option=value" to what is asked of a phone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from edgeprune.errors import InputError, nearest

KIND = "adb"
_SWITCHES = ("offline", "fixed_performance", "gpu", "xnnpack")
_VALUES = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class AdbSpec:
    """A phone and how to measure on it.

    serial: as `adb devices` shows it; None where the only device is meant.
    binary: the user's benchmark_model for the phone; None to use the one in the cache, or download it.
    offline: download nothing. fixed_performance: let Android 11 or newer hold its clocks during the run.
    gpu: run on the GPU. xnnpack: let the XNNPACK kernels run on the CPU.
    """

    serial: str | None = None
    binary: Path | None = None
    offline: bool = False
    fixed_performance: bool = False
    gpu: bool = False
    xnnpack: bool = True


def parse_spec(text: str) -> AdbSpec:
    """Parse "adb", "adb:SERIAL", "adb:SERIAL?binary=PATH&fixed_performance=1" or "adb:?binary=PATH".

    Serial and values are percent-decoded. What is not given comes from $ANDROID_SERIAL, $EDGEPRUNE_BENCHMARK_MODEL
    and $EDGEPRUNE_OFFLINE.

    Raises:
        InputError: an unknown option, a value that is not allowed, or a serial that can't be one.
    """
    head, question, query = text.partition("?")
    _, colon, encoded = head.partition(":")
    if colon and not encoded and not question:
        raise InputError(
            f'"{text}" names no serial; write "adb" for the only device, or adb:SERIAL (see `adb devices`)'
        )
    serial = unquote(encoded) or os.environ.get("ANDROID_SERIAL") or None
    if serial is not None:
        check_serial(serial)
    given = dict(_options(text, query))
    binary = given.pop("binary", None) or os.environ.get("EDGEPRUNE_BENCHMARK_MODEL") or None
    switches = {name: _switch(text, name, value) for name, value in given.items()}
    switches.setdefault("offline", os.environ.get("EDGEPRUNE_OFFLINE", "") not in ("", "0"))
    return AdbSpec(serial, None if binary is None else Path(binary).expanduser(), **switches)


def check_serial(serial: str) -> None:
    """Refuse what can't be a serial.

    Raises:
        InputError: it is empty, starts like an option, or has spaces or control characters in it.
    """
    if not serial or serial.startswith("-") or not serial.isprintable() or any(mark.isspace() for mark in serial):
        raise InputError(f"{serial!r} can't be the serial of an Android device; `adb devices` lists them")


def _options(text: str, query: str) -> list[tuple[str, str]]:
    pairs = []
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if name != "binary" and name not in _SWITCHES:
            raise InputError(f'unknown option "{name}" in "{text}"; {nearest(name, ("binary", *_SWITCHES))}')
        if not equals or not value:
            raise InputError(f'option "{name}" in "{text}" has no value; write {name}=VALUE')
        pairs.append((name, unquote(value)))
    return pairs


def _switch(text: str, name: str, value: str) -> bool:
    if value.lower() not in _VALUES:
        raise InputError(f'option "{name}" in "{text}" is 0 or 1, received "{value}"')
    return _VALUES[value.lower()]
