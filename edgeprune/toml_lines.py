"""Where each key of a TOML document stands: `tomllib` gives values but no line numbers.

The scanner only runs on text that `tomllib` has already accepted, so it needs to find keys, not to check
grammar. It walks iteratively (no recursion) and always moves forward, so it ends on any text.
"""

from __future__ import annotations

import re

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
# Up to two quotes may stand directly before the closing three; the lazy match ends at the first three.
_SCALAR = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^,\]}\r\n#]+''',
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:([btnfr\"\\])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map the path of each table, key and array element to the line (from 1) where it first stands.

    Elements of arrays and of arrays of tables have their index in the path:
    `[[cores]]` then `kind = "A72"` gives ("cores",), ("cores", 0) and ("cores", 0, "kind").
    """
    return _Scanner(text).scan()


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """The line of `path`, else of the nearest table that holds it; None at the top of the document."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[KeyPath, int] = {}
        self.last_index: dict[KeyPath, int] = {}  # array of tables -> index of its newest table

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip()
        while self.at < len(self.text):
            before = self.at
            if self._take("[["):
                table = self._array_table(self._key(()))
                self._take("]]")
            elif self._take("["):
                table = self._within_arrays(self._key(()))
                self._record(table)
                self._take("]")
            else:
                path = self._key(table)
                self._record(path)
                self._take("=")
                self._value(path)
            self._skip()
            if self.at == before:
                break
        return self.lines

    def _value(self, path: KeyPath) -> None:
        """Move past one value; records array elements and the keys of inline tables."""
        # container path, and the index of the element being read (None in an inline table)
        containers: list[tuple[KeyPath, int | None]] = []
        while True:
            self._skip()
            if self._take("["):
                containers.append((path, 0))
                path = self._element(path, 0)
                if self._peek() != "]":
                    continue
            elif self._take("{"):
                containers.append((path, None))
                path = self._element(path, None)
                if self._peek() != "}":
                    continue
            else:
                self._match(_SCALAR)
            while containers:
                self._skip()
                container, index = containers[-1]
                if self._take("]") or self._take("}"):
                    containers.pop()
                elif self._take(","):
                    self._skip()
                    if self._peek() in ("]", "}"):
                        continue
                    index = None if index is None else index + 1
                    containers[-1] = (container, index)
                    path = self._element(container, index)
                    break
                else:
                    return
            if not containers:
                return

    def _element(self, container: KeyPath, index: int | None) -> KeyPath:
        """Record the element of an array, or the key of an inline table, that starts here."""
        self._skip()
        if index is not None:
            path: KeyPath = (*container, index)
            if self._peek() != "]":
                self._record(path)
            return path
        path = self._key(container)
        if path != container:
            self._record(path)
            self._take("=")
        return path

    def _key(self, prefix: KeyPath) -> KeyPath:
        """Read a dotted key; records the line of each table it names on the way."""
        path = prefix
        while match := self._match(_KEY_PART):
            path = (*path, _unquoted(match.group(1)))
            if not self._take("."):
                break
            self._record(self._within_arrays(path) if not prefix else path)
        return path

    def _within_arrays(self, path: KeyPath) -> KeyPath:
        """Insert the index of the newest table wherever `path` passes through an array of tables."""
        inside: KeyPath = ()
        for part in path:
            inside = (*inside, part)
            if inside in self.last_index:
                inside = (*inside, self.last_index[inside])
        return inside

    def _array_table(self, path: KeyPath) -> KeyPath:
        array: KeyPath = (*self._within_arrays(path[:-1]), *path[-1:])
        self._record(array)
        self.last_index[array] = self.last_index.get(array, -1) + 1
        table = (*array, self.last_index[array])
        self._record(table)
        return table

    def _record(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.line)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, mark: str) -> bool:
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def _skip(self) -> None:
        self._match(_BLANK)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.line += match.group().count("\n")
        self.at = match.end()
        return match


def _unquoted(part: str) -> str:
    """The key that a bare, 'literal' or "basic" key part stands for."""
    if part.startswith("'"):
        return part[1:-1]
    if not part.startswith('"'):
        return part
    return _ESCAPE.sub(
        lambda match: _ESCAPED[match.group(1)] if match.group(1) else chr(int(match.group(2) or match.group(3), 16)),
        part[1:-1],
    )
