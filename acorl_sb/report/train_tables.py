"""The results of ``train.py`` as a Markdown table, for the terminal and ``results.md``."""

from __future__ import annotations

from typing import Any

from acorl_sb.utils.tables import EER_NOTE, markdown, percent, signed, with_interval


def table(results: dict[str, Any]) -> str:
    """Figures of the test trials, EER in percent, and below them what they mean."""
    points = [f"{point['p_target']:g}" for point in results["cost_points"]]
    best, compared = results["best_member"], len(results["systems"]) > 1
    header = ["system", "EER %", *([f"EER % minus {best}"] if compared else [])]
    header += [*(f"minDCF({p})" for p in points), "dev EER %", "parameters", "training s"]
    rows = []
    for row in results["systems"]:
        spread = row["intervals"]
        cells = [row["name"], with_interval(row["test"]["eer"], spread.get("eer"), 100, 2)]
        if compared:
            change = row["against_best"] and row["against_best"]["eer"]
            cells.append(signed(change["change"], change["interval"], 100, 2) if change else "")
        for p in points:
            name = f"min_dcf({p})"
            cells.append(with_interval(row["test"]["min_dcf"][p], spread.get(name), 1, 3))
        cells += [percent(row["dev"]["eer"]), f"{row['parameters'] / 1e6:.2f} M"]
        cells += [f"{row['train_seconds']:.0f}", f"{row['real_time_factor']:.4f}"]
        rows.append(cells)
    return markdown([*header, "real-time factor"], rows) + "\n" + _notes(results, compared) + "\n"


def _notes(results: dict[str, Any], compared: bool) -> str:
    counts = {
        part: f"{n['target'] + n['nontarget']:,} trials ({n['target']:,} target, "
        f"{n['nontarget']:,} non-target) of {n['speakers']:,} speakers"
        for part, n in results["trials"].items()
    }
    notes = [
        f"Test: {counts['test']}. Development (dev): {counts['dev']}.",
        results["intervals"]["method"],
        EER_NOTE,
        "minDCF(p): p the target prior, C_miss = C_fa = 1, normalised by min(p, 1 - p).",
    ]
    if compared:
        best = results["best_member"]
        notes.insert(2, f"Of the members, {best} has the lowest EER on the development trials.")
    return " ".join(notes)
