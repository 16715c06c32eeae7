"""Plots that report and analysis share: lines, heat maps, labelled thresholds; Matplotlib."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from acorl_sb.report.style import DASHES, LIGHT, MARKERS, MEMBER_COLOURS, RC, WIDTH, Picture

LETTER = 0.59 * 9 / 72  # inches: about as wide as a letter is on the widest of the fonts


class Series(NamedTuple):
    """One line: ``look`` are Matplotlib's keywords, ``dots`` points of it that stand out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: dict[str, Any]
    dots: Sequence[tuple[float, float]] = ()


def styled(draw: Callable) -> Callable:
    """Draw with the project's look, whatever Matplotlib is set to."""

    @functools.wraps(draw)
    def drawn(*args, **options):
        with matplotlib.rc_context(RC):
            return draw(*args, **options)

    return drawn


def look(place: int) -> dict[str, Any]:
    """Colour, dash and marker of the member at ``place``."""
    return {
        "color": MEMBER_COLOURS[place % len(MEMBER_COLOURS)],
        "linestyle": DASHES[place % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
    }


def panel(height: float, left: float = 0.6, legend: int = 0) -> tuple[Figure, Axes]:
    """Figure and axes of a plot, ``height`` inches high, room for ``legend`` lines below it."""
    below = 0.48 + 0.19 * legend
    total = 0.1 + height + below
    figure = Figure(figsize=(WIDTH, total))
    box = (left / WIDTH, below / total, (WIDTH - left - 0.1) / WIDTH, height / total)
    return figure, figure.add_axes(box)


def line_plot(series: Sequence[Series], height: float = 2.3) -> tuple[Figure, Axes]:
    """Figure and axes of lines, their legend below; the caller says what the axes are."""
    names = [shorten(s.name, 44) for s in series]
    columns = 2 if len(names) > 1 and max(map(len, names)) <= 20 else 1
    lines = -(-len(names) // columns)
    figure, axis = panel(height, legend=lines)
    below = 0.03 + 0.19 * lines  # inches
    # The widest first: where lines lie on one another, each is seen beside the next.
    for n, line in sorted(enumerate(series), key=lambda s: -s[1].look.get("linewidth", 1.6)):
        options = {"linewidth": 1.6, "markersize": 4.5, **line.look}
        step = max(1, len(line.x) // 5)
        start = (n * step // max(1, len(series))) % step
        axis.plot(line.x, line.y, label=names[n], gid=f"line-{n}", markevery=(start, step),
                  **options)  # fmt: skip
        dots = np.array(line.dots).reshape(-1, 2)
        axis.plot(*dots.T, "o", color=options["color"], markersize=7, fillstyle="none")
    handles, labels = axis.get_legend_handles_labels()
    order = [labels.index(name) for name in dict.fromkeys(names)]
    axis.legend([handles[i] for i in order], [labels[i] for i in order], ncols=columns,
                loc="upper left", bbox_to_anchor=(0.01, below / figure.get_figheight()),
                bbox_transform=figure.transFigure)  # fmt: skip
    return figure, axis


def flag_lines(axis: Axes, marks: Sequence[tuple[float, str]]) -> float:
    """Labelled vertical lines; returns the part of the height below the lowest label.

    A label stands at the top of its own line, and the lines on its side of that are shorter, so
    none runs through or beside another's label.
    """
    low, high = axis.get_xlim()
    to_left = any(x > low + 0.8 * (high - low) for x, _ in marks)
    for level, (x, text) in enumerate(sorted(marks, reverse=to_left)):
        top, gid = 0.985 - 0.085 * level, f"flag-{level}"
        look = {"color": LIGHT["soft"], "linewidth": 1, "linestyle": (0, (3, 2)), "gid": gid}
        axis.plot([x, x], [0, top], transform=axis.get_xaxis_transform(), **look)
        side = {"ha": "right" if to_left else "left", "va": "top"}
        place = {"xycoords": axis.get_xaxis_transform(), "textcoords": "offset points", **side}
        axis.annotate(text, (x, top), (-3 if to_left else 3, 0), **place)
    return 0.97 - 0.085 * len(marks)


def shorten(name: str, room: int) -> str:
    """The name, or its beginning where it has more than ``room`` letters."""
    return name if len(name) <= max(4, room) else name[: max(3, room - 1)] + "…"


@styled
def heat_map(
    key: str,
    title: str,
    description: str,
    names: Sequence[str],
    values: Sequence[Sequence[float | None]],
    text: Callable[[float], str] = "{:.2f}".format,
) -> Picture:
    """Members by members in [-1, 1]: the colour is the absolute value, the number in its cell."""
    count = len(names)
    left = min(1.5, 0.3 + LETTER * max(map(len, names)))
    cell = min(0.6, (WIDTH - 0.1 - left) / count)
    total = cell * count + 0.3
    figure = Figure(figsize=(WIDTH, total))
    axis = figure.add_axes((left / WIDTH, 0.05 / total, cell * count / WIDTH, cell * count / total))
    axis.set(xlim=(0, count), ylim=(count, 0))
    for row, column in np.ndindex(count, count):
        value = values[row][column]
        shade = 0.0 if value is None else min(1.0, abs(value))
        axis.add_patch(Rectangle((column, row), 1, 1, facecolor=(*to_rgb(LIGHT["heat"]), shade),
                                 edgecolor=LIGHT["rule"], linewidth=0.8))  # fmt: skip
        # Where black on the cell is as legible as white, in the light and in the dark colours.
        ink = LIGHT[("heat-low", "heat-mid", "heat-high")[(shade > 0.6) + (shade > 0.82)]]
        axis.text(column + 0.5, row + 0.5, "–" if value is None else text(value), color=ink,
                  ha="center", va="center", fontsize=min(9.0, 72 * cell / 3.1))  # fmt: skip
    room = int((left - 0.3) / LETTER)
    labels = [f"{shorten(name, room)}  {n}" for n, name in enumerate(names, 1)]
    middles = np.arange(count) + 0.5
    axis.set_yticks(middles, labels, color=LIGHT["ink"])
    axis.set_xticks(middles, range(1, count + 1), color=LIGHT["ink"])
    axis.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    pairs = (
        f"{names[i]} and {names[j]} {'n/a' if values[i][j] is None else text(values[i][j])}"
        for i, j in zip(*np.triu_indices(count, 1), strict=True)
    )
    return Picture(key, title, f"{description}: {', '.join(pairs)}.", figure)
