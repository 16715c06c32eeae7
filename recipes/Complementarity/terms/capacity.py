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
    """A size's name, a number of training speakers (None: all), and the names of its two rows.

    ``steps`` are those of a training from scratch (None: the study's). Names of members and rows
    end with ``suffix``.
    """

    size: str
    speakers: int | None
    steps: int | None
    suffix: str
    without: str
    term: str


def cells(tree) -> list[Cell]:
    """The cells of ``tree["capacity"]``, size by size; none where there is no such key.

    Those of ``also``, with other numbers of steps, come last.
    """
    wanted = tree.get("capacity")
    if wanted is None:
        return []
    found = []
    for size in wanted["sizes"]:
        for count in wanted["speakers"]:
            found.append((size, count, wanted["steps"].get(count), f"_{size}_{count or 'all'}"))
    for one in wanted.get("also", []):
        size, count, steps = one["size"], one["speakers"], one["steps"]
        found.append((size, count, steps, f"_{size}_{count or 'all'}_{steps}"))
    return [
        Cell(*one, *(f"{wanted[key]}{one[-1]}" for key in ("without", "with"))) for one in found
    ]


def rows(tree) -> list[str]:
    """The names of all cells' rows."""
    return [name for cell in cells(tree) for name in (cell.without, cell.term)]


def expand(tree) -> None:
    """Add the encoders, members and rows of all cells to the study's."""
    for cell in cells(tree):
        wanted = tree["capacity"]
        for row in (wanted["without"], wanted["with"]):
            members = tree["rows"][row]["members"]
            spec: dict[str, Any] = {"members": [f"{member}{cell.suffix}" for member in members]}
            if row == wanted["with"]:
                spec["against"] = cell.without
            tree["rows"][f"{row}{cell.suffix}"] = spec
            for member in members:
                add_member(tree, member, cell)


def add_member(tree, name: str, cell: Cell) -> None:
    """A study's member in a cell, and those that it refers to."""
    new = f"{name}{cell.suffix}"
    if new in tree["members"]:
        return
    spec = copy.deepcopy(tree["members"][name])
    encoder = f"{spec['encoder']}_{cell.size}"
    # A copy: the study's file would hold one mapping twice as an alias.
    tree["encoders"][encoder] = copy.deepcopy(tree["capacity"]["sizes"][cell.size][spec["encoder"]])
    spec["encoder"] = encoder
    if cell.speakers is not None:
        spec["speakers"] = cell.speakers
    if cell.steps is not None and "start" not in spec:
        spec["steps"] = cell.steps
    for other in spec.get("references", []):
        add_member(tree, other, cell)
    if "references" in spec:
        spec["references"] = [f"{other}{cell.suffix}" for other in spec["references"]]
    if "start" in spec:
        add_member(tree, spec["start"], cell)
        spec["start"] = f"{spec['start']}{cell.suffix}"
    tree["members"][new] = spec


def some(speakers: Sequence[str], count: int | None) -> list[str]:
    """``count`` of the sorted speakers at random, sorted; each choice holds every smaller one."""
    order = np.random.default_rng(0).permutation(len(speakers))
    return sorted(speakers[i] for i in order[:count])
