"""The page of a study: what each row gains, what its term costs, and what the protocol can see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from acorl_sb.metrics.intervals import interval
from acorl_sb.utils.tables import markdown
from terms import capacity
from terms.exchange import AIM, Row, exchange, needed, pooled
from terms.figures import REPLICATES, counts, weights
from terms.sets import CONDITIONS, SCREENED, SETS

PARTS = {"dev": "Development", "test": "Test"}
RATES = (0.0, 0.25, 0.5, 1.0)  # r, of the table of what a term would have to remove
POWER = 2.8  # standard errors of an effect that a two-sided 5 % test sees in 80 of 100 cases
# What a row is against its reference.
COMPARED = ["fused, relative", "sd over seeds", "sees", "Cllr, relative", "sees"]
COMPARED += ["d' lost", "ρ removed", "r", "break-even"]


def page(folder: Path, tree) -> str:
    """All tables, as far as there are figures."""
    parts, of_cells = [], capacity.rows(tree)
    both = {part: read_rows(folder, tree, part) for part in PARTS}
    for part, found in both.items():
        if not found:
            continue
        share = weights(folder / "data", part)
        rows = {name: row for name, row in found.items() if name not in of_cells}
        if rows:
            parts.append(f"## {PARTS[part]} trials, clean, 2 s")
            parts.append(main_table(tree, rows, share, part))
            if tree.get("by_number"):
                parts.append("### Fused EER %, clean, by number of members")
                parts.append(number_table(tree, rows, share))
            if (removal := needed_table(rows, share)) is not None:
                parts.append(f"### Correlation that a term has to remove for {-100 * AIM:.0f} %")
                parts.append(removal)
            parts.append("### Fused EER against the row's reference, by condition")
            parts.append(condition_table(tree, rows, share, part))
            parts.append("### Fused EER %, clean, by set")
            parts.append(set_table(rows, part))
        if any(name in found for name in of_cells):
            parts.append(f"## {PARTS[part]} trials, clean, 2 s: what the term gains, by capacity")
            parts.append(capacity_table(tree, found, share))
            if (by_speakers := speakers_table(tree, found, share)) is not None:
                parts.append("### What the term gains with all speakers, against fewer")
                parts.append(by_speakers)
            if (by_size := sizes_table(tree, found, share)) is not None:
                parts.append("### What the term gains at the largest size, against the smallest")
                parts.append(by_size)
    if both["test"]:
        speakers = {part: counts(folder / "data", part) for part in PARTS}
        if (together := together_table(tree, both, speakers)) is not None:
            parts += ["## Development and test speakers together, clean, 2 s", together]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def read_rows(folder: Path, tree, part: str) -> dict[str, Row]:
    rows = {}
    for name in tree["rows"]:
        figures, replicates = {}, {}
        for path in sorted((folder / "figures").glob(f"seed*/{part}/{name}.json")):
            seed = int(path.parents[1].name.removeprefix("seed"))
            figures[seed] = json.loads(path.read_text(encoding="utf-8"))
            replicates[seed] = dict(np.load(path.with_suffix(".npz")))
        if figures:
            rows[name] = Row(figures, replicates)
    return rows


def change(
    row: Row, reference: Row, share: dict[str, float], condition: str, what: str = "fused"
) -> tuple:
    """Pooled log ratio of EERs (``fused``) or Cllrs (``cllr``): value, replicates (R,), by seed.

    The mean over sets, weighted by their speakers, of log EER(row) - log EER(reference); the mean
    over the seeds that both have. A replicate draws speakers within each set, the same for both
    rows and all seeds, and seeds.
    """
    seeds = sorted(row.figures.keys() & reference.figures.keys())
    value, drawn = np.zeros(len(seeds)), np.zeros((len(seeds), REPLICATES))
    for i, seed in enumerate(seeds):
        for name, weight in share.items():
            key = f"{name}, {condition}"
            pair = [r.figures[seed][key][what] for r in (row, reference)]
            value[i] += weight * np.diff(np.log(floor(pair)[::-1]))[0]
            drawn_as = key if what == "fused" else f"{key}, {what}"
            a, b = (np.log(floor(r.replicates[seed][drawn_as])) for r in (row, reference))
            drawn[i] += weight * (a - b)
    rng = np.random.default_rng(0)
    picked = rng.integers(len(seeds), size=(len(seeds), REPLICATES))
    return value.mean(), np.take_along_axis(drawn, picked, 0).mean(0), value


def floor(eer) -> np.ndarray:
    """No logarithm of an EER of 0, as small sets may have in a replicate."""
    return np.maximum(np.asarray(eer, dtype=np.float64), 1e-3)


def needed_table(rows: dict[str, Row], share: dict[str, float]) -> str | None:
    """``needed`` of the baselines of two members, at several rates; None without a baseline."""
    lines = []
    for name in ("independent", "heterogeneous"):
        if name in rows:
            first, last, correlation = np.mean(
                [pooled(figures, share) for figures in rows[name].figures.values()], 0
            )
            found = [needed(first, last, correlation, r) for r in RATES]
            lines.append([name, f"{first:.2f}", f"{last:.2f}", f"{correlation:.3f}"])
            lines[-1] += [f"{one:.3f}" if np.isfinite(one) else "more than all" for one in found]
    head = ["pair", "d' first", "d' last", "ρ", *(f"r = {r:g}" for r in RATES)]
    return markdown(head, lines) if lines else None


def main_table(tree, rows: dict[str, Row], share: dict[str, float], part: str) -> str:
    head = ["row", "seeds", "last member EER %", "fused EER %", "against", *COMPARED]
    lines = []
    for name, row in rows.items():
        member, fused = (mean_eer(row, share, what) for what in ("member", "fused"))
        line = [name, str(len(row.figures)), f"{100 * member:.2f}", f"{100 * fused:.2f}"]
        against = tree["rows"][name].get("against")
        if against in rows and row.figures.keys() & rows[against].figures.keys():
            numbers = {len(tree["rows"][one]["members"]) for one in (name, against)}
            line += [against, *compared(row, rows[against], share, len(numbers) == 1)]
        lines.append([*line, *[""] * (len(head) - len(line))])
    note = (
        "Means over sets, weighted by their speakers with target trials: "
        + ", ".join(f"{name} {weight:.2f}" for name, weight in share.items())
        + f". *sees*: {POWER} standard errors, the effect that this comparison would find in 80 of "
        "100 cases. Cllr: of the fusion, which is calibrated on the clean development trials."
    )
    return markdown(head, lines) + "\n\n" + note


def compared(row: Row, reference: Row, share: dict[str, float], alike: bool) -> list[str]:
    """The cells of ``COMPARED``; the last four only for rows of as many members (``alike``)."""
    value, drawn, of_seeds = change(row, reference, share, "clean")
    spread = f"{100 * np.std(of_seeds, ddof=1):.1f} %" if len(of_seeds) > 1 else ""
    cells = [told(value, drawn), spread, seen(drawn)]
    value, drawn, _ = change(row, reference, share, "clean", "cllr")
    cells += [told(value, drawn), seen(drawn)]
    if alike:
        found = exchange(row, reference, share)
        # No correlation removed: there is nothing to pay for.
        r = f"{found['r']:.2f}" if found["removed"] > 0.003 else "-"
        cells += [f"{found['lost']:+.3f}", f"{found['removed']:+.3f}", r, f"{found['even']:.2f}"]
    return cells


def together_table(
    tree, rows: dict[str, dict[str, Row]], speakers: dict[str, dict[str, int]]
) -> str | None:
    """Changes of the rows whose test trials have been read, over the speakers of both parts.

    Sharper than each alone, and not free of the choices that were made on development trials.
    """
    total = sum(sum(found.values()) for found in speakers.values())
    lines = []
    for name in rows["test"]:
        against, pairs = tree["rows"][name].get("against"), []
        for part, found in speakers.items():
            if name in rows[part] and against in rows[part]:
                share = {of_set: count / total for of_set, count in found.items()}
                pairs.append((rows[part][name], rows[part][against], share))
        if len(pairs) < len(speakers):
            continue
        line = [name, against]
        for what in ("fused", "cllr"):
            changes = [change(*pair, "clean", what)[:2] for pair in pairs]
            value, drawn = (sum(of_parts) for of_parts in zip(*changes, strict=True))
            line += [told(value, drawn), seen(drawn)]
        lines.append(line)
    return markdown(["row", "against", "fused", "sees", "Cllr", "sees"], lines) if lines else None


def condition_table(tree, rows: dict[str, Row], share: dict[str, float], part: str) -> str:
    conditions = SCREENED if part == "dev" else list(CONDITIONS)
    lines = []
    for name, row in rows.items():
        against = tree["rows"][name].get("against")
        if against in rows and row.figures.keys() & rows[against].figures.keys():
            changes = [change(row, rows[against], share, c)[:2] for c in conditions]
            lines.append([name, against, *(told(*found) for found in changes)])
    return markdown(["row", "against", *conditions], lines)


def set_table(rows: dict[str, Row], part: str) -> str:
    lines = []
    for name, row in rows.items():
        keys = [f"{n}, clean" for n in SETS[part]]
        means = [np.mean([f[key]["fused"] for f in row.figures.values()]) for key in keys]
        lines.append([name, *(f"{100 * mean:.2f}" for mean in means)])
    return markdown(["row", *SETS[part]], lines)


def number_table(tree, rows: dict[str, Row], share: dict[str, float]) -> str:
    """Fused EER of each kind of ensemble by its number of members, over the seeds that all have."""
    kinds = tree["by_number"]
    numbers = range(max(len(names) for names in kinds.values()))
    have = [rows[n].figures.keys() for names in kinds.values() for n in names if n in rows]
    seeds = set.intersection(*map(set, have)) if have else set()
    lines = []
    for kind, names in kinds.items():
        made = [
            Row({s: rows[n].figures[s] for s in seeds}, {}) if n in rows else None for n in names
        ]
        lines.append(
            [
                kind,
                *(f"{100 * mean_eer(r, share, 'fused'):.2f}" if r and seeds else "" for r in made),
            ]
        )
    return markdown(["ensemble", *(f"K = {k + 1}" for k in numbers)], lines) + (
        f"\n\nMeans over {len(seeds)} seeds, those that all of these rows have."
    )


def capacity_table(tree, rows: dict[str, Row], share: dict[str, float]) -> str:
    """The term against the same without, by size of the members and number of training speakers."""
    head = ["size", "training speakers", "seeds", "fused EER % without", *COMPARED]
    lines = []
    for cell, term, without in measured(tree, rows):
        eer = f"{100 * mean_eer(without, share, 'fused'):.2f}"
        line = [cell.size, str(cell.speakers or "all"), str(len(term.figures)), eer]
        lines.append([*line, *compared(term, without, share, alike=True)])
    return markdown(head, lines)


def measured(tree, rows: dict[str, Row]) -> Iterator[tuple[capacity.Cell, Row, Row]]:
    """The cells that have both rows, with the term and without, each of the seeds of both."""
    for cell in capacity.cells(tree):
        pair = [rows.get(name) for name in (cell.term, cell.without)]
        if all(pair) and (seeds := pair[0].figures.keys() & pair[1].figures.keys()):
            term, without = (Row({s: r.figures[s] for s in seeds}, r.replicates) for r in pair)
            yield cell, term, without


def gains(tree, rows: dict[str, Row], share: dict[str, float]) -> dict:
    """The term's change of fused EER and Cllr, value and replicates, by size and speakers."""
    return {
        (cell.size, cell.speakers): [
            change(*pair, share, "clean", w)[:2] for w in ("fused", "cllr")
        ]
        for cell, *pair in measured(tree, rows)
    }


def differences(found: dict, pairs: list) -> list[str]:
    """The mean difference of ``gains`` in pairs of cells, of EER and Cllr; none without a pair.

    Replicates draw the same speakers in all cells.
    """
    pairs = [(found[a], found[b]) for a, b in pairs if {a, b} <= found.keys()]
    return [
        told(*(np.mean([a[what][of] - b[what][of] for a, b in pairs], 0) for of in range(2)))
        for what in range(2)
        if pairs
    ]


def speakers_table(tree, rows: dict[str, Row], share: dict[str, float]) -> str | None:
    """The term's change with all speakers against its change with fewer, the mean over sizes.

    Over the sizes that have both; None where none has.
    """
    found, lines = gains(tree, rows, share), []
    for fewer in (n for n in tree["capacity"]["speakers"] if n is not None):
        sizes = [s for s in tree["capacity"]["sizes"] if {(s, fewer), (s, None)} <= found.keys()]
        if cells := differences(found, [((size, None), (size, fewer)) for size in sizes]):
            lines.append([str(fewer), ", ".join(sizes), *cells])
    return markdown(["speakers", "sizes", "fused", "Cllr"], lines) if lines else None


def sizes_table(tree, rows: dict[str, Row], share: dict[str, float]) -> str | None:
    """The term's change at the largest size against that at the smallest; None without a pair."""
    found, lines = gains(tree, rows, share), []
    least, *_, most = tree["capacity"]["sizes"]
    for count in tree["capacity"]["speakers"]:
        if cells := differences(found, [((most, count), (least, count))]):
            lines.append([str(count or "all"), f"{most} against {least}", *cells])
    return markdown(["speakers", "sizes", "fused", "Cllr"], lines) if lines else None


def mean_eer(row: Row, share: dict[str, float], what: str) -> float:
    def of(figures: dict) -> float:
        return figures["fused"] if what == "fused" else figures["members"][-1]

    return float(
        np.mean(
            [sum(w * of(f[f"{n}, clean"]) for n, w in share.items()) for f in row.figures.values()]
        )
    )


def seen(drawn: np.ndarray) -> str:
    """The smallest effect that a comparison with these replicates finds in 80 of 100 cases."""
    return f"{100 * POWER * np.std(drawn):.1f} %"


def told(value: float, drawn: np.ndarray) -> str:
    """A log ratio as a relative change with its 95 % interval."""
    low, high = interval(drawn)
    shown = [100 * np.expm1(x) for x in (value, low, high)]
    return f"{shown[0]:+.1f} % [{shown[1]:+.1f}, {shown[2]:+.1f}]"
