"""Reading typed values from a TOML file; each mistake is a one-line InputError with file, line, key and value."""

from __future__ import annotations

import math
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeprune.errors import InputError, nearest
from edgeprune.toml_lines import KeyPath, key_lines, line_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 2**63 - 1  # TOML promises 64-bit integers
_LONGEST_SHOWN = 60


def read_text(path: Path, what: str, next_step: str) -> str:
    """The text of the UTF-8 file `path` (a byte order mark is dropped).

    Raises:
        InputError: there is no such file, it is a folder, can't be read or is not UTF-8. `what` names the kind
            of file and `next_step` says how to get one.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f'{what} "{_escaped(str(path))}" does not exist; {next_step}') from None
    except IsADirectoryError:
        raise InputError(f'{what} "{_escaped(str(path))}" is a folder; give the .toml file itself') from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what} {_escaped(str(path))} can't be read: {reason}") from None


def shown(value: object) -> str:
    """`value` as it would stand in TOML, on one line and shortened for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:  # str() refuses integers of over 4300 digits
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an empty list" if not value else f"a list of {len(value)}, starting with {_first_shown(value[0])}"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    text = _escaped(text)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _first_shown(value: object) -> str:
    return "a list" if isinstance(value, list) else shown(value)


class Table:
    """One table of a parsed TOML document, which knows where its keys stand."""

    def __init__(self, values: dict[str, Any], source: str, path: KeyPath, lines: dict[KeyPath, int]) -> None:
        self.values = values
        self.source = source
        self._path = path
        self._lines = lines

    @classmethod
    def parse(cls, text: str, source: str) -> Table:
        """Parse a document; `source` is what messages call the file.

        Raises:
            InputError: `text` is not TOML.
        """
        try:
            values = tomllib.loads(text)
        except RecursionError:
            raise InputError(f"{source}: values are nested too deeply to read") from None
        except ValueError as error:  # TOMLDecodeError, or int() on thousands of digits
            raise InputError(f"{source} is not valid TOML: {' '.join(str(error).split())}") from None
        return cls(values, source, (), key_lines(text))

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def error(self, key: str | None, problem: str) -> InputError:
        """An InputError `FILE, line N: PROBLEM` for a key of this table (None: for the table itself)."""
        line = line_of(self._lines, self._path if key is None else (*self._path, key))
        return InputError(f"{self.source}{'' if line is None else f', line {line}'}: {problem}")

    def name_of(self, key: str) -> str:
        """The key with the table it stands in, such as `cost.int8.op_us` or `cores[0].ghz`."""
        name = ""
        for part in (*self._path, key):
            name += f"[{part}]" if isinstance(part, int) else f"{'.' if name else ''}{shown(part)[1:-1]}"
        return name

    def check_keys(self, allowed: Iterable[str], kind: str = "key") -> None:
        """Refuse every key outside `allowed`, naming the nearest one."""
        allowed = tuple(allowed)
        for key in self.values:
            if key not in allowed:
                raise self.error(key, f"unknown {kind} {shown(self.name_of(key))}; {nearest(key, allowed)}")

    def wrong(self, key: str, allowed: str) -> InputError:
        """An InputError for a value that is not `allowed` (a noun phrase)."""
        return self.error(key, f"{self.name_of(key)} must be {allowed}, received {shown(self.values[key])}")

    def missing(self, key: str, allowed: str) -> InputError:
        """An InputError for a required key that is not there."""
        return self.error(None, f'key "{self.name_of(key)}" is missing; it must be {allowed}')

    def table(self, key: str, allowed: str = "a table") -> Table:
        """The required table `key`."""
        value = self._required(key, allowed)
        if not isinstance(value, dict):
            raise self.wrong(key, allowed)
        return Table(value, self.source, (*self._path, key), self._lines)

    def tables(self, key: str, allowed: str) -> tuple[Table, ...]:
        """The required, non-empty array of tables `key`."""
        value = self._required(key, allowed)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, allowed)
        return tuple(
            Table(item, self.source, (*self._path, key, index), self._lines) for index, item in enumerate(value)
        )

    def text(self, key: str, allowed: str = "text") -> str:
        """A required string: not blank, no control characters."""
        value = self._required(key, allowed)
        if not _is_text(value):
            raise self.wrong(key, f"{allowed}, not blank and without control characters")
        return str(value)

    def choice(self, key: str, allowed: Iterable[str]) -> str:
        """A required string out of `allowed`."""
        allowed = tuple(allowed)
        one_of = "one of " + ", ".join(allowed)
        value = self._required(key, one_of)
        if not isinstance(value, str) or value not in allowed:
            raise self.wrong(key, one_of)
        return value

    def texts(self, key: str, allowed: str = "a list of texts") -> tuple[str, ...]:
        """A required list of strings, which may be empty."""
        value = self._required(key, allowed)
        if not isinstance(value, list) or not all(_is_text(item) for item in value):
            raise self.wrong(key, allowed)
        return tuple(value)

    def integer(self, key: str, least: int = 1, most: int = LARGEST) -> int:
        """A required whole number from `least` to `most`."""
        allowed = f"a whole number of at least {least}" + (f" and at most {most}" if most < LARGEST else "")
        value = self._required(key, allowed)
        if not is_integer(value, least, most):
            raise self.wrong(key, allowed)
        return int(value)

    def number(self, key: str) -> float:
        """A required finite number above 0."""
        allowed = "a number above 0"
        value = self._required(key, allowed)
        if not is_number(value) or value <= 0:
            raise self.wrong(key, allowed)
        return float(value)

    def flag(self, key: str) -> bool:
        """A required true or false."""
        value = self._required(key, "true or false")
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def _required(self, key: str, allowed: str) -> Any:
        if key not in self.values:
            raise self.missing(key, allowed)
        return self.values[key]


def is_number(value: object) -> bool:
    """Whether `value` is a finite float or an integer that fits one; a bool is not a number."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value.bit_length() < 64
    return isinstance(value, float) and math.isfinite(value)


def is_integer(value: object, least: int, most: int = LARGEST) -> bool:
    """Whether `value` is an integer from `least` to `most`; a bool is not a number."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_text(value: object) -> bool:
    """Whether `value` is a string to be shown on one line: not blank, no control character or line separator."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value)
    )
