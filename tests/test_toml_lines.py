"""key_lines against hand-counted lines, and against every document that tomllib accepts."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.toml_lines import key_lines, line_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.unit

DOCUMENT = '''\
# comment = 1
title = "a # b"
"quoted key" = 1
'literal' = 2
text = """
fake = 1
[fake]
""" # 8
raw = \'\'\'
fake = 2\'\'\'
a.b.c = 1
list = [
  1,   # fake = 3
  [2, 3],
  { x = 1, y = { z = "]" } },
]
when = 1979-05-27 07:32:00
[table]  # 18
key = 1
[table.sub]
key = 2

[[cores]]
kind = "A"
[cores.extra]
deep = 1
[[cores]]
kind = "B"
quotes = """ends with two"""""
after = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("quoted key",), 3),
        (("literal",), 4),
        (("text",), 5),
        (("raw",), 9),
        (("a",), 11),
        (("a", "b"), 11),
        (("a", "b", "c"), 11),
        (("list",), 12),
        (("list", 0), 13),
        (("list", 1), 14),
        (("list", 1, 1), 14),
        (("list", 2, "x"), 15),
        (("list", 2, "y", "z"), 15),
        (("when",), 17),
        (("table",), 18),
        (("table", "key"), 19),
        (("table", "sub", "key"), 21),
        (("cores",), 23),
        (("cores", 0, "kind"), 24),
        (("cores", 0, "extra", "deep"), 26),
        (("cores", 1), 27),
        (("cores", 1, "kind"), 28),
        (("cores", 1, "quotes"), 29),
        (("cores", 1, "after"), 30),
    ],
)
def test_lines_counted_by_hand(path: tuple[str | int, ...], line: int) -> None:
    assert key_lines(DOCUMENT)[path] == line


def test_nothing_inside_strings_and_comments_is_a_key() -> None:
    assert not [path for path in key_lines(DOCUMENT) if "fake" in path or "comment" in path]


def test_an_unknown_path_falls_back_to_the_table_that_would_hold_it() -> None:
    lines = key_lines(DOCUMENT)
    assert line_of(lines, ("table", "missing")) == 18
    assert line_of(lines, ("cores", 1, "missing")) == 27
    assert line_of(lines, ("missing",)) is None


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every key path of a parsed document: the oracle for what key_lines must find."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {path} if path else set()
    return found.union(*(paths_of(item, (*path, key)) for key, item in items))


def test_finds_exactly_the_keys_of_a_hand_written_document() -> None:
    assert set(key_lines(DOCUMENT)) == paths_of(tomllib.loads(DOCUMENT))


KEYS = st.sampled_from(["a", "b", "c-d", '"e f"', "'g.h'", "1", '"\\u0041\\n\\""'])
SCALARS = st.sampled_from(
    ["1", "-2.5e3", "true", "nan", '"x]}"', "'#'", '"""\n[no]\na = 1\\""""', "'''\n''x'''", "1979-05-27 07:32:00", '""']
)


def joined(items: list[str]) -> str:
    return ",\n # c ]\n".join(items)


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{joined(items)}\n]")
        | st.lists(inner, min_size=1, max_size=3).map(lambda items: f"[ {joined(items)} , ]")
        | st.dictionaries(KEYS, inner.filter(lambda text: "\n" not in text), max_size=3).map(
            lambda items: "{" + ", ".join(f"{key} = {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=6,
)
DOTTED = st.lists(KEYS, min_size=1, max_size=3).map(" . ".join)
STATEMENTS = (
    st.tuples(DOTTED, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}  # z = 1")
    | DOTTED.map("[ {} ]".format)
    | DOTTED.map("[[{}]]".format)
    | st.sampled_from(["", "# [x]", "\t"])
)


@settings(deadline=None)
@given(st.lists(STATEMENTS, max_size=8).map("\r\n".join))
def test_finds_exactly_the_keys_that_tomllib_finds(text: str) -> None:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert set(lines) == paths_of(values)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


@settings(deadline=None)
@given(st.text(alphabet="ab=.[]{}\"'\\#,\n \t1\x00é"))
def test_ends_on_any_text(text: str) -> None:
    key_lines(text)
