"""YAML trees as text that reads back as the same trees."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any

import ruamel.yaml
from ruamel.yaml.scalarstring import DoubleQuotedScalarString


class ExactYAML(ruamel.yaml.YAML):
    """ruamel's reader and writer that keeps quotes, and folds no text: that could lose spaces.

    Lists in brackets with an entry of one key, ``[!name:torch.nn.Linear {out_features: 2}]``, are
    written in lines: ruamel leaves out such an entry's braces, and nothing reads that with a tag.
    """

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self.width, self.preserve_quotes = sys.maxsize, True

    def dump(self, data: Any, stream: Any = None, **more: Any) -> Any:
        _unfold(data)
        return super().dump(data, stream, **more)


@contextlib.contextmanager
def exactly() -> Iterator[None]:
    """Let HyperPyYAML, which writes and reads a text several times over, do that exactly."""
    before = ruamel.yaml.YAML
    ruamel.yaml.YAML = ExactYAML
    try:
        yield
    finally:
        ruamel.yaml.YAML = before


def to_the_letter(text: str) -> str:
    """A text that stays one in a YAML, whatever YAML or HyperPyYAML would take it for."""
    return DoubleQuotedScalarString(text)


def dump(tree: Any) -> str:
    """A YAML tree, tags and all, as text."""
    stream = io.StringIO()
    ExactYAML().dump(tree, stream)
    return stream.getvalue()


def _unfold(tree: Any) -> bool:
    """Set to block style what holds a list with an entry of one key; whether there was one."""
    if not isinstance(tree, dict | list):
        return False
    inner = list(tree.values() if isinstance(tree, dict) else tree)
    found = isinstance(tree, list) and any(isinstance(v, dict) and len(v) == 1 for v in inner)
    for value in inner:
        found = _unfold(value) or found  # each of them, found or not
    if found and hasattr(tree, "fa"):
        tree.fa.set_block_style()
    return found
