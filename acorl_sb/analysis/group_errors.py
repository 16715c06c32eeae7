"""Errors by group of speakers: of each group's own trials, and of the trials between groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.analysis.group_calibration import LEAST_SPEAKERS, groups_of
from acorl_sb.data.attributes import group_order
from acorl_sb.metrics.bootstrap import Measure, SpeakerBootstrap
from acorl_sb.metrics.fairness import bootstrap_p, gini, gini_by_chance, holm, worst_to_best
from acorl_sb.metrics.intervals import interval

COMPARED = ("eer", "fmr", "fnmr")  # the figures that groups are held against each other by


@dataclass(frozen=True)
class GroupSettings:
    """What is computed.

    Arguments
    ---------
    threshold : float
        The one threshold for all groups: FMR and FNMR are at it.
    llrs : bool
        Whether scores are log-likelihood ratios: actDCF and Cllr only then.
    points, c_miss, c_fa : priors and costs of actDCF
    replicates, level, seed : of the bootstrap over speakers; 0 replicates: no intervals, no tests
    least_speakers : int
        Groups of fewer, in own trials or in target trials, are not measured.
    """

    threshold: float
    llrs: bool = False
    points: Sequence[float] = (0.01, 0.05)
    c_miss: float = 1.0
    c_fa: float = 1.0
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    least_speakers: int = LEAST_SPEAKERS


@dataclass(frozen=True)
class Judged:
    """Figures by name, and bootstrap replicates (R,) of each; none where there can be none."""

    figures: dict[str, float]
    replicates: dict[str, np.ndarray]


def group_errors(
    scores: np.ndarray,
    labels: np.ndarray,
    enrol_speaker: np.ndarray,
    test_speaker: np.ndarray,
    groups: Mapping[str, Mapping[str, str]],
    settings: GroupSettings,
) -> dict[str, Any]:
    """Figures by group for every attribute; plain, for JSON.

    A group's own trials are those with both speakers in it. Trials between two groups, all of them
    non-target, are counted apart. Speakers of an unknown group are left out and counted.

    Arguments
    ---------
    scores : (N,), higher means "same speaker"
    labels : (N,) bool, True for a target trial
    enrol_speaker, test_speaker : (N,) names of both sides' speakers
    groups : attribute -> speaker -> group; empty or absent where unknown
    settings : GroupSettings

    Returns
    -------
    dict
        ``threshold``, ``overall``, and under ``attributes`` by name: ``groups`` (a row each),
        ``cross`` (FMR between groups: all, and by pair), ``fairness`` and ``unknown_speakers``.

    Raises
    ------
    ValueError
        For trials of one class only, and speakers that contradict the labels.
    """
    scores = np.asarray(scores, dtype=np.float64)
    trials = (scores, np.asarray(labels, dtype=bool), enrol_speaker, test_speaker)
    draw = None
    if settings.replicates:
        draw = SpeakerBootstrap(*trials[1:], settings.replicates, settings.seed)
    overall = judge_trials(*trials, settings, settings.seed)
    made = {name: _attribute(trials, of, draw, settings) for name, of in groups.items()}
    return {
        "threshold": settings.threshold,
        "level": settings.level,
        "replicates": settings.replicates,
        "least_speakers": settings.least_speakers,
        "figures": list(overall.figures),
        "overall": {
            **_counts(*trials[1:]),
            "figures": overall.figures,
            "intervals": _intervals(overall.replicates, settings.level),
        },
        "attributes": made,
    }


def judge_trials(
    scores: np.ndarray,
    labels: np.ndarray,
    enrol: np.ndarray,
    test: np.ndarray,
    settings: GroupSettings,
    seed: int,
) -> Judged:
    """EER, FMR, FNMR and, of LLRs, actDCF and Cllr of some trials, with replicates."""
    ranked = metrics.sort_trials(scores, labels)
    costs = (settings.c_miss, settings.c_fa)
    figures = {
        "eer": metrics.eer(ranked),
        "fmr": float(np.mean(scores[~labels] >= settings.threshold)),
        "fnmr": float(np.mean(scores[labels] < settings.threshold)),
    }
    measures = {"eer": Measure("eer")}
    if settings.llrs:
        for p in settings.points:
            figures[f"act_dcf({p:g})"] = metrics.act_dcf(ranked, None, p, *costs)
            measures[f"act_dcf({p:g})"] = Measure("act_dcf", p, *costs)
        figures["cllr"] = metrics.cllr(ranked, None)
        measures["cllr"] = Measure("cllr")
    if not settings.replicates:
        return Judged(figures, {})
    draw = SpeakerBootstrap(labels, enrol, test, settings.replicates, seed)
    made = draw(scores, measures.values())
    replicates = {name: made[str(measure)] for name, measure in measures.items()}
    replicates["fnmr"], replicates["fmr"] = draw.rates_at(scores, settings.threshold)
    return Judged(figures, {name: replicates[name] for name in figures})


# ------------------------------------------------------------------------------------------------


def _attribute(
    trials: tuple[np.ndarray, ...],
    of: Mapping[str, str],
    draw: SpeakerBootstrap | None,
    settings: GroupSettings,
) -> dict[str, Any]:
    _, labels, enrol, test = trials
    left, right = groups_of(enrol, of), groups_of(test, of)
    everybody = np.union1d(enrol, test)
    names = sorted({of.get(str(s), "") for s in everybody} - {""}, key=group_order)
    rows: list[dict[str, Any]] = []
    judged: dict[str, Judged] = {}
    own = {name: (left == name) & (right == name) for name in names}
    for place, name in enumerate(names):
        inside = own[name]
        row = {"group": name, **_counts(labels[inside], enrol[inside], test[inside])}
        row |= {"figures": None, "intervals": {}, "difference": {}}
        rows.append(row)
        speakers = len(np.unique(enrol[inside & labels]))  # who are in target trials
        if row["speakers"] < settings.least_speakers:
            row["note"] = f"too small: {row['speakers']} speaker{'s' * (row['speakers'] != 1)}"
        elif row["target"] and speakers < settings.least_speakers:
            row["note"] = f"too small: {speakers} speaker{'s' * (speakers != 1)} in target trials"
        elif not row["target"] or not row["nontarget"]:
            row["note"] = "no target trials" if not row["target"] else "no non-target trials"
        else:
            # A seed of its own: groups share no speaker, so their draws must not be the same.
            seed = settings.seed + 1 + place
            found = judge_trials(*(side[inside] for side in trials), settings, seed)
            judged[name] = found
            row["figures"] = found.figures
            row["intervals"] = _intervals(found.replicates, settings.level)
    _compare(rows, judged, own, trials, settings)
    return {
        "groups": rows,
        "unknown_speakers": sum(of.get(str(s), "") == "" for s in everybody),
        "cross": _between(trials, left, right, list(judged), draw, settings),
        "fairness": _fairness(judged, settings.level) if len(judged) > 1 else {},
    }


def _compare(
    rows: list[dict[str, Any]],
    judged: dict[str, Judged],
    own: dict[str, np.ndarray],
    trials: tuple[np.ndarray, ...],
    settings: GroupSettings,
) -> None:
    """Each group against the own trials of all others together; p-values by Holm's method."""
    if len(judged) < 2 or not settings.replicates:
        return
    for place, name in enumerate(judged):
        others = [other for other in judged if other != name]
        if len(others) == 1:
            rest = judged[others[0]]
        else:
            inside = np.logical_or.reduce([own[other] for other in others])
            seed = settings.seed + 1001 + place
            rest = judge_trials(*(side[inside] for side in trials), settings, seed)
        row = next(row for row in rows if row["group"] == name)
        for figure, value in judged[name].figures.items():
            apart = judged[name].replicates[figure] - rest.replicates[figure]
            row["difference"][figure] = {
                "change": value - rest.figures[figure],
                "interval": _interval(apart, settings.level),
                "p": bootstrap_p(apart),
            }
    compared = [row["difference"] for row in rows if row["difference"]]
    for figure in compared[0]:
        # Two groups are one comparison, seen from both sides.
        tested = compared[:1] if len(compared) == 2 else compared
        adjusted = holm([found[figure]["p"] for found in tested])
        for found, p in zip(compared, adjusted * (len(compared) // len(tested)), strict=True):
            found[figure]["p_holm"] = p


def _between(
    trials: tuple[np.ndarray, ...],
    left: np.ndarray,
    right: np.ndarray,
    names: list[str],
    draw: SpeakerBootstrap | None,
    settings: GroupSettings,
) -> dict[str, Any]:
    """FMR of the non-target trials between groups, all of them and pair by pair."""
    scores, labels = trials[:2]
    known = (left != "") & (right != "") & (left != right)
    made = {"all": _rate(scores, known & ~labels, draw, settings), "pairs": []}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            inside = (left == first) & (right == second) | (left == second) & (right == first)
            found = _rate(scores, inside & ~labels, draw, settings)
            made["pairs"].append({"groups": [first, second], **found})
    return made


def _rate(
    scores: np.ndarray, inside: np.ndarray, draw: SpeakerBootstrap | None, settings: GroupSettings
) -> dict[str, Any]:
    """FMR at the threshold of some non-target trials, with its interval."""
    count = int(inside.sum())
    if not count:
        return {"nontarget": 0, "fmr": None, "interval": None}
    accepted = inside & (scores >= settings.threshold)
    spread = None
    if draw is not None:
        # The bootstrap counts all non-target trials; the ratio of two such counts is the rate.
        _, part = draw.rates_at(accepted.astype(np.float64), 1.0)
        _, whole = draw.rates_at(inside.astype(np.float64), 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = _interval(part / whole, settings.level)
    return {"nontarget": count, "fmr": int(accepted.sum()) / count, "interval": spread}


def _fairness(judged: dict[str, Judged], level: float) -> dict[str, Any]:
    """Gini coefficient and worst/best ratio of each compared figure, and GARBE of both rates."""
    made: dict[str, Any] = {}
    for figure in COMPARED:
        errors = np.array([found.figures[figure] for found in judged.values()])
        value = float(gini(errors))
        names = list(judged)
        made[figure] = {
            "gini": value if np.isfinite(value) else None,
            "interval": None,
            "by_chance": None,
            "ratio": worst_to_best(errors),
            "worst": names[int(errors.argmax())],
            "best": names[-1 - int(errors[::-1].argmin())],  # another than the worst, if equal
        }
        drawn = [found.replicates[figure] for found in judged.values() if found.replicates]
        if drawn:
            made[figure]["interval"] = _interval(gini(np.stack(drawn)), level)
            made[figure]["by_chance"] = gini_by_chance(errors, np.stack(drawn))
    halves = [made["fmr"]["gini"], made["fnmr"]["gini"]]
    made["garbe"] = None if None in halves else sum(halves) / 2
    return made


def _counts(labels: np.ndarray, enrol: np.ndarray, test: np.ndarray) -> dict[str, int]:
    target = int(labels.sum())
    speakers = len(np.union1d(enrol, test))
    return {"speakers": speakers, "target": target, "nontarget": len(labels) - target}


def _intervals(replicates: Mapping[str, np.ndarray], level: float) -> dict[str, Any]:
    return {name: _interval(values, level) for name, values in replicates.items()}


def _interval(values: np.ndarray, level: float) -> list[float] | None:
    """Percentile interval; None where too many draws of the speakers have no value."""
    try:
        return [float(end) for end in interval(values, level)]
    except ValueError:
        return None
