"""The pictures of a study; PNG files, drawn with matplotlib."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from acorl_sb.report.style import DASHES, MARKERS, MEMBER_COLOURS
from acorl_sb.utils.files import atomic_path
from pairs.tables import mean

if TYPE_CHECKING:
    from pairs.results import Results


def write(results: Results) -> None:
    """``correlation.png`` and, where a strength was varied, ``strength.png``."""
    save(correlation(results), results.folder / "correlation.png")
    varied = strengths(results)
    if varied is not None:
        save(varied, results.folder / "strength.png")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG whole or not at all."""
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, facecolor="white", bbox_inches="tight")


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
            color=MEMBER_COLOURS[place % len(MEMBER_COLOURS)],
            marker=MARKERS[place % len(MARKERS)],
            s=28,
            alpha=0.85,
        )
    axis.set_xlabel("correlation of the two members' non-target scores, test trials")
    axis.set_ylabel("EER of the fusion, %, test trials")
    _log(axis.yaxis)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def strengths(results: Results) -> Figure | None:
    """EER of the second member alone and of the pair against the loss's weight."""
    families = defaultdict(lambda: defaultdict(list))
    for row in results.rows:
        candidate = results.candidates[row["candidate"]]
        if candidate.strength is not None:
            families[candidate.family][candidate.strength].append(row)
    families = {name: points for name, points in families.items() if len(points) > 1}
    if not families:
        return None
    reference = results.of(next(iter(results.candidates)))
    # Of seeds that all points have, so that a seed's luck is the same for all.
    groups = [rows for points in families.values() for rows in points.values()]
    groups += [reference] if reference else []
    seeds = set.intersection(*({row["seed"] for row in rows} for rows in groups))

    def shown(rows: list[dict], key: str) -> float:
        return 100 * mean([row for row in rows if row["seed"] in seeds] or rows, "dev", key)

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    parts = (("second", "second member alone"), ("fused", "pair, fused"))
    for axis, (key, title) in zip(axes, parts, strict=True):
        for place, (family, points) in enumerate(families.items()):
            x = sorted(points)
            axis.plot(
                x,
                [shown(points[strength], key) for strength in x],
                label=family if key == "fused" else None,
                color=MEMBER_COLOURS[place % len(MEMBER_COLOURS)],
                linestyle=DASHES[place % len(DASHES)],
                marker=MARKERS[place % len(MARKERS)],
            )
        if reference:
            label = reference[0]["candidate"] if key == "fused" else None
            axis.axhline(shown(reference, key), color="#888888", linewidth=1, label=label)
        _log(axis.xaxis, sorted({x for points in families.values() for x in points}))
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("weight of the complementarity loss λ")
        axis.set_ylabel("EER, %, development trials")
        axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _log(axis: Axis, at: Sequence[float] | None = None) -> None:
    """A logarithmic scale whose ticks are plain numbers: those given, or what fits."""
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    axis.set_major_locator(FixedLocator(at) if at else MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
