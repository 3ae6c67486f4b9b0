"""The benchmark_model program for a phone: the user's, or one that is downloaded once and checked from then on.

Binaries: Google's nightly builds of the classic TFLite tool (ai.google.dev/edge/litert/models/measurement). Nobody
publishes their checksums. So the sha256 of the first download is recorded, and every later use must match it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import struct
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from edgeprune.atomic import disk_error, write_bytes, write_json
from edgeprune.device.adb.spec import AdbSpec
from edgeprune.errors import DeviceError, InputError
from edgeprune.progress import say
from edgeprune.tflite.model import text as printable

_NIGHTLY = "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/nightly/latest/"
# ABI -> where its program is published
URLS = {
    "arm64-v8a": _NIGHTLY + "android_aarch64_benchmark_model",
    "armeabi-v7a": _NIGHTLY + "android_arm_benchmark_model",
}
# ABI -> (EI_CLASS, e_machine) of its programs (elf.h)
_MACHINES = {"arm64-v8a": (2, 183), "armeabi-v7a": (1, 40), "x86_64": (2, 62), "x86": (1, 3)}
_HEADER = struct.Struct("<4sBB10xHH")  # e_ident of 16 bytes, e_type, e_machine
_TIMEOUT_SECS = 60.0
_MOST_BYTES = 500_000_000


@dataclass(frozen=True)
class Binary:
    """A program for the phone. sha256: of its bytes, hexadecimal. abi: "" for a script."""

    path: Path
    sha256: str
    abi: str


def find_binary(spec: AdbSpec, abis: tuple[str, ...]) -> Binary:
    """The user's binary, or the one in the cache, or a download, checked to run on a phone with `abis` (best first).

    Raises:
        InputError: the file is missing or no program; there is none and nothing may be downloaded.
        DeviceError: it is for another ABI; the download failed, or the cached file has changed.
    """
    if spec.binary is not None:
        return _checked(spec.binary, _read(spec.binary), abis)
    abi = next((abi for abi in abis if abi in URLS), None)
    if abi is None:
        raise DeviceError(
            f"no benchmark_model is published for the ABI {', '.join(abis) or 'unknown'}; "
            "build one and set EDGEPRUNE_BENCHMARK_MODEL to its path"
        )
    return _cached(abi, offline=spec.offline)


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/edgeprune/benchmark_model, ~/.cache without the variable."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "edgeprune", "benchmark_model")


def abi_of(content: bytes) -> str | None:
    """The ABI that an ELF program is for, "another machine" for one of none that is known; None when it is no ELF."""
    if len(content) < _HEADER.size or content[:4] != b"\x7fELF":
        return None
    _, size, order, _, machine = _HEADER.unpack_from(content)
    if order != 1:
        return "another machine"
    return next((abi for abi, known in _MACHINES.items() if known == (size, machine)), "another machine")


def _checked(path: Path, content: bytes, abis: tuple[str, ...]) -> Binary:
    digest = hashlib.sha256(content).hexdigest()
    if content.startswith(b"#!"):
        # A script that starts the program, to set its environment; it stands behind its own ABI.
        return Binary(path, digest, "")
    abi = abi_of(content)
    if abi is None:
        raise InputError(f"{printable(path.name)} is not a program for Android: no ELF header; give a benchmark_model")
    if abi not in abis:
        raise DeviceError(
            f"wrong ABI: {printable(path.name)} is built for {abi}, the device runs {', '.join(abis)}; "
            "give the benchmark_model for that"
        )
    return Binary(path, digest, abi)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise InputError(
                f"{printable(str(path))} {'is not a file' if path.exists() else 'does not exist'}; "
                "give the path of a benchmark_model for the phone"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(str(path))} can't be read: {error}; give a benchmark_model") from error


def _cached(abi: str, *, offline: bool) -> Binary:
    """The program in the cache. Its file is named by its checksum, so that two downloads can't mix."""
    manifest = cache_folder() / f"{abi}.json"
    try:
        recorded = str(json.loads(manifest.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        if offline:
            raise InputError(
                f"no benchmark_model for {abi} in the cache, and nothing may be downloaded (offline); "
                "set EDGEPRUNE_BENCHMARK_MODEL to one"
            ) from None
        recorded = _download(URLS[abi], abi, manifest)
    path = manifest.with_name(f"{abi}-{recorded[:16]}")
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != recorded:
        raise DeviceError(
            f"{path} is not the file that was downloaded (sha256 {recorded[:16]}...); "
            f"remove {manifest} to download again"
        )
    return _checked(path, content, (abi,))


def _download(url: str, abi: str, manifest: Path) -> str:
    """Download, check, and record; returns the sha256."""
    say(f"downloading benchmark_model for {abi}: {url}")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECS) as answer:
            expected = answer.headers.get("Content-Length")
            content = answer.read(_MOST_BYTES)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise DeviceError(
            f"benchmark_model can't be downloaded from {url}: {printable(str(error))}; "
            "set EDGEPRUNE_BENCHMARK_MODEL to one that you have"
        ) from error
    if expected is not None and str(len(content)) != expected:
        raise DeviceError(f"the download from {url} broke off after {len(content)} of {expected} bytes; run it again")
    if abi_of(content) != abi:
        raise DeviceError(f"{url} is not a program for {abi}; set EDGEPRUNE_BENCHMARK_MODEL to one that you have")
    digest = hashlib.sha256(content).hexdigest()
    try:
        write_bytes(manifest.with_name(f"{abi}-{digest[:16]}"), content)
        write_json(manifest, {"url": url, "sha256": digest, "bytes": len(content)})
    except OSError as error:
        raise disk_error(error, manifest) from error
    return digest
