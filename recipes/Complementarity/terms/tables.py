"""The page of a study: what each row gains, what its term costs, and what the protocol can see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from acorl_sb.utils.tables import markdown
from terms import capacity
from terms.capacity_tables import capacity_table, contrast_table
from terms.changes import COMPARED, POWER, change, compared, mean_eer, seen, told
from terms.exchange import AIM, Row, needed, pooled
from terms.figures import counts, weights
from terms.sets import CONDITIONS, SCREENED, SETS

PARTS = {"dev": "Development", "test": "Test"}
RATES = (0.0, 0.25, 0.5, 1.0)  # r, of the table of what a term would have to remove


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
            if (contrasts := contrast_table(tree, found, share)) is not None:
                parts.append("### What the term gains in one group of cells, against another")
                parts.append(contrasts)
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
