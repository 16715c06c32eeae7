"""The tables of the capacity map: what the term gains in each cell, and in one against another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acorl_sb.utils.tables import markdown
from terms import capacity
from terms.changes import COMPARED, change, compared, mean_eer, told
from terms.exchange import Row


def capacity_table(tree, rows: dict[str, Row], share: dict[str, float]) -> str:
    """The term against the same without, by size of the members and number of training speakers."""
    head = ["size", "training speakers", "seeds", "fused EER % without", *COMPARED]
    lines = []
    for cell, term, without in measured(tree, rows):
        eer = f"{100 * mean_eer(without, share, 'fused'):.2f}"
        speakers = str(cell.speakers or "all")
        if cell.speakers is None and cell.steps is not None:
            speakers += f", {cell.steps} steps"
        line = [cell.size, speakers, str(len(term.figures)), eer]
        lines.append([*line, *compared(term, without, share, alike=True)])
    return markdown(head, lines)


def measured(tree, rows: dict[str, Row]) -> Iterator[tuple[capacity.Cell, Row, Row]]:
    """The cells that have both rows, with the term and without, each of the seeds of both."""
    for cell in capacity.cells(tree):
        pair = [rows.get(name) for name in (cell.term, cell.without)]
        if all(pair) and (seeds := pair[0].figures.keys() & pair[1].figures.keys()):
            term, without = (Row({s: r.figures[s] for s in seeds}, r.replicates) for r in pair)
            yield cell, term, without


def gains(tree, rows: dict[str, Row], share: dict[str, float]) -> dict[str, list]:
    """The term's change of fused EER and Cllr, value and replicates, by the cell's suffix."""
    return {
        cell.suffix: [change(*pair, share, "clean", what)[:2] for what in ("fused", "cllr")]
        for cell, *pair in measured(tree, rows)
    }


def contrasts(tree) -> list[tuple[str, list[tuple[capacity.Cell, capacity.Cell]]]]:
    """Groups of cells that the map compares: a name, and for each size the one and the other."""
    found, wanted = {cell[:3]: cell for cell in capacity.cells(tree)}, tree["capacity"]
    steps = {None: None, **wanted["steps"]}
    sizes, short = list(wanted["sizes"]), wanted.get("short") or {"sizes": [], "steps": None}

    def pairs(of: list[str], more: tuple, less: tuple) -> list:
        return [(found[(size, *more)], found[(size, *less)]) for size in of]

    every = (None, None)
    fewer = [(count, steps[count]) for count in wanted["speakers"] if count is not None]
    groups = [(f"all speakers against {one[0]}", pairs(sizes, every, one)) for one in fewer]
    for count in wanted["speakers"]:
        cell = (count, steps[count])
        ends = [(found[(sizes[-1], *cell)], found[(sizes[0], *cell)])]
        groups.append((f"{sizes[-1]} against {sizes[0]}, {count or 'all'} speakers", ends))
    briefly = (None, short["steps"])
    for one in [one for one in fewer if one[1] == short["steps"]]:
        name = f"all speakers against {one[0]}, {one[1]} steps each"
        groups.append((name, pairs(short["sizes"], briefly, one)))
    name = f"all speakers, the study's steps against {short['steps']}"
    return [*groups, (name, pairs(short["sizes"], every, briefly))]


def contrast_table(tree, rows: dict[str, Row], share: dict[str, float]) -> str | None:
    """The term's change in one group of cells against another's; None without two such cells.

    The mean over the sizes that have figures in both. Replicates draw the same speakers in all
    cells.
    """
    found, lines = gains(tree, rows, share), []
    for name, pairs in contrasts(tree):
        there = [(a, b) for a, b in pairs if {a.suffix, b.suffix} <= found.keys()]
        if not there:
            continue
        line = [name, ", ".join(a.size for a, _ in there)]
        for what in range(2):
            both = [(found[a.suffix][what], found[b.suffix][what]) for a, b in there]
            line.append(told(*(np.mean([a[of] - b[of] for a, b in both], 0) for of in range(2))))
        lines.append(line)
    return markdown(["cells", "sizes", "fused", "Cllr"], lines) if lines else None
