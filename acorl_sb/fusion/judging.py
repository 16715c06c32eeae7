"""The figures, intervals and curves of one fused system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.fusion import curve_points as drawn
from acorl_sb.fusion import subsets as contribution
from acorl_sb.fusion.validation import (
    Outcome,
    Recipe,
    ScoreSet,
)
from acorl_sb.scoring.results import Judge, trial_speakers

Resample = Callable[[np.ndarray, bool], dict[str, np.ndarray]]
"""From scores (N,), and whether these are LLRs, to replicates (R,) by figure: of EER and minDCF for
scores, of actDCF and Cllr for LLRs."""


@dataclass(frozen=True)
class Settings:
    """What is computed: the recipe of the fused system, cost points, intervals, subsets, folds."""

    recipe: Recipe
    points: tuple[float, ...] = (0.01, 0.05)
    c_miss: float = 1.0
    c_fa: float = 1.0
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    folds: int = 5
    exhaustive: int = 8
    uncertainty: bool = False


def dcf_name(p_target: float) -> str:
    """Name of a cost point's figure: ``min_dcf(0.01)``."""
    return f"min_dcf({p_target:g})"


@dataclass(frozen=True)
class Row:
    """One system judged: figures for the table, what is compared, what is drawn."""

    figures: dict[str, Any]
    judged: contribution.Judged
    curves: dict[str, Any]


def judge_outcome(
    outcome: Outcome,
    labels: np.ndarray,
    settings: Settings,
    resample: Resample,
    with_curves: bool,
) -> Row:
    """All figures of one system on the reported trials, their replicates, and its curves."""
    costs = (settings.c_miss, settings.c_fa)
    ranked = metrics.sort_trials(outcome.score, labels)
    made = metrics.evaluate(ranked, None, settings.points, *costs)
    llrs = ranked if outcome.llr is outcome.score else metrics.sort_trials(outcome.llr, labels)
    figures = {
        "eer": made["eer"],
        "eer_hull": made["eer_hull"],
        "min_dcf": {f"{p:g}": made["min_dcf"][p] for p in settings.points},
        "act_dcf": {f"{p:g}": metrics.act_dcf(llrs, None, p, *costs) for p in settings.points},
        "cllr": metrics.cllr(llrs, None),
        "min_cllr": metrics.min_cllr(llrs),
    }
    named = {"eer": made["eer"], **{dcf_name(p): made["min_dcf"][p] for p in settings.points}}
    replicates = resample(outcome.score, False) | resample(outcome.llr, True)
    judged = contribution.Judged(metrics.eer(*outcome.selection), named, replicates)
    curves = {}
    if with_curves:
        curves = {
            "det": drawn.det_curve(outcome.score, labels),
            "histogram": drawn.histogram(outcome.llr, labels),
            "bayes": drawn.bayes_curve(outcome.llr, labels),
        }
    return Row(figures, judged, curves)


def make_resampler(reported: ScoreSet, settings: Settings) -> tuple[Resample, str]:
    """A function from scores to bootstrap replicates by figure, and how they are made.

    It draws the same speakers for every system; where there can be no replicates it returns none.
    """
    speaker = reported.speaker
    sides = None if speaker is None else trial_speakers(reported.trials, speaker)
    judge = Judge(
        reported.trials.known_labels,
        sides,
        settings.points,
        settings.c_miss,
        settings.c_fa,
        settings.replicates,
        settings.level,
        settings.seed,
    )
    if judge.no_replicates:
        return lambda *_: {}, f"none: {judge.no_replicates}"
    method = (
        f"{settings.replicates} bootstrap draws of speakers, jointly on both sides of a trial, "
        "the same draws for every system"
    )
    return lambda scores, llrs: judge.replicate(scores, llrs, ranked=not llrs), method
