"""The picture of mitigation: EER of all trials against fairness, over strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from acorl_sb.metrics.intervals import interval
from acorl_sb.report.plots import look, styled
from acorl_sb.report.style import WIDTH, Picture


class Point(NamedTuple):
    """One strength of one means; the figures are (1 + R,), a value and its replicates.

    ``strength`` is None for a system instead of the means. ``overall`` is the EER of all trials,
    ``hardest`` the worst group's own, ``at_one`` the worst group's mean of FMR and FNMR at one
    threshold, ``garbe`` the mean of their Gini coefficients.
    """

    means: str
    strength: float | None
    overall: np.ndarray
    hardest: np.ndarray
    at_one: np.ndarray
    garbe: np.ndarray


PANELS = (
    ("hardest", "worst group's EER, %", 100),
    ("at_one", "worst group's error\nat one threshold, %", 100),
    ("garbe", "GARBE", 1),
)


@styled
def picture(points: Sequence[Point]) -> Picture:
    """A panel for each measure of fairness; down and left is better. Whiskers: 95 % intervals.

    Markers grow with the strength, for points may lie on one another.
    """
    figure = Figure(figsize=(WIDTH, 2.3 * len(PANELS) + 0.5), layout="constrained")
    axes = figure.subplots(len(PANELS), sharex=True)
    for axis, (measure, label, scale) in zip(axes, PANELS, strict=True):
        for place, means in enumerate(dict.fromkeys(p.means for p in points)):
            own = [p for p in points if p.means == means]
            x = np.array([100 * p.overall[0] for p in own])
            y = np.array([scale * getattr(p, measure)[0] for p in own])
            spread = [_reach([100 * p.overall for p in own])]
            spread += [_reach([scale * getattr(p, measure) for p in own])]
            style = look(place)
            marker = style.pop("marker")
            axis.errorbar(x, y, yerr=spread[1], xerr=spread[0], linewidth=1.4, elinewidth=0.7,
                          capsize=2, **style)  # fmt: skip
            for p, left, up in zip(own, x, y, strict=True):
                axis.plot(left, up, marker, color=style["color"], fillstyle="none", zorder=3,
                          markersize=5 + 7 * (p.strength or 0),
                          label=means if p is own[-1] else None)  # fmt: skip
        axis.set_ylabel(label)
    axes[-1].set_xlabel("EER of all trials, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  markerscale=0.5,
                  title="the larger the marker, the stronger the means")  # fmt: skip
    words = "; ".join(
        f"{p.means}{'' if p.strength is None else f' {p.strength:g}'}: EER "
        f"{100 * p.overall[0]:.2f} %, worst group {100 * p.hardest[0]:.2f} %, "
        f"GARBE {p.garbe[0]:.3f}"
        for p in points
    )
    title = "EER against fairness, over the strength of mitigation"
    return Picture("pareto", title, f"{title}. {words}.", figure)


def _reach(values: Sequence[np.ndarray]) -> np.ndarray:
    """How far the intervals of (1 + R,) values reach below and above them, (2, points)."""
    reach = []
    for value in values:
        low, high = interval(value[1:])
        reach.append((max(0.0, value[0] - low), max(0.0, high - value[0])))
    return np.array(reach).T
