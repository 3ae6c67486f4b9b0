"""The board's operating system: Python and libc of Debian for arm64, unpacked without root rights."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from edgeprune.boards.cache import Recipe
from edgeprune.boards.command import run_command
from edgeprune.boards.host import find_apt
from edgeprune.errors import DeviceError

# Raspberry Pi OS of the same name is built from it. Its Python is the newest that tflite-runtime 2.14 has a wheel for.
SUITE = "bookworm"
PYTHON = "3.11"
GLIBC_MINOR = 36
PACKAGES = (
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "libgomp1",
    "libcrypt1",
    "libuuid1",
    "libexpat1",
    "libffi8",
    "libssl3",
    "libbz2-1.0",
    "liblzma5",
    "zlib1g",
    f"libpython{PYTHON}-minimal",
    f"libpython{PYTHON}-stdlib",
    f"python{PYTHON}-minimal",
)
DEFAULT_MIRROR = "http://deb.debian.org/debian"
_MIRROR = re.compile(r"\b(?:https?|file)://[^\s\"]*/debian/?(?=\s|$)", re.MULTILINE)
_KEYRINGS = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")
# Not needed to run anything, and half of the bytes
_LEFT_OUT = ("doc", "man", "locale", "lintian", "bug")
_DOWNLOAD_SECS = 600.0


def root_recipe(etc: Path = Path("/etc/apt"), keyrings: Path = Path("/usr/share/keyrings")) -> Recipe:
    """How the root folder is made: packages from the host's own Debian mirror, checked by apt against its keys.

    Raises:
        DeviceError: the host has no apt, dpkg or Debian keys.
    """

    def download(archives: Path) -> None:
        _download(archives, find_mirror(etc), _keyring(keyrings))

    return Recipe({"suite": SUITE, "packages": " ".join(PACKAGES)}, download, _unpack)


def find_mirror(etc: Path) -> str:
    """The Debian mirror that the host's apt uses, the public one on a host of another kind (Ubuntu)."""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for path in files:
        if path.is_file() and path.suffix in (".list", ".sources"):
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
            found = _MIRROR.search("\n".join(lines))
            if found:
                return found[0].rstrip("/")
    return DEFAULT_MIRROR


def apt_configuration(folder: Path) -> str:
    """An apt.conf that keeps all of apt's state in `folder`, for arm64. The host's proxy settings still count."""
    return "".join(
        f'{key} "{value}";\n'
        for key, value in (
            ("APT::Architecture", "arm64"),
            ("APT::Architectures", "arm64"),
            ("APT::Sandbox::User", "root"),
            ("Acquire::Languages", "none"),
            ("Acquire::Retries", "2"),
            ("Dir::Etc::sourcelist", folder / "sources.list"),
            ("Dir::Etc::sourceparts", "-"),
            ("Dir::State", folder / "state"),
            ("Dir::State::lists", folder / "lists"),
            ("Dir::State::status", folder / "status"),
            ("Dir::Cache", folder / "cache"),
        )
    )


def _download(archives: Path, mirror: str, keyring: Path) -> None:
    apt, _ = find_apt()
    folder = archives.parent / "apt"
    for name in ("state", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(
        f"deb [arch=arm64 signed-by={keyring}] {mirror} {SUITE} main\n", encoding="utf-8"
    )
    (folder / "apt.conf").write_text(apt_configuration(folder), encoding="utf-8")
    variables = {"APT_CONFIG": str(folder / "apt.conf")}
    doing = f"downloading Debian packages from {mirror}"
    # -o: an unreachable mirror is only a warning to `update` otherwise.
    update = [apt, "-q", "-o", "APT::Update::Error-Mode=any", "update"]
    run_command(update, doing, timeout_secs=_DOWNLOAD_SECS, variables=variables)
    run_command(
        [apt, "-q", "download", *PACKAGES], doing, timeout_secs=_DOWNLOAD_SECS, cwd=archives, variables=variables
    )
    shutil.rmtree(folder)


def _unpack(archives: Path, tree: Path) -> None:
    _, dpkg = find_apt()
    for archive in sorted(archives.glob("*.deb")):
        run_command([dpkg, "-x", str(archive), str(tree)], f"unpacking {archive.name}", timeout_secs=120)
    for name in _LEFT_OUT:
        shutil.rmtree(tree / "usr/share" / name, ignore_errors=True)


def _keyring(folder: Path) -> Path:
    found = next((folder / name for name in _KEYRINGS if (folder / name).is_file()), None)
    if found is None:
        raise DeviceError(
            f"the keys that Debian packages are checked with are not in {folder}; "
            "sudo apt-get install debian-archive-keyring"
        )
    return found
