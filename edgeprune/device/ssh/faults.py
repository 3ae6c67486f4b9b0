"""What OpenSSH's client says when it fails, as one line that says what to do."""

from __future__ import annotations

import re
import shlex

from edgeprune.device.outcome import telling
from edgeprune.device.ssh.address import SshAddress
from edgeprune.errors import DeviceError
from edgeprune.progress import shown

_MAX_QUOTED = 200
# authfile.c of OpenSSH
_OPEN_KEY = re.compile(r"Permissions [0-7]+ for '([^\n]{1,300}?)' are too open")


class Unreachable(DeviceError):
    """Nothing answers there now; that may change."""


def quoted(text: str) -> str:
    """The last line of what another program said, printable and not too long."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "nothing"
    return shown(last)[:_MAX_QUOTED]


def last_words(ssh: str, log: list[str]) -> str:
    """Why a conversation broke off, "nothing" where nobody says. ssh: what the login said; log: other lines from there,
    among them those of the programs that ran."""
    return quoted(ssh if ssh.strip() else "\n".join(telling(log)))


def login_error(address: SshAddress, words: str) -> DeviceError:
    """Why a login failed. words: all that ssh wrote on its standard error."""
    login, low = address.login, words.lower()
    if "revoked host key" in low or "marked as revoked" in low:
        return DeviceError(
            f"the host key of {login} is marked as @revoked in this user's known_hosts: it may be stolen; give the "
            f"board a new key, then log in once by hand: {address.by_hand}"
        )
    if "host identification has changed" in low:
        name = address.host if address.port in (None, 22) else f"[{address.host}]:{address.port}"
        return DeviceError(
            f"the host key of {login} is not the one this user knows: another machine answers, or the board was set up "
            f"anew; if so, forget the old key (ssh-keygen -R '{name}') and log in once by hand: {address.by_hand}"
        )
    if "host key verification failed" in low or "host key is known" in low:
        return DeviceError(
            f"the host key of {login} is not known, and is never accepted unseen; log in once by hand, compare the "
            f"fingerprint and accept it: {address.by_hand}"
        )
    if "unprotected private key file" in low:
        found = _OPEN_KEY.search(words)
        key = shown(found[1]) if found else "KEY"
        return DeviceError(
            f"ssh does not use the private key {key}: others can read it (unprotected private key file); "
            f"close it: chmod 600 {shlex.quote(key)}"
        )
    if "permission denied" in low or "too many authentication failures" in low:
        methods = words.rpartition("(")[2].partition(")")[0] if "(" in words else ""
        if "password" in methods or "keyboard-interactive" in methods:
            return DeviceError(
                f"{login} wants a password, which edgeprune never asks for; install your key there: "
                f"{address.by_hand.replace('ssh', 'ssh-copy-id', 1)}"
            )
        return DeviceError(
            f'{login} accepts none of this user\'s keys ("{quoted(words)}"); name the right one in your ssh config, or '
            "start ssh-agent when it has a passphrase"
        )
    if "could not resolve hostname" in low:
        return DeviceError(f'the host "{address.host}" is not known here: "{quoted(words)}"; check the name')
    if "connection refused" in low:
        return Unreachable(f"{login} refuses the connection; is ssh switched on there, and is the port right?")
    if any(word in low for word in ("timed out", "no route to host", "network is unreachable", "host is down")):
        return Unreachable(f'{login} can\'t be reached: "{quoted(words)}"; is it switched on and in this network?')
    return Unreachable(f'ssh could not log in to {login}: "{quoted(words)}"; try it by hand: {address.by_hand}')
