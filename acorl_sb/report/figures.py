"""The pictures of a fusion report, made from the results and curves of ``fuse.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator
from scipy.special import logit
from scipy.special import ndtri as probit

from acorl_sb.fusion.models import LABELS
from acorl_sb.report.curves import coinciding
from acorl_sb.report.plots import (
    LETTER,
    Series,
    flag_lines,
    heat_map,
    line_plot,
    look,
    panel,
    shorten,
    styled,
)
from acorl_sb.report.style import DASHES, LIGHT, WIDTH, Picture, key_of

_RATES = (0.01, 0.1, 0.001, 0.4, 0.05, 0.2, 0.0001, 0.02, 0.005, 0.002, 0.0005, 0.0002, 0.00001)
_MOST_BARS = 24


def shown(results: dict[str, Any], curves: dict[str, Any]) -> dict[str, Any]:
    """Curves without those of the best single system, which are a member's, unless it is fused."""
    best = LABELS["best_single"]
    return {name: c for name, c in curves.items() if name != best or name == results["fused_name"]}


@styled
def det(results: dict[str, Any], curves: dict[str, Any]) -> Picture:
    """DET curves on normal-deviate axes, the EER of each as a ring on the diagonal."""
    errors = {row["name"]: row["eer"] for row in results["table"]}
    drawn = {name: c["det"] for name, c in shown(results, curves).items()}
    least = min([r for c in drawn.values() for s in ("p_fa", "p_miss") for r in c[s]] or [0.01])
    low = min(0.05, max(1e-5, least, min(errors.values()) / 40))
    high = min(0.6, max(0.4, 4 * max(errors.values())))
    series = []
    for name, curve in drawn.items():
        text = f"{shorten(name, 30)}: EER {100 * errors[name]:.2f} %"
        dots = [(probit(errors[name]),) * 2] if errors[name] > 0 else []
        x, y = probit(np.array(curve["p_fa"])), probit(np.array(curve["p_miss"]))
        series.append(Series(text, x, y, _look(results, name), dots))
    figure, axis = line_plot(series, WIDTH - 0.7)
    axis.axline((0, 0), slope=1, color=LIGHT["rule"], linewidth=1, zorder=0)
    ticks = _rate_ticks(low, high)
    for side, name in ((axis.xaxis, "false-alarm rate, %"), (axis.yaxis, "miss rate, %")):
        side.set_ticks(probit(np.array(ticks)), [f"{100 * rate:g}" for rate in ticks])
        side.set_label_text(name)
    axis.set(xlim=probit(np.array([low, high])), ylim=probit(np.array([low, high])))
    groups = coinciding(drawn)
    note = "Curves coincide: " + "; ".join(", ".join(g) for g in groups) + "." if groups else ""
    return Picture(
        "det", "DET curves",
        "Miss rate against false-alarm rate, both in percent on normal-deviate axes; a ring marks "
        "the equal error rate. " + "; ".join(
            f"{name}: EER {100 * errors[name]:.2f} percent" for name in drawn) + ".",
        figure, note,
    )  # fmt: skip


@styled
def histograms(results: dict[str, Any], curves: dict[str, Any]) -> list[Picture]:
    """Densities of the calibrated scores of every system, with the decision thresholds."""
    marks = _marks(results, 1)
    made = {name: curve["histogram"] for name, curve in shown(results, curves).items()}
    low = min([h["edges"][0] for h in made.values()] + [x for x, _ in marks])
    high = max([h["edges"][-1] for h in made.values()] + [x for x, _ in marks])
    highest = max(max(h[kind]) for h in made.values() for kind in ("target", "nontarget")) or 1.0
    pictures: list[Picture] = []
    for name, found in made.items():
        figure, axis = panel(1.9, 0.45, legend=1)
        for kind, label, dash in (("target", "target", "-"), ("nontarget", "non-target", "--")):
            colour = LIGHT[kind]
            axis.stairs(found[kind], found["edges"], fill=True, color=(*to_rgb(colour), 0.25))
            outline = {"color": colour, "linestyle": dash, "linewidth": 1.5, "gid": f"line-{kind}"}
            axis.stairs(found[kind], found["edges"], label=f"{label} trials", **outline)
        axis.set_xlim(low, high)
        room = flag_lines(axis, marks)
        axis.set(ylim=(0, highest / room), yticks=[], xlabel="log-likelihood ratio")
        axis.set_ylabel("density")
        axis.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, -0.45 / 1.9))
        pictures.append(Picture(
            "histogram-" + key_of(name, [p.key[10:] for p in pictures]), f"Scores of {name}",
            f"Density of the log-likelihood ratios of {name} over target and over non-target "
            "trials, with the decision thresholds: "
            + ", ".join(f"{x:.2f} at {text}" for x, text in marks) + ".",
            figure,
        ))  # fmt: skip
    return pictures


@styled
def bayes(results: dict[str, Any], curves: dict[str, Any], name: str) -> Picture:
    """Normalised Bayes error rate of one system over the prior, actual and minimum."""
    curve = curves[name]["bayes"]
    odds = curve["prior_log_odds"]
    series = [
        Series(kind, odds, curve[kind], {**look(place), "marker": None})
        for place, kind in enumerate(("actual", "minimum"))
    ]
    default = {"color": LIGHT["soft"], "linewidth": 1.0, "linestyle": DASHES[2]}
    series.append(Series("default (no-score) system", (odds[0], odds[-1]), (1, 1), default))
    figure, axis = line_plot(series, WIDTH - 0.7)
    axis.set_xlim(odds[0], odds[-1])
    room = flag_lines(axis, _marks(results, -1))
    priors = (0.001, 0.01, 0.1, 0.5, 0.9)
    axis.set_xticks(logit(priors), [f"{p:g}" for p in priors])
    axis.set(ylim=(0, max(1.1, min(1.6, max(curve["actual"]))) / room))
    axis.set(xlabel="effective prior of a target trial", ylabel="normalised cost")
    return Picture(
        f"bayes-{key_of(name)}", f"Bayes error rate of {name}",
        "Detection cost, normalised by that of the default system, which looks at no score, "
        "against the effective prior: actual at the Bayes threshold, and the minimum over all "
        "thresholds.",
        figure,
    )  # fmt: skip


@styled
def subsets(results: dict[str, Any]) -> Picture:
    """EER of every subset (of many: the best, the single ones and the path) with its interval."""
    names, made = results["systems"], results["contributions"]
    rows = sorted(made["subsets"], key=lambda row: row["figures"]["eer"])
    if len(rows) > _MOST_BARS:
        kept = [row for row in rows if len(row["members"]) == 1 or row["members"] in made["path"]]
        kept += [row for row in rows if row not in kept][: max(0, _MOST_BARS - len(kept))]
        rows = sorted(kept, key=lambda row: row["figures"]["eer"])
    figure, axis = panel(0.34 * len(rows), 0.1)
    across = axis.get_yaxis_transform()
    for y, row in enumerate(rows):
        value, interval = 100 * row["figures"]["eer"], row["intervals"].get("eer")
        text = f"{value:.2f} %"
        if interval:
            low, high = (100 * v for v in interval)
            text += f" [{low:.2f}, {high:.2f}]"
            axis.errorbar(value, y + 0.2, xerr=[[max(0, value - low)], [max(0, high - value)]],
                          color=LIGHT["ink"], capsize=3, linewidth=1.4, zorder=3)  # fmt: skip
        single, every = len(row["members"]) == 1, len(row["members"]) == len(names)
        colour = look(row["members"][0])["color"] if single else LIGHT["ink" if every else "c7"]
        axis.barh(y + 0.2, value, 0.3, color=(*to_rgb(colour), 0.55), zorder=2)
        label = " + ".join(names[m] for m in row["members"])
        room = int((WIDTH - 0.3) / LETTER) - len(text)
        axis.text(0, y - 0.05, shorten(label, room), va="bottom", transform=across)
        axis.text(1, y - 0.05, text, va="bottom", ha="right", transform=across, color=LIGHT["soft"])
    axis.set(ylim=(len(rows) - 0.5, -0.55), yticks=[], xlabel="EER, %")
    axis.set_xlim(left=0)
    axis.spines["left"].set_visible(False)
    every = "all" if len(rows) == len(made["subsets"]) else f"{len(made['subsets'])}, here the best"
    return Picture(
        "subsets", "EER of subsets of members",
        f"Equal error rate in percent of {len(rows)} subsets of members (of {every}), lowest "
        "first, with intervals; the table of all subsets has the same numbers.",
        figure,
    )  # fmt: skip


def similarity(results: dict[str, Any]) -> list[Picture]:
    """Correlation of scores (target, non-target trials) and error overlap between members."""
    names = results["systems"]
    made = [
        heat_map(f"correlation-{kind}", f"Correlation of scores, {words} trials",
                 f"Correlation between members of the scores of {words} trials",
                 names, results["correlation"][kind])
        for kind, words in (("target", "target"), ("nontarget", "non-target"))
    ]  # fmt: skip
    words = "Of the trials that either member gets wrong, each at its own EER threshold, the share "
    return [
        *made,
        heat_map("error-overlap", "Error overlap", f"{words}that both get wrong", names,
                 results["error_overlap"]["share"], lambda value: f"{100 * value:.0f} %"),
    ]  # fmt: skip


@styled
def training(members: dict[str, list[dict[str, Any]]]) -> list[Picture]:
    """Losses, weight of the complementarity loss and development EER, one line per member.

    A figure that no member has of two epochs is left out.
    """
    wanted = (
        ("dev_eer", "Development EER", "EER, %", 100.0),
        ("task_loss", "Task loss", "loss", 1.0),
        ("adversary_loss", "Loss of the adversary", "loss", 1.0),
        ("weight", "Weight of the complementarity loss", "weight", 1.0),
    )
    last = max([e["epoch"] for epochs in members.values() for e in epochs] + [2.0])
    pictures = []
    for key, title, label, scale in wanted:
        series = []
        of_parts = {
            # A combined objective logs each part's figures under the part's name.
            (name, found): (f"{name} {found.removesuffix(key)}".rstrip(" ."), place)
            for place, (name, epochs) in enumerate(members.items())
            for found in dict.fromkeys(k for e in epochs for k in e)
            if found == key or found.endswith(f".{key}")
        }
        for (member, found), (name, place) in of_parts.items():
            epochs = members[member]
            points = [(e["epoch"], scale * e[found]) for e in epochs if _is_number(e.get(found))]
            if any(y for _, y in points) or (points and key in ("dev_eer", "task_loss")):
                series.append(Series(name, *zip(*points, strict=True), look(place)))
        if all(len(s.x) < 2 for s in series):  # points of single epochs show no course
            continue
        figure, axis = line_plot(series)
        axis.set(xlabel="epoch", ylabel=label, xlim=(0.9, last + 0.1))
        values = [y for s in series for y in s.y]
        axis.set_ylim(min(0.0, *values), max(values) + 0.06 * max(map(abs, values)) or 1.0)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ends = ", ".join(f"{s.name} {s.y[-1]:.3g}" for s in series)
        pictures.append(Picture(
            f"training-{key_of(key)}", title,
            f"{title} by epoch of each member; at the end: {ends}.", figure,
        ))  # fmt: skip
    return pictures


# ------------------------------------------------------------------------------------------------


def _marks(results: dict[str, Any], sign: int) -> list[tuple[float, str]]:
    return [(sign * r["llr_threshold"], f"p = {r['p_target']:g}") for r in results["decisions"]]


def _look(results: dict[str, Any], name: str) -> dict[str, Any]:
    """A member's look; the fused system is a broad black line, other fusions narrow ones."""
    if name in results["systems"]:
        return look(results["systems"].index(name))
    if name == results["fused_name"]:
        return {"color": LIGHT["ink"], "linewidth": 3.2}
    others = [row["name"] for row in results["table"] if row["kind"] == "fusion"]
    place = others.index(name)
    marker, dash = "1x+|"[place % 4], DASHES[1 + place % 4]
    return {"color": LIGHT["ink"], "linewidth": 1.2, "marker": marker, "linestyle": dash}


def _rate_ticks(low: float, high: float) -> list[float]:
    """Round rates far enough apart to be read, the roundest first."""
    span = probit(high) - probit(low)
    kept: list[float] = []
    for rate in _RATES:
        if low <= rate <= high and all(
            abs(probit(rate) - probit(other)) > 0.075 * span for other in kept
        ):
            kept.append(rate)
    return sorted(kept)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))
