"""Hand-made SVG figures: lines, histograms, bars with intervals, heat maps.

Every figure is one ``<svg role="img">`` that names and describes itself (``<title>``, ``<desc>``),
400 units wide so that its text stays legible at phone width. Colours are classes, given by
``STYLE`` for light and dark; members differ by dash as well as colour. Pure text in, text out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH = 400
FONT = 12.5
_LETTER = 0.59 * FONT  # about as wide as a letter is on the widest of the fonts
MEMBER_COLOURS = 8

_LIGHT = {
    "bg": "#ffffff",
    "panel": "#ffffff",
    "ink": "#1c2128",
    "soft": "#57606a",
    "rule": "#d5dae0",
    "grid": "#e6e9ed",
    "heat": "#0b5cad",
    "heat-low": "#000000",
    "heat-mid": "#000000",
    "heat-high": "#ffffff",
    "good": "#0b6b45",
    "bad": "#b42318",
    "target": "#0b6fb8",
    "nontarget": "#c2570c",
    "c0": "#0b62b8",
    "c1": "#c2410c",
    "c2": "#0f7b53",
    "c3": "#8b3fb5",
    "c4": "#8f6000",
    "c5": "#b4236b",
    "c6": "#0e7490",
    "c7": "#5f6873",
}
_DARK = {
    "bg": "#14171b",
    "panel": "#1b1f24",
    "ink": "#e8ecf0",
    "soft": "#a5afba",
    "rule": "#39414a",
    "grid": "#2a3037",
    "heat": "#6cb6ff",
    "heat-low": "#ffffff",
    "heat-mid": "#000000",
    "heat-high": "#000000",
    "good": "#5fd3a0",
    "bad": "#ff8f85",
    "target": "#6cb6ff",
    "nontarget": "#ff9d6b",
    "c0": "#6cb6ff",
    "c1": "#ff9d6b",
    "c2": "#5fd3a0",
    "c3": "#d2a8ff",
    "c4": "#e3b341",
    "c5": "#ff8fc0",
    "c6": "#5ad4e6",
    "c7": "#a8b3bd",
}
_DASHES = ("", "7 3", "2 2.5", "9 3 2 3", "5 2", "12 3", "1.5 3.5", "6 2 1.5 2 1.5 2")


_HEAT_INKS = ("heat-low", "heat-mid", "heat-high")


def _variables(palette: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in palette.items())


STYLE = (
    f":root{{color-scheme:light dark;{_variables(_LIGHT)}}}\n"
    f"@media (prefers-color-scheme:dark){{:root{{{_variables(_DARK)}}}}}\n"
    "svg.figure{display:block;width:100%;height:auto;"
    f"font:{FONT}px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}}\n"
    "svg.figure text{fill:var(--ink)}svg.figure .soft{fill:var(--soft)}"
    "svg.figure .grid{stroke:var(--grid);stroke-width:1}"
    "svg.figure .frame{fill:none;stroke:var(--soft);stroke-width:1}"
    "svg.figure .mark{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3;fill:none}"
    "svg.figure .line{fill:none;stroke-width:1.7;stroke-linejoin:round}"
    "svg.figure .fused{stroke:var(--ink);stroke-width:2.6}"
    "svg.figure .fused.second{stroke-width:1.6;stroke-dasharray:4 3}"
    "svg.figure .fused.third{stroke-width:1.6;stroke-dasharray:1.5 2.5}"
    "svg.figure .fused.fourth{stroke-width:1.6;stroke-dasharray:8 3 1.5 3}"
    "svg.figure .dot.fused,svg.figure .bar.fused{fill:var(--ink);stroke:none}"
    "svg.figure .bar{fill:var(--c7);fill-opacity:.6}"
    "svg.figure .bar.fused{fill-opacity:.6}"
    "svg.figure .halo{stroke:var(--panel);stroke-width:3.6;fill:none}"
    "svg.figure .whisker{stroke:var(--ink);stroke-width:1.5;fill:none}"
    "svg.figure .target{stroke:var(--target)}svg.figure .nontarget{stroke:var(--nontarget)}"
    "svg.figure .area{fill-opacity:.25;stroke-width:1.5}"
    "svg.figure .area.target{fill:var(--target)}svg.figure .area.nontarget{fill:var(--nontarget)}"
    "svg.figure .cell{fill:var(--heat);stroke:var(--rule);stroke-width:1}"
    + "".join(f"svg.figure text.{n}{{fill:var(--{n})}}" for n in _HEAT_INKS)
    + "".join(
        f"svg.figure .c{n}{{stroke:var(--c{n});stroke-dasharray:{dash or 'none'}}}"
        f"svg.figure .dot.c{n},svg.figure .bar.c{n}{{fill:var(--c{n});stroke:none}}"
        for n, dash in enumerate(_DASHES)
    )
)


@dataclass(frozen=True)
class Axis:
    """One axis: ``ticks`` are (value, text); ``scale`` maps a value to what is drawn linearly."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    scale: Callable[[float], float] = float

    def place(self, value: float, start: float, end: float) -> float:
        low, high = self.scale(self.low), self.scale(self.high)
        return start + (self.scale(value) - low) / (high - low) * (end - start)


@dataclass(frozen=True)
class Series:
    """One line: ``style`` are CSS classes, ``dots`` points of it that stand out, with a tooltip."""

    name: str
    style: str
    x: Sequence[float]
    y: Sequence[float]
    dots: Sequence[tuple[float, float, str]] = ()


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart; ``text`` stands at its right, ``interval`` is drawn as a whisker."""

    name: str
    value: float
    text: str
    style: str = ""
    interval: Sequence[float] | None = None


@dataclass(frozen=True)
class Figure:
    """A finished figure: ``key`` is its id and file name, ``svg`` the whole ``<svg>`` element."""

    key: str
    title: str
    description: str
    svg: str


@dataclass
class _Canvas:
    key: str
    title: str
    description: str
    height: float
    parts: list[str] = field(default_factory=list)

    def add(self, *parts: str) -> None:
        self.parts.extend(parts)

    def text(self, x, y, text, anchor="start", style="", extra="") -> None:
        style = f' class="{style}"' if style else ""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self.add(f"<text {place}{style}{extra}>{escape(text)}</text>")

    def rule(self, x1, y1, x2, y2, style) -> None:
        self.add(f'<path class="{style}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')

    def finish(self) -> Figure:
        text = (
            f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {WIDTH} {self.height:.0f}" data-figure="{escape(self.key)}" '
            f'aria-labelledby="{self.key}-title {self.key}-desc">'
            f'<title id="{self.key}-title">{escape(self.title)}</title>'
            f'<desc id="{self.key}-desc">{escape(self.description)}</desc>'
            + "".join(self.parts)
            + "</svg>"
        )
        return Figure(self.key, self.title, self.description, text)


def key_of(text: str) -> str:
    """A name that may serve as an id and a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"


def member_style(index: int) -> str:
    """CSS class of a member's colour and dash; repeats after eight."""
    return f"c{index % MEMBER_COLOURS}"


def standalone(figure: Figure) -> str:
    """The same figure as a file of its own, with its colours and a background."""
    head, rest = figure.svg.split(">", 1)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" style="fill:var(--bg)"/>{rest}\n'
    )


def line_chart(
    key: str,
    title: str,
    description: str,
    x_axis: Axis,
    y_axis: Axis,
    series: Sequence[Series],
    marks: Sequence[tuple[float, str]] = (),
    square: bool = False,
    diagonal: bool = False,
    levels: Sequence[tuple[float, str]] = (),
) -> Figure:
    """Lines over two axes. ``marks`` are labelled vertical, ``levels`` horizontal, lines."""
    left, right, top = 54.0, WIDTH - 12.0, 12.0
    bottom = top + ((right - left) if square else 230.0)
    canvas = _Canvas(key, title, description, 0)
    _axes(canvas, x_axis, y_axis, left, right, top, bottom)
    canvas.add(
        f'<clipPath id="{key}-clip"><rect x="{left}" y="{top}" width="{right - left}" '
        f'height="{bottom - top}"/></clipPath><g clip-path="url(#{key}-clip)">'
    )
    if diagonal:
        canvas.rule(left, bottom, right, top, "mark")
    for value, text in levels:
        y = y_axis.place(value, bottom, top)
        canvas.rule(left, y, right, y, "mark")
        canvas.text(right - 4, y - 4, text, "end", "soft")
    for number, (value, text) in enumerate(marks):
        x = x_axis.place(value, left, right)
        canvas.rule(x, top, x, bottom, "mark")
        canvas.text(x + 3, bottom - 6 - 13 * (number % 3), text, "start", "soft")
    for line in series:
        points = [
            (x_axis.place(x, left, right), y_axis.place(y, bottom, top))
            for x, y in zip(line.x, line.y, strict=True)
            if math.isfinite(x) and math.isfinite(y)
        ]
        canvas.add(
            f'<path class="line {line.style}" d="{_path(points)}">'
            f"<title>{escape(line.name)}</title></path>"
        )
        for x, y, text in line.dots:
            cx, cy = x_axis.place(x, left, right), y_axis.place(y, bottom, top)
            canvas.add(
                f'<circle class="dot {line.style}" cx="{cx:.1f}" cy="{cy:.1f}" r="3.2">'
                f"<title>{escape(text)}</title></circle>"
            )
    canvas.add("</g>")
    canvas.height = _legend(canvas, [(s.name, s.style) for s in series], left, bottom + 48)
    return canvas.finish()


def histogram_chart(
    key: str,
    title: str,
    description: str,
    x_label: str,
    edges: Sequence[float],
    densities: Sequence[tuple[str, str, Sequence[float]]],
    marks: Sequence[tuple[float, str]] = (),
) -> Figure:
    """Filled step lines (name, style, density per bin) over common bins, with labelled marks."""
    left, right, top, bottom = 16.0, WIDTH - 12.0, 12.0, 200.0
    highest = max((max(d) for _, _, d in densities), default=0.0) or 1.0
    x_axis = Axis(x_label, edges[0], edges[-1], ticks(edges[0], edges[-1]))
    y_axis = Axis("density", 0.0, 1.3 * highest, [])
    canvas = _Canvas(key, title, description, 0)
    _axes(canvas, x_axis, y_axis, left, right, top, bottom)
    for name, style, density in densities:
        points = [(x_axis.place(edges[0], left, right), bottom)]
        for low, high, value in zip(edges[:-1], edges[1:], density, strict=True):
            y = y_axis.place(value, bottom, top)
            points += [(x_axis.place(low, left, right), y), (x_axis.place(high, left, right), y)]
        points.append((x_axis.place(edges[-1], left, right), bottom))
        canvas.add(
            f'<path class="area {style}" d="{_path(points)}Z"><title>{escape(name)}</title></path>'
        )
    inside = [(v, t) for v, t in marks if edges[0] <= v <= edges[-1]]
    for number, (value, text) in enumerate(inside):
        x = x_axis.place(value, left, right)
        canvas.rule(x, top, x, bottom, "mark")
        near_end = x > right - 0.25 * (right - left)
        canvas.text(
            x - 3 if near_end else x + 3,
            top + 12 + 14 * (number % 4),
            text,
            "end" if near_end else "start",
        )
    canvas.height = _legend(canvas, [(n, s) for n, s, _ in densities], left, bottom + 48)
    return canvas.finish()


def bar_chart(key: str, title: str, description: str, label: str, bars: Sequence[Bar]) -> Figure:
    """Rows of a name, a figure and a bar from zero, with the interval as a whisker."""
    left, right, top, row = 2.0, WIDTH - 4.0, 6.0, 34.0
    highest = max([b.value for b in bars] + [b.interval[1] for b in bars if b.interval] + [1e-9])
    bottom = top + row * len(bars)
    axis = Axis(label, 0.0, 1.04 * highest, ticks(0.0, 1.04 * highest))
    canvas = _Canvas(key, title, description, bottom + 40)
    for value, _ in axis.ticks:
        x = axis.place(value, left, right)
        canvas.rule(x, top, x, bottom, "grid")
    for number, bar in enumerate(bars):
        y = top + row * number
        end = axis.place(bar.value, left, right)
        room = int((right - left - 8 - _LETTER * len(bar.text)) / _LETTER)
        canvas.add(f"<g><title>{escape(f'{bar.name}: {bar.text}')}</title>")
        canvas.text(left, y + 12, _short(bar.name, room))
        canvas.text(right, y + 12, bar.text, "end", "soft")
        canvas.add(
            f'<rect class="bar {bar.style}" x="{left}" y="{y + 17:.1f}" '
            f'width="{max(0.0, end - left):.1f}" height="10" rx="1.5"/>'
        )
        if bar.interval:
            low, high = (axis.place(v, left, right) for v in bar.interval)
            middle = y + 22
            line = (
                f"M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"
            )
            canvas.add(f'<path class="halo" d="{line}"/><path class="whisker" d="{line}"/>')
        canvas.add("</g>")
    _tick_labels(canvas, axis, left, right, bottom)
    canvas.text((left + right) / 2, bottom + 34, label, "middle", "soft")
    return canvas.finish()


def heat_map(
    key: str,
    title: str,
    description: str,
    names: Sequence[str],
    values: Sequence[Sequence[float | None]],
    text: Callable[[float], str] = "{:.2f}".format,
) -> Figure:
    """A square matrix in [-1, 1]: colour is the absolute value, the number stands in its cell."""
    count = len(names)
    longest = max(len(name) for name in names)
    left = min(140.0, 28 + _LETTER * longest)
    room = int((left - 28) / _LETTER)
    size = min(60.0, (WIDTH - 6 - left) / count)
    top = 20.0
    canvas = _Canvas(key, title, description, top + size * count + 6)
    small = f' style="font-size:{min(FONT, size / 3.1):.1f}px"'
    for row, name in enumerate(names):
        y = top + size * (row + 0.5)
        canvas.text(left - 8, y + 4, f"{_short(name, room)}  {row + 1}", "end")
        canvas.text(left + size * (row + 0.5), top - 6, str(row + 1), "middle")
        for column in range(count):
            value = values[row][column]
            x = left + size * column
            shade = 0.0 if value is None else min(1.0, abs(value))
            label = "n/a" if value is None else text(value)
            pair = escape(f"{name} and {names[column]}: {label}")
            canvas.add(
                f'<g><title>{pair}</title><rect class="cell" x="{x:.1f}" y="{y - size / 2:.1f}" '
                f'width="{size:.1f}" height="{size:.1f}" fill-opacity="{shade:.3f}"/>'
            )
            # Where black on the cell is as legible as white, in the light and in the dark palette.
            style = _HEAT_INKS[(shade > 0.6) + (shade > 0.82)]
            canvas.text(x + size / 2, y + 4, label, "middle", style, small)
            canvas.add("</g>")
    return canvas.finish()


def ticks(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    """Round tick values within [low, high] and their texts."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [(low, f"{low:g}")]
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if step / power == 2.5:
        decimals += 1
    return [(n * step, f"{n * step:.{decimals}f}") for n in range(first, last + 1)]


# ------------------------------------------------------------------------------------------------


def _axes(canvas, x_axis, y_axis, left, right, top, bottom) -> None:
    for value, text in y_axis.ticks:
        y = y_axis.place(value, bottom, top)
        canvas.rule(left, y, right, y, "grid")
        canvas.text(left - 5, y + 4, text, "end", "soft")
    for value, _ in x_axis.ticks:
        x = x_axis.place(value, left, right)
        canvas.rule(x, top, x, bottom, "grid")
    _tick_labels(canvas, x_axis, left, right, bottom)
    canvas.add(
        f'<rect class="frame" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>'
    )
    canvas.text((left + right) / 2, bottom + 33, x_axis.label, "middle")
    middle = (top + bottom) / 2
    canvas.text(11, middle, y_axis.label, "middle", "", f' transform="rotate(-90 11 {middle:.1f})"')


def _tick_labels(canvas, axis, left, right, bottom) -> None:
    for value, text in axis.ticks:
        x = axis.place(value, left, right)
        half = 0.5 * _LETTER * len(text)
        anchor = "start" if x - half < 0 else "end" if x + half > WIDTH else "middle"
        canvas.text(x, bottom + 15, text, anchor, "soft")


def _legend(canvas, entries: Sequence[tuple[str, str]], left: float, y: float) -> float:
    """Rows of a swatch and a name; returns the height of the figure below them."""
    x = left
    for name, style in entries:
        name = _short(name, 52)
        width = 32 + _LETTER * len(name) + 14
        if x > left and x + width > WIDTH:
            x, y = left, y + 18
        if "target" in style:
            canvas.add(
                f'<rect class="area {style}" x="{x:.1f}" y="{y - 5:.1f}" width="26" height="10"/>'
            )
        else:
            canvas.rule(x, y, x + 26, y, f"line {style}")
        canvas.text(x + 32, y + 4, name)
        x += width
    return y + 14


def _path(points: Sequence[tuple[float, float]]) -> str:
    # Lines run far outside the frame where a rate is near 0; what is clipped need not be exact.
    return "".join(
        f"{'L' if n else 'M'}{min(9999, max(-9999, x)):.1f} {min(9999, max(-9999, y)):.1f}"
        for n, (x, y) in enumerate(points)
    )


def _short(name: str, room: int) -> str:
    return name if len(name) <= max(4, room) else name[: max(3, room - 1)] + "…"
