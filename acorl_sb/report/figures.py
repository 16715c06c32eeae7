"""The figures of the report, each made from the plain results and curves of ``fuse.py``."""

from __future__ import annotations

import math
from typing import Any

from acorl_sb.report import svg
from acorl_sb.report.curves import probit
from acorl_sb.report.svg import Axis, Bar, Figure, Series, key_of, member_style, ticks

_RATES = (0.01, 0.1, 0.001, 0.4, 0.05, 0.2, 0.0001, 0.02, 0.005, 0.002, 0.0005, 0.0002, 0.00001)
_MOST_BARS = 24


def det(results: dict[str, Any], curves: dict[str, Any]) -> Figure:
    """DET curves on normal-deviate axes, the EER of each as a dot."""
    table = {row["name"]: row for row in results["table"]}
    errors = [row["eer"] for row in table.values()]
    least = min(
        [rate for c in curves.values() for side in ("p_fa", "p_miss") for rate in c["det"][side]]
        or [0.01]
    )
    low = min(0.05, max(1e-5, least, min(errors) / 40))
    high = min(0.6, max(0.4, 4 * max(errors)))
    axes = [
        Axis(label, low, high, _rate_ticks(low, high), probit)
        for label in ("false alarm rate, %", "miss rate, %")
    ]
    series = [
        Series(
            name,
            _style(results, name),
            curve["det"]["p_fa"],
            curve["det"]["p_miss"],
            [
                (
                    table[name]["eer"],
                    table[name]["eer"],
                    f"{name}: EER {100 * table[name]['eer']:.2f} %",
                )
            ]
            if table[name]["eer"] > 0
            else [],
        )
        for name, curve in curves.items()
        # The line of the best single system is that of a member.
        if name != "best single" or name == results["fused_name"]
    ]
    best = min(table.values(), key=lambda row: row["eer"])
    return svg.line_chart(
        "det",
        "DET curves",
        "Miss rate against false alarm rate, both in percent on normal-deviate axes, of "
        f"{', '.join(s.name for s in series)}. Lowest equal error rate: {best['name']}, "
        f"{100 * best['eer']:.2f} percent.",
        *axes,
        series,
        square=True,
        diagonal=True,
    )


def histograms(results: dict[str, Any], curves: dict[str, Any]) -> list[Figure]:
    """Densities of calibrated scores of every system, with the decision thresholds marked."""
    figures = []
    for name, curve in curves.items():
        if name == "best single" and name != results["fused_name"]:
            continue
        marks = [(row["llr_threshold"], f"p = {row['p_target']:g}") for row in results["decisions"]]
        made = curve["histogram"]
        figures.append(
            svg.histogram_chart(
                f"histogram-{key_of(name)}",
                f"Scores of {name}",
                f"Density of the log-likelihood ratios of {name} over target and over non-target "
                "trials; dashed lines are the decision thresholds at the stated priors.",
                "log-likelihood ratio",
                made["edges"],
                [
                    ("target trials", "target", made["target"]),
                    ("non-target trials", "nontarget", made["nontarget"]),
                ],
                marks,
            )
        )
    return figures


def bayes(results: dict[str, Any], curves: dict[str, Any], name: str) -> Figure:
    """Normalised Bayes error rate of one system over the prior, actual and minimum."""
    curve = curves[name]["bayes"]
    odds = curve["prior_log_odds"]
    highest = max(1.1, min(1.6, max(curve["actual"])))
    priors = (0.001, 0.01, 0.1, 0.5, 0.9)
    x_axis = Axis(
        "effective prior of a target trial",
        odds[0],
        odds[-1],
        [(math.log(p / (1 - p)), f"{p:g}") for p in priors],
    )
    marks = [(-row["llr_threshold"], f"p = {row['p_target']:g}") for row in results["decisions"]]
    gap = max(a - m for a, m in zip(curve["actual"], curve["minimum"], strict=True))
    return svg.line_chart(
        f"bayes-{key_of(name)}",
        f"Bayes error rate of {name}",
        "Detection cost, normalised by that of deciding blindly, against the effective prior: "
        "actual at the Bayes threshold, and the minimum over thresholds. "
        f"Largest distance {gap:.3f}.",
        x_axis,
        Axis("normalised cost", 0.0, highest, ticks(0.0, highest, 6)),
        [
            Series("actual", "c0", odds, curve["actual"]),
            Series("minimum", "c1", odds, curve["minimum"]),
        ],
        marks=marks,
        levels=[(1.0, "deciding blindly")],
    )


def subsets(results: dict[str, Any]) -> Figure:
    """EER of every subset (of many: the best, the single ones and the path) with its interval."""
    names = results["systems"]
    made = results["contributions"]
    rows = sorted(made["subsets"], key=lambda row: row["figures"]["eer"])
    if len(rows) > _MOST_BARS:
        kept = [row for row in rows if len(row["members"]) == 1 or row["members"] in made["path"]]
        kept += [row for row in rows if row not in kept][: max(0, _MOST_BARS - len(kept))]
        rows = sorted(kept, key=lambda row: row["figures"]["eer"])
    bars = []
    for row in rows:
        interval = row["intervals"].get("eer")
        text = f"{100 * row['figures']['eer']:.2f} %"
        if interval:
            text += f" [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
            interval = [100 * v for v in interval]
        single = len(row["members"]) == 1
        style = member_style(row["members"][0]) if single else ""
        if len(row["members"]) == len(names):
            style = "fused"
        label = " + ".join(names[m] for m in row["members"])
        bars.append(Bar(label, 100 * row["figures"]["eer"], text, style, interval))
    counted = (
        f"{len(rows)} of {len(made['subsets'])} subsets"
        if len(rows) < len(made["subsets"])
        else f"all {len(rows)} subsets"
    )
    return svg.bar_chart(
        "subsets",
        "EER of subsets of members",
        f"Equal error rate in percent of {counted}, lowest first: {bars[0].name}, {bars[0].text}.",
        "EER, %",
        bars,
    )


def heat_maps(results: dict[str, Any]) -> list[Figure]:
    """Correlation of scores (targets, non-targets) and share of common errors between members."""
    names = results["systems"]
    figures = []
    for kind, words in (("target", "target"), ("nontarget", "non-target")):
        figures.append(
            svg.heat_map(
                f"correlation-{kind}",
                f"Correlation of scores, {words} trials",
                f"Correlation between members of the scores of {words} trials: "
                + _pairs(names, results["correlation"][kind], "{:.2f}"),
                names,
                results["correlation"][kind],
            )
        )
    figures.append(
        svg.heat_map(
            "common-errors",
            "Share of common errors",
            "Of the trials that either member gets wrong, each at its own EER threshold, the share "
            "both get wrong: " + _pairs(names, results["common_errors"]["share"], "{:.0%}"),
            names,
            results["common_errors"]["share"],
            text=lambda value: f"{100 * value:.0f} %",
        )
    )
    return figures


def training(members: dict[str, list[dict[str, Any]]]) -> list[Figure]:
    """Loss, adversary loss, push and development EER over the epochs, one line per member."""
    wanted = (
        ("dev_eer", "Development EER", "EER, %", 100.0),
        ("task_loss", "Task loss", "loss", 1.0),
        ("adversary_loss", "Adversary loss", "loss", 1.0),
        ("push", "Push c(p)", "push", 1.0),
    )
    figures = []
    for key, title, label, scale in wanted:
        series = []
        of_parts = {
            # A combined objective logs each part's figures under the part's name.
            (name, found): (f"{name} {found.removesuffix(key)}".rstrip(" ."), number)
            for number, (name, epochs) in enumerate(members.items())
            for found in dict.fromkeys(k for e in epochs for k in e)
            if found == key or found.endswith(f".{key}")
        }
        for (member, found), (name, number) in of_parts.items():
            epochs = members[member]
            points = [(e["epoch"], scale * e[found]) for e in epochs if _is_number(e.get(found))]
            if points and not (key in ("adversary_loss", "push") and not any(y for _, y in points)):
                x, y = zip(*points, strict=True)
                dots = [(x[-1], y[-1], f"{name}: {y[-1]:.3g}")]
                series.append(Series(name, member_style(number), x, y, dots))
        if not series:
            continue
        xs, ys = [x for s in series for x in s.x], [y for s in series for y in s.y]
        first, last = min(xs), max(max(xs), min(xs) + 1)
        low, high = min(0.0, *ys), max(ys)
        high += 0.06 * (high - low) or 1.0
        ends = ", ".join(f"{s.name} {s.y[-1]:.3g}" for s in series)
        figures.append(
            svg.line_chart(
                f"training-{key_of(key)}",
                title,
                f"{title} by epoch of each member; at the end: {ends}.",
                Axis("epoch", first, last, _whole_ticks(first, last)),
                Axis(label, low, high, ticks(low, high)),
                series,
            )
        )
    return figures


# ------------------------------------------------------------------------------------------------


def _style(results: dict[str, Any], name: str) -> str:
    if name in results["systems"]:
        return member_style(results["systems"].index(name))
    if name == results["fused_name"]:
        return "fused"
    others = [
        row["name"]
        for row in results["table"]
        if row["kind"] == "fusion" and row["name"] not in (results["fused_name"], "best single")
    ]
    return ("fused second", "fused third", "fused fourth")[others.index(name) % 3]


def _rate_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round rates far enough apart to be read, the roundest first."""
    span = float(probit(high) - probit(low))
    kept: list[float] = []
    for rate in _RATES:
        if low <= rate <= high and all(
            abs(float(probit(rate) - probit(other))) > 0.075 * span for other in kept
        ):
            kept.append(rate)
    return [(rate, f"{100 * rate:g}") for rate in sorted(kept)]


def _whole_ticks(low: float, high: float) -> list[tuple[float, str]]:
    return [(value, f"{value:.0f}") for value, _ in ticks(low, high) if value == round(value)]


def _pairs(names, values, form: str) -> str:
    texts = [
        f"{names[i]} and {names[j]} {'n/a' if values[i][j] is None else form.format(values[i][j])}"
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    return ", ".join(texts) + "."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
