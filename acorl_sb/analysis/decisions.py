"""Whether two members err on the same trials: shares of errors, Yule's Q, oracles.

Scores are (N,), labels (N,) bool with True for a target trial; a decision is wrong at the member's
own EER threshold. The correlation of scores and the pooled share of common errors come from
``acorl_sb.fusion.subsets``, for any number of systems; docs/analysis.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from acorl_sb import metrics
from acorl_sb.fusion.subsets import score_correlations, wrong_decisions


class ClassErrors(NamedTuple):
    """How often two members err together on trials of one class; all are fractions but ``q``.

    ``first`` and ``second`` are the error rates, ``both`` and ``either`` those of erring together
    and of at least one erring. ``share`` = both / either is the share of error overlap,
    ``expected`` what it would be if they erred independently. ``q`` is Yule's Q in [-1, 1]:
    0 independent, 1 where one member's errors include the other's. NaN where it is undefined.
    """

    first: float
    second: float
    both: float
    either: float
    share: float
    expected: float
    q: float


def errors_of_class(first: np.ndarray, second: np.ndarray) -> ClassErrors:
    """``ClassErrors`` of two members' wrong decisions (N,) bool on the same trials.

    Meant for trials of one class: across classes of different error rates even independent
    members err together more often than the product of their rates.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    a, b = float(first.mean()), float(second.mean())
    both, either = float((first & second).mean()), float((first | second).mean())
    chance = a * b
    return ClassErrors(
        a,
        b,
        both,
        either,
        both / either if either else math.nan,
        chance / (a + b - chance) if either else math.nan,
        q_statistic(first, second),
    )


def q_statistic(first: np.ndarray, second: np.ndarray) -> float:
    """Yule's Q of two members' wrong decisions (N,) bool, in [-1, 1].

    Q = (n11 n00 - n01 n10) / (n11 n00 + n01 n10), with n11 the trials both get right, n00 those
    both get wrong (Kuncheva and Whitaker 2003). NaN where the denominator is 0.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    agree = float(np.sum(~first & ~second)) * float(np.sum(first & second))
    differ = float(np.sum(first & ~second)) * float(np.sum(~first & second))
    return (agree - differ) / (agree + differ) if agree + differ else math.nan


class OracleBounds(NamedTuple):
    """What fusion of two members' scores or decisions could make of these trials.

    ``decision``: mean of miss and false-alarm rate when a trial only counts as wrong where *both*
    members decide wrongly (an oracle picks the right one): no choice between the two is better.
    ``linear``: EER of the best weighted sum of the two scores that was found, the weights chosen
    on these very trials: an estimate, which other weights may undercut a little; ``weight`` is the
    first member's share of it, between z-normalised scores. ``gaussian``: EER that the members'
    own EERs and the correlation of their scores promise if both are Gaussian, docs/analysis.md.
    """

    decision: float
    linear: float
    weight: float
    gaussian: float


def oracle_bounds(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, angles: int = 36
) -> OracleBounds:
    """What the fusion of two members' scores (N,) could reach on labelled trials (N,)."""
    labels = np.asarray(labels, dtype=bool)
    wrong = wrong_decisions(first, labels) & wrong_decisions(second, labels)
    decision = (wrong[labels].mean() + wrong[~labels].mean()) / 2
    linear, weight = best_linear_fusion(first, second, labels, angles)
    correlation = _class_correlation(first, second, labels)
    gaussian = gaussian_fusion_eer(
        metrics.eer(first, labels), metrics.eer(second, labels), correlation
    )
    return OracleBounds(float(decision), linear, weight, gaussian)


def best_linear_fusion(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, angles: int = 36
) -> tuple[float, float]:
    """Least EER found among weighted sums of two z-normalised scores, and the first one's weight.

    cos(t) a + sin(t) b for ``angles`` steps of t over a half circle and, finer, beside the best of
    them; both signs of the sum. The least over all t may be a little lower: with few trials the EER
    jumps between the steps. The weight is cos(t) / (|cos(t)| + |sin(t)|), in [-1, 1].
    """
    a, b = (_znorm(np.asarray(scores, dtype=np.float64)) for scores in (first, second))

    def eer_at(angle: float) -> float:
        fused = math.cos(angle) * a + math.sin(angle) * b
        return min(metrics.eer(fused, labels), metrics.eer(-fused, labels))

    step = math.pi / angles
    coarse = [(eer_at(i * step), i * step) for i in range(angles)]
    best = min(coarse)
    fine = [best[1] + step * i / 5 for i in range(-4, 5) if i]
    error, angle = min(best, *((eer_at(t), t) for t in fine))
    return error, math.cos(angle) / (abs(math.cos(angle)) + abs(math.sin(angle)))


def gaussian_fusion_eer(eer_a: float, eer_b: float, correlation: float) -> float:
    """EER of the best linear fusion of two Gaussian scores with EERs in (0, 0.5].

    d'^2 = (d_a^2 + d_b^2 - 2 r d_a d_b) / (1 - r^2) with d = -2 Phi^-1(EER) and r the correlation
    of the scores within a class; EER = Phi(-d' / 2). With r = 1 the better member's own EER.
    """
    d_a, d_b = (-2.0 * ndtri(max(e, 1e-12)) for e in (eer_a, eer_b))
    rest = 1.0 - correlation**2
    if rest < 1e-9:
        return float(min(eer_a, eer_b))
    squared = (d_a**2 + d_b**2 - 2 * correlation * d_a * d_b) / rest
    return float(ndtr(-math.sqrt(max(squared, 0.0)) / 2))


def _class_correlation(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """Correlation of scores within a class: mean over target and non-target trials."""
    both = score_correlations(np.stack([first, second]), labels)
    return float(np.mean([both["target"][0, 1], both["nontarget"][0, 1]]))


def _znorm(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / (scores.std() or 1.0)
