"""What tests expect of an error: its kind, and the place it names; not its words.

A ``match=`` holds names (a file, a key, an id, in quotes or not) and line numbers, with ``.*``
between them. A pattern that is put together or handed in is judged by its constant parts.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "recipes").rglob("test_*.py")])
QUOTED = r"'[^']*'"
LINE = r"\b(?:command )?line\b(?: \d+)?"


def words(pattern: str) -> bool:
    """Whether a pattern holds more than names and line numbers: blanks between words."""
    rest = re.sub(rf"{QUOTED}|{LINE}|\.\*|\\b", "", pattern)
    return re.search(r"\w .*\w", rest) is not None


def constants(node: ast.AST) -> list[str]:
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def wordy(text: str) -> list[str]:
    """The patterns of a file of tests that quote words of a message."""
    tree = ast.parse(text)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "match":
            found += constants(node.value)
        if isinstance(node, ast.FunctionDef):
            found += parameters(node)
    return [pattern for pattern in found if words(pattern)]


def parameters(test: ast.FunctionDef) -> list[str]:
    """The values of a parametrized test's arguments that are matched with."""
    names = {
        name.id
        for node in ast.walk(test)
        if isinstance(node, ast.keyword) and node.arg == "match"
        for name in ast.walk(node.value)
        if isinstance(name, ast.Name)
    }
    found = []
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and len(mark.args) == 2:
            of = [name.strip() for text in constants(mark.args[0]) for name in text.split(",")]
            for row in ast.walk(mark.args[1]):
                if isinstance(row, ast.Tuple) and len(row.elts) == len(of) > 1:
                    pairs = zip(of, row.elts, strict=True)
                    found += [v for n, e in pairs if n in names for v in constants(e)]
    return found


def test_tests_match_places_not_words():
    assert {str(p.relative_to(ROOT)): bad for p in FILES if (bad := wordy(p.read_text()))} == {}


@pytest.mark.parametrize(
    "pattern",
    ["trials.txt", r"a\.txt line 3.*'x y'", "'lr'", r"members\[0\]\.name", "command line"],
)
def test_places_may_be_matched(pattern):
    assert wordy(f"pytest.raises(E, match={pattern!r})") == []


def test_words_may_not():
    assert wordy("pytest.raises(E, match=r'line 3: not a trial')")
    assert wordy("pytest.raises(E, match=f'{a}: no such file')")
    assert wordy("@m(('a', 'b'), [(1, 'no such file')])\ndef test(a, b):\n    r(match=b)")
    assert not wordy("@m(('a', 'b'), [('no such file', '')])\ndef test(a, b):\n    r(match=b)")
