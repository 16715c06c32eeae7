"""The pictures of a study; PNG files, drawn with matplotlib."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from acorl_sb.analysis.pictures import COLOURS, DASHES, save
from pairs.tables import mean

if TYPE_CHECKING:
    from pairs.results import Results

MARKERS = "osD^vPX*<>hp"


def write(results: Results) -> None:
    """``correlation.png`` and, where a strength was varied, ``strength.png``."""
    save(correlation(results), results.folder / "correlation.png")
    varied = strengths(results)
    if varied is not None:
        save(varied, results.folder / "strength.png")


def correlation(results: Results) -> Figure:
    """Fused EER of every pair against the correlation of its members' non-target scores."""
    figure = Figure(figsize=(8.5, 5.5), layout="constrained")
    axis = figure.subplots()
    families = defaultdict(list)
    for row in results.rows:
        families[results.candidates[row["candidate"]].family].append(row)
    for place, (family, rows) in enumerate(families.items()):
        axis.scatter(
            [row["test"]["correlation_nontarget"] for row in rows],
            [100 * row["test"]["fused"] for row in rows],
            label=family,
            color=COLOURS[place % len(COLOURS)],
            marker=MARKERS[place % len(MARKERS)],
            s=28,
            alpha=0.85,
        )
    axis.set_xlabel("correlation of the two members' non-target scores, test trials")
    axis.set_ylabel("EER of the fusion, %, test trials")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def strengths(results: Results) -> Figure | None:
    """EER of the second member alone and of the pair against the strength of the push."""
    families = defaultdict(lambda: defaultdict(list))
    for row in results.rows:
        candidate = results.candidates[row["candidate"]]
        if candidate.strength is not None:
            families[candidate.family][candidate.strength].append(row)
    families = {name: points for name, points in families.items() if len(points) > 1}
    if not families:
        return None
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    parts = (("second", "the second member alone"), ("fused", "the fusion"))
    for axis, (key, title) in zip(axes, parts, strict=True):
        for place, (family, points) in enumerate(families.items()):
            x = sorted(points)
            axis.plot(
                x,
                [100 * mean(points[strength], "dev", key) for strength in x],
                label=family,
                color=COLOURS[place % len(COLOURS)],
                linestyle=DASHES[place % len(DASHES)],
                marker=MARKERS[place % len(MARKERS)],
            )
        reference = results.of(next(iter(results.candidates)))
        if reference:
            axis.axhline(100 * mean(reference, "dev", key), color="#888888", linewidth=1)
        axis.set_xscale("log")
        axis.set_xlabel("strength of the push λ")
        axis.set_ylabel(f"EER of {title}, %, development trials")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.suptitle("grey line: the independent pair", fontsize=10)
    return figure
