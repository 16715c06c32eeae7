"""Bounds of a YAML of settings, for files that a parser would work at for minutes or for ever."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

BYTES = 1_000_000
DEPTH = 200  # of brackets; the parser's time grows with its square
VALUES = 100_000  # with all aliases written out


def read_text(path: Path) -> str:
    """The text of a YAML; ValueError where it is too large or too deep."""
    if path.stat().st_size > BYTES:
        raise ValueError(f"larger than {BYTES:,} bytes, so no file of settings")
    text = path.read_text(encoding="utf-8")
    depths = itertools.accumulate((c in "[{") - (c in "]}") for c in text)
    if max(depths, default=0) > DEPTH:
        raise ValueError(f"more than {DEPTH} brackets within each other")
    return text


def check_aliases(tree: Any) -> None:
    """ValueError for aliases that hold themselves, or that grow beyond ``VALUES``."""
    sizes: dict[int, int | None] = {}

    def size(node: Any) -> int:
        if not isinstance(node, dict | list):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = None  # for as long as its own size is being found
            sizes[id(node)] = 1 + sum(map(size, node.values() if isinstance(node, dict) else node))
        found = sizes[id(node)]
        if found is None or found > VALUES:
            raise ValueError("its aliases (*) repeat themselves without end")
        return found

    size(tree)
