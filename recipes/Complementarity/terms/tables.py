"""The page of a study: what each row gains, what its term costs, and what the protocol can see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from acorl_sb.metrics.intervals import interval
from acorl_sb.utils.tables import markdown
from terms import capacity
from terms.figures import REPLICATES, counts, strength, weights
from terms.sets import CONDITIONS, SCREENED, SETS

PARTS = {"dev": "Development", "test": "Test"}
AIM = 0.05  # relative fall of the fused EER that a term is to bring
RATES = (0.0, 0.25, 0.5, 1.0)  # r, of the table of what a term would have to remove
POWER = 2.8  # standard errors of an effect that a two-sided 5 % test sees in 80 of 100 cases


class Row(NamedTuple):
    """A row's figures and EER replicates by seed, for one part."""

    figures: dict[int, dict]
    replicates: dict[int, dict[str, np.ndarray]]


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
            if (needed := needed_table(rows, share)) is not None:
                parts.append(f"### Correlation that a term has to remove for {-100 * AIM:.0f} %")
                parts.append(needed)
            parts.append("### Fused EER against the row's reference, by condition")
            parts.append(condition_table(tree, rows, share, part))
            parts.append("### Fused EER %, clean, by set")
            parts.append(set_table(rows, part))
        if any(name in found for name in of_cells):
            parts.append(f"## {PARTS[part]} trials, clean, 2 s: what the term gains, by capacity")
            parts.append(capacity_table(tree, found, share))
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


def exchange(row: Row, reference: Row, share: dict[str, float]) -> dict[str, float]:
    """r, its break-even, what the first and the last member lose in d', and the correlation's fall.

    Means over seeds of the pooled figures, clean. The break-even is that of the reference row.
    """
    seeds = row.figures.keys() & reference.figures.keys()
    of_row, of_reference = (
        np.mean([pooled(r.figures[seed], share) for seed in seeds], 0) for r in (row, reference)
    )
    lost = of_reference[:2].sum() - of_row[:2].sum()  # most rows have the same first member
    removed = of_reference[2] - of_row[2]
    even = (of_reference[0] + of_reference[1]) / (2 * (1 + of_reference[2]))
    return {"r": lost / removed, "even": even, "lost": lost, "removed": removed}


def pooled(figures: dict, share: dict[str, float]) -> list[float]:
    """d' of the first and the last member, and their correlation, pooled over the sets."""
    found = [
        (
            weight * strength(figures[f"{name}, clean"]["members"][0]),
            weight * strength(figures[f"{name}, clean"]["members"][-1]),
            weight * np.mean(figures[f"{name}, clean"]["correlation"]),
        )
        for name, weight in share.items()
    ]
    return np.sum(found, 0)


def needed(first: float, last: float, correlation: float, r: float, aim: float = AIM) -> float:
    """How much correlation a term has to remove from a pair for a fused EER lower by ``aim``.

    ``first``, ``last``: d' of the members; each unit of correlation costs the last one ``r`` of its
    d'. With d' = (first + last) / sqrt(2 (1 + rho)) of the pair and EER = Phi(-d' / 2); infinite
    where no fall of the correlation to 0 is enough.
    """

    def fused(removed: float) -> float:
        return (first + last - r * removed) / np.sqrt(2 * (1 + correlation - removed))

    wanted = strength((1 - aim) * norm.cdf(-fused(0.0) / 2))
    if fused(correlation) < wanted:
        return np.inf
    return brentq(lambda removed: fused(removed) - wanted, 0.0, correlation)


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
    head = ["row", "seeds", "last member EER %", "fused EER %", "against", "fused, relative"]
    head += ["sd over seeds", "sees", "Cllr, relative", "sees"]
    head += ["d' lost", "ρ removed", "r", "break-even"]
    lines = []
    for name, row in rows.items():
        member, fused = (mean_eer(row, share, what) for what in ("member", "fused"))
        line = [name, str(len(row.figures)), f"{100 * member:.2f}", f"{100 * fused:.2f}"]
        against = tree["rows"][name].get("against")
        if against in rows and row.figures.keys() & rows[against].figures.keys():
            value, drawn, of_seeds = change(row, rows[against], share, "clean")
            spread = f"{100 * np.std(of_seeds, ddof=1):.1f} %" if len(of_seeds) > 1 else ""
            line += [against, told(value, drawn), spread, seen(drawn)]
            value, drawn, _ = change(row, rows[against], share, "clean", "cllr")
            line += [told(value, drawn), seen(drawn)]
            if len(tree["rows"][name]["members"]) == len(tree["rows"][against]["members"]):
                found = exchange(row, rows[against], share)
                # No correlation removed: there is nothing to pay for.
                r = f"{found['r']:.2f}" if found["removed"] > 0.003 else "-"
                line += [f"{found['lost']:+.3f}", f"{found['removed']:+.3f}", r]
                line += [f"{found['even']:.2f}"]
        lines.append([*line, *[""] * (len(head) - len(line))])
    note = (
        "Means over sets, weighted by their speakers with target trials: "
        + ", ".join(f"{name} {weight:.2f}" for name, weight in share.items())
        + f". *sees*: {POWER} standard errors, the effect that this comparison would find in 80 of "
        "100 cases. Cllr: of the fusion, which is calibrated on the clean development trials."
    )
    return markdown(head, lines) + "\n\n" + note


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
    """Fused EER with the term against without, by size of the members and training speakers."""
    lines: dict[str, list[str]] = {}
    for cell in capacity.cells(tree):
        pair = [rows.get(name) for name in (cell.term, cell.without)]
        line = lines.setdefault(cell.size, [cell.size])
        line.append("")
        if all(pair) and (seeds := pair[0].figures.keys() & pair[1].figures.keys()):
            line[-1] = f"{told(*change(*pair, share, 'clean')[:2])}, {len(seeds)} seeds"
    counts = [f"{n or 'all'} speakers" for n in tree["capacity"]["speakers"]]
    return markdown(["size", *counts], list(lines.values()))


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
