"""The tables of the capacity map: what the term gains in each cell, and in one against another."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from acorl_sb.utils.tables import markdown
from terms import capacity
from terms.changes import COMPARED, change, compared, mean_eer, told
from terms.exchange import Row, exchange


def capacity_table(tree, rows: dict[str, Row], share: dict[str, float]) -> str:
    """The term against the same without, by size of the members and number of training speakers."""
    first = ["size", "training speakers", "seeds", "fused EER % without"]
    head = [*first, *COMPARED, "r of each seed"]
    lines = []
    for cell, term, without in measured(tree, rows):
        eer = f"{100 * mean_eer(without, share, 'fused'):.2f}"
        speakers = str(cell.speakers or "all")
        if cell.steps != tree["capacity"]["steps"].get(cell.speakers):
            speakers += f", {cell.steps} steps"
        line = [cell.size, speakers, str(len(term.figures)), eer]
        by_seed = ", ".join(f"{one:.2f}" for one in rates(term, without, share))
        lines.append([*line, *compared(term, without, share, alike=True), by_seed])
    return markdown(head, lines)


def rates(term: Row, without: Row, share: dict[str, float]) -> list[float]:
    """r of the exchange with each seed by itself."""
    single = [
        [Row({seed: row.figures[seed]}, {}) for row in (term, without)]
        for seed in sorted(term.figures)
    ]
    return [exchange(*pair, share)["r"] for pair in single]


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


def contrasts(tree) -> dict[str, list[tuple[capacity.Cell, capacity.Cell]]]:
    """Groups of cells that the map compares: by name, for each size the one and the other."""
    wanted, whole = tree["capacity"], tree["settings"]["steps"]
    cells = capacity.cells(tree)
    also = cells[len(wanted["sizes"]) * len(wanted["speakers"]) :]
    found = {cell[:3]: cell for cell in cells}
    usual = {count: wanted["steps"].get(count) for count in wanted["speakers"]}
    least, *_, most = wanted["sizes"]
    groups: dict[str, list[tuple[capacity.Cell, capacity.Cell]]] = {}
    for count in (count for count in wanted["speakers"] if count is not None):
        groups[f"all speakers against {count}"] = [
            (found[size, None, None], found[size, count, usual[count]]) for size in wanted["sizes"]
        ]
    for count, at in usual.items():
        ends = (found[most, count, at], found[least, count, at])
        groups[f"{most} against {least}, {count or 'all'} speakers"] = [ends]
    for cell in also:
        same = found[cell.size, cell.speakers, usual[cell.speakers]]
        more, less = sorted((cell, same), key=lambda one: one.steps or whole, reverse=True)
        steps = f"{more.steps or whole} steps against {less.steps or whole}"
        name = f"{cell.speakers or 'all'} speakers, {steps}"
        groups.setdefault(name, []).append((more, less))
        for count, at in usual.items():
            if count == cell.speakers or (at or whole) != cell.steps:
                continue
            pair = (cell, found[cell.size, count, at])
            more, less = sorted(pair, key=lambda one: one.speakers or math.inf, reverse=True)
            name = f"{more.speakers or 'all'} speakers against {less.speakers}, {cell.steps} steps"
            groups.setdefault(name, []).append((more, less))
    return groups


def contrast_table(tree, rows: dict[str, Row], share: dict[str, float]) -> str | None:
    """The term's change in one group of cells against another's; None without two such cells.

    The mean over the sizes that have figures in both. Replicates draw the same speakers in all
    cells.
    """
    found, lines = gains(tree, rows, share), []
    for name, pairs in contrasts(tree).items():
        there = [(a, b) for a, b in pairs if {a.suffix, b.suffix} <= found.keys()]
        if not there:
            continue
        line = [name, ", ".join(a.size for a, _ in there)]
        for what in range(2):
            both = [(found[a.suffix][what], found[b.suffix][what]) for a, b in there]
            line.append(told(*(np.mean([a[of] - b[of] for a, b in both], 0) for of in range(2))))
        lines.append(line)
    return markdown(["cells", "sizes", "fused", "Cllr"], lines) if lines else None
