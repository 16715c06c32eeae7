"""The pictures of an analysis; PNG files, drawn with matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from acorl_sb.analysis.maps import smooth
from acorl_sb.analysis.trials import MemberMaps
from acorl_sb.analysis.voicing import NAMES
from acorl_sb.files import atomic_path

COLOURS = ("#2563a8", "#c2560c", "#3f7d4e", "#7a4a9e", "#6b6b6b", "#a8325e")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
"""A member has its colour and its dash in every picture, so that either alone tells it."""

_RAISES, _LOWERS = "#c0262d", "#1f5fbf"


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Write a figure whole or not at all."""
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, facecolor="white", bbox_inches="tight")


def trial_maps(
    members: dict[str, MemberMaps],
    row: int,
    opposite: int,
    title: str,
    neighbourhood: tuple[int, int],
    seconds: float,
) -> Figure:
    """One trial: the log-mel input of both sides, and each member's map laid over it."""
    names = list(members)
    figure = Figure(figsize=(10, 1.2 + 1.9 * (len(names) + 1)), layout="constrained")
    axes = figure.subplots(len(names) + 1, 2, sharex=True, squeeze=False)
    for column, (side, at) in enumerate((("enrolment", row), ("test", opposite))):
        first = members[names[0]]
        _spectrogram(axes[0, column], first, at, seconds, "viridis")
        axes[0, column].set_title(f"{side}: log-mel input")
        _class_strip(axes[0, column], first.classes[at], seconds)
        for line, name in enumerate(names, 1):
            made = members[name]
            _spectrogram(axes[line, column], made, at, seconds, "Greys")
            cells = smooth(made.found.maps[at : at + 1].numpy(), *neighbourhood)[0]
            _overlay(axes[line, column], cells, made, seconds)
            axes[line, column].set_title(f"{name}: score {float(made.found.score[at]):.2f}")
    for axis in axes[-1]:
        axis.set_xlabel("time, s")
    figure.suptitle(
        f"{title}\nred cells raise the score, blue ones lower it; "
        "strip on top: black voiced, grey unvoiced, white silence",
        fontsize=11,
    )
    return figure


def _spectrogram(axis, made: MemberMaps, at: int, seconds: float, colours: str) -> None:
    cells = made.features[at].numpy()
    low, high = np.percentile(cells, [2, 99.5])
    top = high + (0.6 * (high - low) if colours == "Greys" else 0)  # pale, to be drawn upon
    axis.imshow(
        cells.T, origin="lower", aspect="auto", extent=_extent(cells, seconds), cmap=colours,
        interpolation="nearest", vmin=low, vmax=top,
    )  # fmt: skip
    _mel_axis(axis, made)


def _overlay(axis, cells: np.ndarray, made: MemberMaps, seconds: float) -> None:
    limit = np.percentile(np.abs(cells), 99.5) or 1.0
    strength = np.clip(np.abs(cells) / limit, 0, 1) ** 0.7
    colour = np.where(
        cells[..., None] > 0,
        to_rgb(_RAISES),
        to_rgb(_LOWERS),
    )
    layer = np.concatenate([colour, 0.9 * strength[..., None]], axis=-1)  # (F, M, RGBA)
    axis.imshow(
        layer.transpose(1, 0, 2), origin="lower", aspect="auto", extent=_extent(cells, seconds),
        interpolation="nearest",
    )  # fmt: skip


def _class_strip(axis, classes: np.ndarray, seconds: float) -> None:
    """A strip along the top: voiced black, unvoiced grey, silence white."""
    shade = np.array([1.0, 0.6, 0.0])[classes][None]
    strip = axis.inset_axes((0, 1.0, 1, 0.04))
    strip.imshow(shade, aspect="auto", cmap="gray", vmin=0, vmax=1, extent=(0, seconds, 0, 1))
    strip.set_axis_off()
    axis.set_title(axis.get_title(), pad=10)


def _extent(cells: np.ndarray, seconds: float) -> tuple[float, float, float, float]:
    return (0, seconds, 0, cells.shape[1])


def _mel_axis(axis, made: MemberMaps) -> None:
    bands = made.features.shape[2]
    if made.hertz is None:
        axis.set_ylabel("mel band")
        return
    wanted = [h for h in (250, 500, 1000, 2000, 4000) if made.hertz[0] < h < made.hertz[-1]]
    axis.set_yticks(np.interp(wanted, made.hertz, np.arange(bands) + 0.5), _kilo(wanted))
    axis.set_ylabel("kHz")


def _kilo(hertz: Sequence[float]) -> list[str]:
    return [f"{h / 1000:g}" for h in hertz]


def profiles(summaries: dict[str, dict[str, Any]]) -> Figure:
    """Share of each frequency in the members' maps, and density on voiced, unvoiced, silence."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    hertz = None
    for place, (name, summary) in enumerate(summaries.items()):
        profile = np.asarray(summary["frequency"]["all"]) * len(summary["frequency"]["all"])
        hertz = summary["frequency"]["hertz"]
        across = np.arange(len(profile)) if hertz is None else np.asarray(hertz)
        left.plot(across, profile, color=_colour(place), linestyle=_dash(place), label=name)
    if hertz is not None:
        left.set_xscale("function", functions=(_mel, _from_mel))
        left.set_xticks(
            [250, 500, 1000, 2000, 4000, 7000], _kilo([250, 500, 1000, 2000, 4000, 7000])
        )
    left.axhline(1, color="0.6", linewidth=0.8)
    left.set(
        xlabel="mel band" if hertz is None else "frequency, kHz (mel scale)",
        ylabel="attribution per cell (1: all cells alike)",
        title="Where in frequency",
    )
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    width = 0.8 / len(summaries)
    for place, (name, summary) in enumerate(summaries.items()):
        density = [summary["time"]["all"][kind]["density"] for kind in NAMES]
        where = np.arange(len(NAMES)) + (place - (len(summaries) - 1) / 2) * width
        bars = right.bar(where, density, 0.9 * width, color=_colour(place), label=name)
        right.bar_label(bars, [f"{d:.2f}" for d in density], fontsize=8)
    frames = next(iter(summaries.values()))["time"]["all"]
    right.set_xticks(
        range(len(NAMES)),
        [f"{kind}\n{100 * frames[kind]['frames']:.0f} % of frames" for kind in NAMES],
    )
    right.axhline(1, color="0.6", linewidth=0.8)
    right.set(ylabel="attribution per frame (1: all frames alike)", title="Where in time")
    _plain(left, right)
    return figure


def deletion(summaries: dict[str, dict[str, Any]]) -> Figure:
    """Score against the part of the cells that is taken away, by ranking, a panel a member."""
    names = list(summaries)
    figure = Figure(figsize=(max(6.0, 3.6 * len(names)), 3.6), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    marks = {"map": ("o", "-"), "another trial's map": ("s", "--"), "random": ("x", ":")}
    for axis, name in zip(axes, names, strict=True):
        found = summaries[name]["deletion"]
        across = [0, *(100 * share for share in found["shares"])]
        for place, (ranking, (marker, dash)) in enumerate(marks.items()):
            score = [found["score_target"], *found["curves_target"][ranking]]
            axis.plot(
                across,
                score,
                dash,
                marker=marker,
                markersize=4,
                color=_colour(place),
                label=ranking,
            )
        axis.set(xlabel="cells taken away, %", title=name)
    axes[0].set_ylabel("mean score of target trials")
    axes[0].legend(frameon=False, title="taken first by")
    _plain(*axes)
    return figure


def likeness(names: Sequence[str], tables: dict[str, np.ndarray]) -> Figure:
    """Heat maps, members by members; each table (K, K) in [0, 1], NaN left blank."""
    columns = 3
    lines = -(-len(tables) // columns)
    cell = 1.9 + 0.3 * len(names)
    figure = Figure(figsize=(columns * cell + 0.6, lines * (cell + 0.4)), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(tables) :]:
        axis.set_visible(False)
    axes = axes[: len(tables)]
    for axis, (title, table) in zip(axes, tables.items(), strict=True):
        axis.imshow(table, cmap="cividis", vmin=0, vmax=1)
        for i, j in np.ndindex(*table.shape):
            if np.isfinite(table[i, j]):
                ink = "black" if table[i, j] > 0.5 else "white"
                axis.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", color=ink)
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.set_title(title, fontsize=10)
    return figure


def spectra(pairs: dict[str, dict[str, Sequence[float]]]) -> Figure:
    """Canonical correlations in falling order: a line a pair, whole and within speakers."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    panels = (("whole", "Whole embeddings"), ("within", "Within speakers"))
    for axis, (key, title) in zip(axes, panels, strict=True):
        for place, (name, values) in enumerate(pairs.items()):
            if values[key] is not None:
                order = np.sort(values[key])[::-1]
                axis.plot(range(1, len(order) + 1), order, color=_colour(place),
                          linestyle=_dash(place), label=name)  # fmt: skip
        axis.axhline(0, color="0.6", linewidth=0.8)
        axis.set(xlabel="canonical direction", title=title)
    axes[0].set_ylabel("correlation on held-out speakers")
    axes[0].legend(frameon=False)
    _plain(*axes)
    return figure


def _mel(hertz):
    return 2595 * np.log10(1 + np.maximum(hertz, 0) / 700)


def _from_mel(mel):
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _dash(place: int):
    return DASHES[place % len(DASHES)]


def _plain(*axes) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)


def write_all(folder: Path, figures: dict[str, Figure]) -> list[str]:
    """Write every figure as ``<name>.png``; returns the file names."""
    for name, figure in figures.items():
        save(figure, folder / f"{name}.png")
    return [f"{name}.png" for name in figures]
