"""YAML trees as text that reads back as the same trees."""

from __future__ import annotations

import io
from typing import Any

import ruamel.yaml


def dump(tree: Any) -> str:
    """A YAML tree, tags and all, as text.

    Lists in brackets with an entry of one key, ``[!name:torch.nn.Linear {out_features: 2}]``, are
    written in lines: ruamel leaves out such an entry's braces, and nothing reads that with a tag.
    """
    _unfold(tree)
    stream = io.StringIO()
    ruamel.yaml.YAML().dump(tree, stream)
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
