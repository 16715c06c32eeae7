"""The pictures of an analysis, made from its results; Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from acorl_sb.analysis.analysis_run import Attributed, telling_trial
from acorl_sb.analysis.attributed_trials import MemberMaps
from acorl_sb.analysis.maps import smooth
from acorl_sb.analysis.voicing import NAMES
from acorl_sb.report.plots import Series, heat_map, line_plot, look, panel, styled
from acorl_sb.report.style import LIGHT, WIDTH, Picture, key_of

_RAISES, _LOWERS = "#c0262d", "#1f5fbf"
_HERTZ = (500, 1000, 2000, 4000, 7000)


def of_attribution(
    made: Attributed, neighbourhood: tuple[int, int], seconds: float
) -> dict[str, list[Picture]]:
    """The pictures of an attribution by where they stand: ``attribution`` and ``trials``."""
    pictures: dict[str, list[Picture]] = {"attribution": [], "trials": []}
    if made.maps:
        summaries = made.results["members"]
        pictures["attribution"] = [*deletion(summaries), *profiles(summaries)]
        for kind, target in (("target", True), ("non-target", False)):
            row = telling_trial(made.maps, made.sides, target)
            rows = (row, int(made.sides.opposite[row]))
            pictures["trials"] += trial_maps(
                f"maps-{kind}", f"A {kind} trial", made.maps, rows, neighbourhood, seconds
            )
    return pictures


def similarity(results: dict[str, Any]) -> list[Picture]:
    """Heat maps of members by members, a measure each; pairs that were not compared stay blank."""
    names = list(results["members"])
    measures = {
        "CKA": lambda e, s: (e["cka"],) * 2,
        "CKA within speakers": lambda e, s: ((e["within_speaker"] or {}).get("cka"),) * 2,
        "R² of the MLP probe, row read from column": lambda e, s: (
            e["r2"]["first_from_second"]["mlp"]["value"],
            e["r2"]["second_from_first"]["mlp"]["value"],
        ),
        "Correlation of non-target scores": lambda e, s: (s["correlation"]["nontarget"],) * 2,
        "Error overlap": lambda e, s: (s["error_overlap"]["share"],) * 2,
    }
    pictures = []
    for number, (title, measure) in enumerate(measures.items()):
        table: list[list[float | None]] = [[None] * len(names) for _ in names]
        for n in range(len(names)):
            table[n][n] = 1.0
        for pair in results["pairs"]:
            i, j = names.index(pair["first"]), names.index(pair["second"])
            table[i][j], table[j][i] = measure(pair["embeddings"], pair["scores"])
        words = f"{title}, member by member"
        pictures.append(heat_map(f"similarity-{number}", title, words, names, table))
    return pictures


@styled
def spectra(results: dict[str, Any]) -> list[Picture]:
    """Held-out canonical correlations, a line a pair: whole and within speakers.

    The order is that of the training folds: sorted by their held-out values, even those of
    independent members would fall.
    """
    pictures = []
    for key, title in (("whole", "whole embeddings"), ("within", "within speakers")):
        series = []
        for place, pair in enumerate(results["pairs"]):
            found = pair["embeddings"] if key == "whole" else pair["embeddings"]["within_speaker"]
            if found:
                held = found["canonical_spectrum"]
                series.append(Series(pair["name"], range(1, len(held) + 1), held, look(place)))
        if series:
            figure, axis = line_plot(series)
            axis.set(xlabel="canonical direction", ylabel="correlation, held-out speakers")
            axis.set_ylim(-0.55, 1.05)
            pictures.append(Picture(
                f"canonical-{key}", f"Canonical correlations, {title}",
                "Correlation along each canonical direction, measured on speakers that the "
                "directions were not fitted on, in the order of those they were fitted on.", figure,
            ))  # fmt: skip
    return pictures


@styled
def deletion(summaries: dict[str, dict[str, Any]]) -> list[Picture]:
    """Mean score of all trials against the part of the bins that is masked, a picture a member."""
    kinds = {"map": "the map", "another trial's map": "another trial's map", "random": "chance"}
    found = {name: summary["deletion"] for name, summary in summaries.items()}
    values = [v for d in found.values() for k in kinds for v in (d["score"], *d["curves"][k])]
    pad = 0.06 * (max(values) - min(values)) or 0.1
    pictures: list[Picture] = []
    for name, made in found.items():
        across = [0, *(100 * share for share in made["shares"])]
        series = [
            Series(f"masked first by {words}", across, [made["score"], *made["curves"][kind]],
                   look(place))
            for place, (kind, words) in enumerate(kinds.items())
        ]  # fmt: skip
        figure, axis = line_plot(series)
        axis.set(xlabel="masked time–frequency bins, %", ylabel="mean score, all trials")
        axis.set_ylim(min(values) - pad, max(values) + pad)
        pictures.append(Picture(
            "deletion-" + key_of(name, [p.key[9:] for p in pictures]), f"Deletion curves of {name}",
            "Mean score of target and non-target trials together against the part of the "
            "time–frequency bins that is masked, by the order in which they are masked.", figure,
        ))  # fmt: skip
    return pictures


@styled
def profiles(summaries: dict[str, dict[str, Any]]) -> list[Picture]:
    """Attribution by frequency, and on voiced, unvoiced and silent frames."""
    series, hertz = [], None
    for place, (name, summary) in enumerate(summaries.items()):
        hertz = summary["frequency"]["hertz"]
        profile = np.asarray(summary["frequency"]["all"])
        across = np.arange(len(profile)) if hertz is None else _mel(np.asarray(hertz))
        series.append(Series(name, across, profile * len(profile), look(place)))
    figure, axis = line_plot(series)
    axis.axhline(1, color=LIGHT["soft"], linewidth=0.8)
    axis.set_ylim(bottom=0)
    axis.set(xlabel="mel band", ylabel="attribution (1: the mean)")
    if hertz is not None:
        wanted = [h for h in _HERTZ if h <= hertz[-1]]
        axis.set_xticks(_mel(np.array(wanted)), _kilo(wanted))
        axis.set_xlabel("frequency, kHz (mel scale)")
    time, axis = panel(2.3, legend=len(series))
    width = 0.8 / len(summaries)
    for place, (name, summary) in enumerate(summaries.items()):
        density = [summary["time"]["all"][kind]["density"] or 0.0 for kind in NAMES]
        where = np.arange(len(NAMES)) + (place - (len(summaries) - 1) / 2) * width
        colour = (*to_rgb(look(place)["color"]), 0.55)
        axis.bar(where, density, 0.9 * width, color=colour, label=name)
    axis.axhline(1, color=LIGHT["soft"], linewidth=0.8)
    frames = next(iter(summaries.values()))["time"]["all"]
    axis.set_xticks(range(len(NAMES)), [f"{k} ({100 * frames[k]['frames']:.0f} %)" for k in NAMES])
    axis.set(ylabel="attribution (1: the mean)", xlabel="class of frame (its share of frames)")
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.45 / 2.3))
    words = "as a multiple of the mean over all; 1 says that all count alike."
    return [
        Picture("profile-frequency", "Attribution by frequency",
                f"Attribution of each mel band, {words}", figure),
        Picture("profile-time", "Attribution by class of frame",
                f"Attribution of silent, unvoiced and voiced frames, {words}", time),
    ]  # fmt: skip


@styled
def trial_maps(
    key: str,
    title: str,
    members: dict[str, MemberMaps],
    rows: Sequence[int],
    neighbourhood: tuple[int, int],
    seconds: float,
) -> list[Picture]:
    """One trial, a picture a side: its log-mel input, and each member's map laid over it."""
    pictures = []
    for side, at in zip(("enrolment", "test"), rows, strict=True):
        count, high = len(members) + 1, 1.3
        total = count * (high + 0.35) + 0.45
        figure = Figure(figsize=(WIDTH, total))
        for line, name in enumerate(["log-mel input", *members]):
            made = members.get(name) or next(iter(members.values()))
            bottom = total - (line + 1) * (high + 0.35)
            axis = figure.add_axes((0.6 / WIDTH, bottom / total, 3.3 / WIDTH, high / total))
            _spectrogram(axis, made, at, seconds, pale=line > 0)
            heading = name
            if line:
                cells = smooth(made.found.maps[at : at + 1].numpy(), *neighbourhood)[0]
                axis.imshow(_overlay(cells), **_place(cells, seconds))
                heading = f"{name}: score {float(made.found.score[at]):.2f}"
            axis.set_title(heading, loc="left", pad=9)
            _class_strip(axis, made.classes[at])
            axis.tick_params(labelbottom=line == count - 1)
        axis.set_xlabel("time, s")
        pictures.append(Picture(
            f"{key}-{side}", f"{title}, {side} side",
            "Time and frequency. Red bins raise the score, blue ones lower it; strip on top: "
            "black voiced, grey unvoiced, white silence.", figure,
            "Red raises the score, blue lowers it. Strip on top: black voiced, grey unvoiced, "
            "white silence.",
        ))  # fmt: skip
    return pictures


def _spectrogram(axis: Axes, made: MemberMaps, at: int, seconds: float, pale: bool) -> None:
    cells = made.features[at].numpy()
    low, high = np.percentile(cells, [2, 99.5])
    top = high + (0.6 * (high - low) if pale else 0)  # pale, to be drawn upon
    axis.imshow(cells.T, cmap="Greys" if pale else "viridis", vmin=low, vmax=top,
                **_place(cells, seconds))  # fmt: skip
    axis.grid(False)
    axis.set_ylabel("mel band" if made.hertz is None else "kHz")
    if made.hertz is not None:
        wanted = [h for h in _HERTZ if made.hertz[0] < h < made.hertz[-1]]
        bands = np.arange(cells.shape[1]) + 0.5
        axis.set_yticks(np.interp(wanted, made.hertz, bands), _kilo(wanted))


def _place(cells: np.ndarray, seconds: float) -> dict[str, Any]:
    extent = (0, seconds, 0, cells.shape[1])
    return {"origin": "lower", "aspect": "auto", "interpolation": "nearest", "extent": extent}


def _overlay(cells: np.ndarray) -> np.ndarray:
    """(M, F, RGBA) of a map (F, M): the colour is the sign, how opaque it is the size."""
    limit = np.percentile(np.abs(cells), 99.5) or 1.0
    strength = np.clip(np.abs(cells) / limit, 0, 1) ** 0.7
    colour = np.where(cells[..., None] > 0, to_rgb(_RAISES), to_rgb(_LOWERS))
    return np.concatenate([colour, 0.9 * strength[..., None]], axis=-1).transpose(1, 0, 2)


def _class_strip(axis: Axes, classes: np.ndarray) -> None:
    strip = axis.inset_axes((0, 1.02, 1, 0.05))
    strip.imshow(np.array([1.0, 0.6, 0.0])[classes][None], aspect="auto", cmap="gray", vmin=0,
                 vmax=1)  # fmt: skip
    strip.set_axis_off()


def _kilo(hertz: Sequence[float]) -> list[str]:
    return [f"{h / 1000:g}" for h in hertz]


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hertz / 700)
