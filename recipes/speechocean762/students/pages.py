"""The study's page: tables of students, doubt, groups and mitigation, and a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from acorl_sb.fusion.disagreement import ANSWERED, Disagreement
from acorl_sb.metrics.selective import error_probability
from acorl_sb.report.style import Picture
from acorl_sb.utils.tables import markdown
from students import by_group, pareto
from students.systems import (
    LOGISTIC,
    MEAN,
    PRIOR,
    Systems,
    over_seeds,
    relative,
    told,
    worst,
)

ATTRIBUTES = ("gender", "age")
STRENGTHS = (0.0, 0.5, 1.0)
BALANCED = "balance_"  # a run of that strength; strength 0 is the single
BALANCE, CALIBRATION = "balanced sampling", "calibration by age"


def make(folder: Path, tree: Mapping[str, Any]) -> tuple[str, list[Picture]]:
    """The page as Markdown, and its pictures; ``UserError`` where no seed is finished."""
    systems = Systems(folder, tree)
    parts = [
        f"Seeds {', '.join(map(str, systems.seeds))}; in brackets 95 % intervals of 1000 draws of "
        "speakers and seeds, the same for all systems.",
        "## Students",
        student_table(systems),
        "## Leaving one trial in ten unanswered",
        doubt_table(systems),
        "## By group",
    ]
    for name in (n for n in (LOGISTIC, "student") if n in systems.scores):
        for attribute in ATTRIBUTES:
            parts += [f"### {name}, by {attribute}", group_table(systems, name, attribute)]
    pictures = []
    if "single" in systems.scores:
        mitigation, picture = mitigation_table(systems)
        parts += ["## Mitigation, by age", mitigation, "![EER against fairness](pareto.svg)"]
        pictures.append(picture)
    return "\n\n".join(parts) + "\n", pictures


def student_table(systems: Systems) -> str:
    """EER of every system, against the pair's mean of z-norm, its plain member and the single."""
    found = {name: systems.eer(name) for name in systems.scores}
    mean = {name: over_seeds(values) for name, values in found.items()}
    lines = []
    for name, values in found.items():
        parameters, seconds = (
            systems.cost[name]
            if name in systems.cost
            else np.sum([systems.cost[n] for n in systems.pair], 0)
        )
        sd = f"{100 * np.std(values[:, 0], ddof=1):.2f}" if len(values) > 1 else ""
        against = [
            "" if name == other or other not in mean else relative(mean[name], mean[other])
            for other in (MEAN, "first", "single")
        ]
        lines.append([name, told(mean[name]), sd, *against, f"{parameters / 1e6:.2f} M"])
        lines[-1].append(f"{seconds:.0f}")
    head = [
        "system",
        "EER %",
        "sd over seeds",
        "against the pair",
        "against first",
        "against the single",
    ]
    return markdown([*head, "parameters", "seconds of training"], lines)


def doubt_table(systems: Systems) -> str:
    """EER of the trials answered by each rule, against all trials of the same system.

    The threshold is the EER threshold of the development trials.
    """
    lines = []
    for name, spread, source in (
        (LOGISTIC, disagreement(systems), "disagreement"),
        ("student", None, ""),
        ("single", None, ""),
        ("dropout", systems.std, "dropout"),
    ):
        if name not in systems.scores:
            continue
        llrs = {seed: systems.llrs(name, seed)["test"] for seed in systems.seeds}
        at = {seed: systems.threshold(name, seed) for seed in systems.seeds}
        whole = over_seeds(systems.eers(lambda s, llrs=llrs: llrs[s]))
        lines.append([name, "none: all are answered", told(whole), ""])
        rules = {"distance to the threshold": {s: -np.abs(llrs[s] - at[s]) for s in llrs}}
        if spread:
            rules[f"std, of {source}"] = spread
            rules[f"probability of an error, of {source}"] = {
                s: error_probability(llrs[s], spread[s], at[s]) for s in llrs
            }
        for rule, doubt in rules.items():
            left = over_seeds(
                systems.eers(
                    lambda s, llrs=llrs: llrs[s], lambda s, doubt=doubt: answered(doubt[s])
                )
            )
            lines.append([name, rule, told(left), relative(left, whole)])
    return markdown(["system", "left out: the largest", "EER % of the others", "change"], lines)


def answered(doubt: np.ndarray) -> np.ndarray:
    """Which trials (N,) are answered: all but the tenth with the most doubt."""
    inside = np.zeros(len(doubt), dtype=bool)
    inside[np.argsort(doubt, kind="stable")[: round(ANSWERED * len(doubt))]] = True
    return inside


def disagreement(systems: Systems) -> dict[int, np.ndarray]:
    """Standard deviation of the pair's members' LLRs on the test trials, by seed."""
    made = {}
    for seed in systems.seeds:
        dev, test = (
            np.stack([systems.scores[n][seed][part] for n in systems.pair])
            for part in ("dev", "test")
        )
        made[seed] = Disagreement(PRIOR).fit(dev, systems.labels("dev"))(test)
    return made


def group_table(systems: Systems, name: str, attribute: str) -> str:
    """Figures of a system by group; FMR and FNMR at one threshold, of the development trials."""

    def llrs(seed: int) -> tuple[np.ndarray, float]:
        return systems.llrs(name, seed)["test"], systems.threshold(name, seed)

    found = by_group.figures(systems, attribute, llrs)
    of = by_group.group_of(systems, attribute)
    speakers = Counter(of[str(s)] for s in np.unique(systems.sides["test"].speakers))
    head = ["group", "speakers", "EER %", "FMR %", "FNMR %", "actDCF(0.05)", "Cllr"]
    head += ["EER minus the others' mean", "p (Holm)"]
    gini = {f: by_group.spread(found, f) for f in ("eer", "fmr", "fnmr")}
    note = ", ".join(f"{figure.upper()} {told(value, 1)}" for figure, value in gini.items())
    return f"{markdown(head, by_group.rows(found, speakers))}\n\nGini: {note}."


def mitigation_table(systems: Systems) -> tuple[str, Picture]:
    """EER of all trials against fairness by age, over the strengths of two means; its picture.

    Changes are against the single, strength 0 of both; pair and student stand beside them.
    """
    ways = [(BALANCE, s, f"{BALANCED}{s:g}" if s else "single", 0.0) for s in STRENGTHS]
    ways += [(CALIBRATION, s, "single", s) for s in STRENGTHS]
    ways += [
        ("the pair instead", None, LOGISTIC, 0.0),
        ("the student instead", None, "student", 0.0),
    ]
    lines, points = [], []
    for means, strength, name, own in ways:
        if name not in systems.scores:
            continue
        llrs = by_group.calibrated(systems, name, "age", own)
        found = by_group.figures(systems, "age", llrs)
        overall = over_seeds(systems.eers(lambda s, llrs=llrs: llrs(s)[0]))
        hardest = worst([row["eer"] for row in found.values()])
        at_one = worst([(row["fmr"] + row["fnmr"]) / 2 for row in found.values()])
        point = pareto.Point(means, strength, overall, hardest, at_one, by_group.garbe(found))
        points.append(point)
        which = max(found, key=lambda group: found[group]["eer"][0])
        changes = [
            "" if strength == 0 else relative(getattr(point, f), getattr(points[0], f))
            for f in ("overall", "hardest", "at_one")
        ]
        lines.append(
            [means, "" if strength is None else f"{strength:g}", told(overall), changes[0]]
        )
        lines[-1] += [f"{told(hardest)} ({which})", changes[1], told(at_one), changes[2]]
        lines[-1] += [told(by_group.spread(found, "eer"), 1), told(point.garbe, 1)]
    head = ["means", "strength", "EER % of all", "change", "worst group's EER %", "change"]
    head += ["worst group's error % at one threshold", "change", "Gini of EER", "GARBE"]
    return markdown(head, lines), pareto.picture(points)
