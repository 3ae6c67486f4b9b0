"""The text of `--device ssh://...`, checked before any program sees it."""

from __future__ import annotations

import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from edgeprune.boards.wheels import parse_runtime
from edgeprune.errors import InputError, nearest
from edgeprune.progress import shown
from edgeprune.target import Runtime

KIND = "ssh://"
FORM = "ssh://[USER@]HOST[:PORT]"
# A ProxyCommand of the user's config hands host and user to a shell. OpenSSH refuses these characters itself only from
# 9.6 on: valid_hostname and valid_ruser in ssh.c.
_FORBIDDEN = frozenset("'`\"$\\;&<>|(){}#*?!~^,=")
# A colon that begins no port, and an "@" behind it
_PASSWORD = re.compile(r"ssh:/*[^/?\[\]]*:(?![0-9]{1,5}(?:[/?]|$))[^@]*@", re.IGNORECASE | re.DOTALL)
_OPTIONS = ("python", "runtime")
_MAX_LENGTH = 255


@dataclass(frozen=True)
class SshAddress:
    """Where to log in. user and port are None where the user's ssh config decides.

    python: the interpreter to use there, an absolute path, or None to look for one. runtime: the one that must be
    there, or None for any.
    """

    host: str
    user: str | None = None
    port: int | None = None
    python: str | None = None
    runtime: Runtime | None = None

    @property
    def login(self) -> str:
        """ "user@host", as messages name the place."""
        return self.host if self.user is None else f"{self.user}@{self.host}"

    @property
    def text(self) -> str:
        """The address as it is written, without the options behind "?"."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        return f"{KIND}{user}{host}{port}"

    @property
    def spec(self) -> str:
        """The whole text after --device; `parse_address` makes the same address of it."""
        host = quote(self.host, safe=":")
        host = f"[{host}]" if ":" in host else host
        user = "" if self.user is None else f"{quote(self.user, safe='@')}@"
        port = "" if self.port is None else f":{self.port}"
        options = [] if self.python is None else [f"python={quote(self.python)}"]
        if self.runtime is not None:
            options.append(f"runtime={quote(f'{self.runtime.package}=={self.runtime.version}', safe='=')}")
        return f"{KIND}{user}{host}{port}" + ("?" + "&".join(options) if options else "")

    def installing(self, model: Path) -> str:
        """The command that installs the runtime there, and measures. model: what was to be run.

        A file of ours in the temporary folder is gone when the user reads this.
        """
        ours = model.parent.name.startswith("edgeprune-") and model.is_relative_to(tempfile.gettempdir())
        words = ["edgeprune", "bench", "MODEL.tflite" if ours else str(model), "--device", self.spec, "--install"]
        return shown(shlex.join(words))

    @property
    def by_hand(self) -> str:
        """The command that logs in by hand."""
        port = "" if self.port is None else f"-p {self.port} "
        return f"ssh {port}{self.login}"


def parse_address(spec: str) -> SshAddress:
    """ "ssh://[user@]host[:port][?python=/path&runtime=PACKAGE==VERSION]"; a host may be an alias of the ssh config.

    User, host and the options' values may be percent-encoded; an IPv6 address stands in brackets.

    Raises:
        InputError: another form, or a name that could be taken for an option or a command.
    """
    if _PASSWORD.match(spec):
        # No message may repeat it.
        raise InputError(
            "an ssh device is written without a password, which edgeprune never asks for; install your key there with "
            f"ssh-copy-id and give {FORM}"
        )
    if spec[: len(KIND)].lower() == KIND and not spec.startswith(KIND):
        raise InputError(
            f"unknown device {_shown(spec)}; did you mean {_shown(KIND + spec[len(KIND) :])}? An ssh device is written "
            f"{FORM}"
        )
    if not spec.startswith(KIND):
        raise InputError(f"an ssh device is written {FORM}, received {_shown(spec)}")
    rest, _, query = spec.removeprefix(KIND).partition("?")
    login, _, place = rest.rpartition("@")
    matched = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]/]*))(?::([0-9]{1,5}))?/?", place)
    if matched is None or ("@" in rest and not login):
        raise InputError(f"an ssh device is written {FORM}, received {_shown(spec)}")
    bracketed, plain, port_text = matched.groups()
    host = _name("host", unquote(plain if bracketed is None else bracketed), spec)
    user = _name("user", unquote(login), spec) if login else None
    port = None if port_text is None else int(port_text)
    if port is not None and not 1 <= port <= 65535:
        raise InputError(f"a port is a number from 1 to 65535, received {port_text} in {_shown(spec)}")
    options = _options(query, spec)
    return SshAddress(
        host=host,
        user=user,
        port=port,
        python=_python(options["python"], spec) if "python" in options else None,
        runtime=parse_runtime(options["runtime"]) if "runtime" in options else None,
    )


def _name(what: str, name: str, spec: str) -> str:
    """A host or user that neither ssh nor a shell can take for something else."""
    if not name:
        raise InputError(f"the {what} is missing in {_shown(spec)}; an ssh device is written {FORM}")
    if name.startswith("-"):
        raise InputError(f'a {what} can\'t begin with "-", which ssh would take for an option: {_shown(spec)}')
    bad = sorted({letter for letter in name if letter in _FORBIDDEN or letter.isspace() or not letter.isprintable()})
    if bad or len(name) > _MAX_LENGTH:
        why = f"can't contain {', '.join(map(_shown, bad))}" if bad else f"has at most {_MAX_LENGTH} characters"
        raise InputError(f"a {what} {why}: {_shown(spec)}; give a name of your ssh config instead")
    return name


def _options(query: str, spec: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, separator, value = part.partition("=")
        if key not in _OPTIONS or not separator:
            raise InputError(f"unknown option {_shown(part)} in {_shown(spec)}; {nearest(key, _OPTIONS)}")
        options[key] = unquote(value)
    return options


def _python(path: str, spec: str) -> str:
    if not path.startswith("/") or not path.isprintable():
        raise InputError(f"python is an absolute path on the device, received {_shown(path)} in {_shown(spec)}")
    return path


def _shown(text: str) -> str:
    """In quotes, on one line: control characters are spelled out."""
    return '"' + "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:300]) + '"'
