"""The capacity map: two of the study's rows again, for each size of member and number of speakers.

Rows and members of a cell have the study's names and the cell's, ``long_2_0.05M_60``. They differ
from the study's in their encoders and their keys ``speakers`` and ``steps`` alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Cell(NamedTuple):
    """A size's name, a number of training speakers (None: all), and the names of its two rows."""

    size: str
    speakers: int | None
    without: str
    term: str


def cells(tree) -> list[Cell]:
    """The cells of ``tree["capacity"]``, size by size; none where there is no such key."""
    wanted = tree.get("capacity")
    if wanted is None:
        return []
    return [
        Cell(size, count, *(named(wanted[key], size, count) for key in ("without", "with")))
        for size in wanted["sizes"]
        for count in wanted["speakers"]
    ]


def rows(tree) -> list[str]:
    """The names of all cells' rows."""
    return [name for cell in cells(tree) for name in (cell.without, cell.term)]


def named(name: str, size: str, count: int | None) -> str:
    return f"{name}_{size}_{'all' if count is None else count}"


def expand(tree) -> None:
    """Add the encoders, members and rows of all cells to the study's."""
    for cell in cells(tree):
        of_cell, wanted = (cell.size, cell.speakers), tree["capacity"]
        for row in (wanted["without"], wanted["with"]):
            spec: dict[str, Any] = {
                "members": [named(m, *of_cell) for m in tree["rows"][row]["members"]]
            }
            if row == wanted["with"]:
                spec["against"] = cell.without
            tree["rows"][named(row, *of_cell)] = spec
            for member in tree["rows"][row]["members"]:
                add_member(tree, member, cell)


def add_member(tree, name: str, cell: Cell) -> None:
    """A study's member in a cell, and those that it refers to."""
    of_cell = (cell.size, cell.speakers)
    new = named(name, *of_cell)
    if new in tree["members"]:
        return
    spec = copy.deepcopy(tree["members"][name])
    encoder = f"{spec['encoder']}_{cell.size}"
    # A copy: the study's file would hold one mapping twice as an alias.
    tree["encoders"][encoder] = copy.deepcopy(tree["capacity"]["sizes"][cell.size][spec["encoder"]])
    spec["encoder"] = encoder
    if cell.speakers is not None:
        spec["speakers"] = cell.speakers
        if "start" not in spec:
            spec["steps"] = tree["capacity"]["steps"][cell.speakers]
    for other in spec.get("references", []):
        add_member(tree, other, cell)
    if "references" in spec:
        spec["references"] = [named(other, *of_cell) for other in spec["references"]]
    if "start" in spec:
        add_member(tree, spec["start"], cell)
        spec["start"] = named(spec["start"], *of_cell)
    tree["members"][new] = spec


def some(speakers: Sequence[str], count: int | None) -> list[str]:
    """``count`` of the sorted speakers at random, sorted; each choice holds every smaller one."""
    order = np.random.default_rng(0).permutation(len(speakers))
    return sorted(speakers[i] for i in order[:count])
