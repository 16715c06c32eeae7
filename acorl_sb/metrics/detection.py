"""Detection metrics of speaker verification: EER, DCF, Cllr and DET points; pure functions.

The package's text states the conventions for scores, labels, thresholds, ties and errors.
SpeechBrain's ``EER`` and ``minDCF`` compare every score with every threshold, in quadratic time;
scikit-learn's ``roc_curve`` has the points, on the CPU, but neither the interpolated EER nor costs,
Cllr and convex hull. The tests compare with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from acorl_sb.metrics.pav import pav, tied_counts
from acorl_sb.metrics.roc import (
    OperatingPoint,
    all_points,
    crossing,
    first_point_past_equality,
    minimise,
    point_below,
)
from acorl_sb.metrics.sorting import Array, SortedTrials, as_sorted, split

_STEEPEST_GUESS = 16  # of a slope on the convex hull near the EER, with rates on both axes


def eer(scores: Array, labels: Array = None) -> float:
    """Equal error rate as papers and toolkits report it, in [0, 1].

    Take the operating points at all distinct thresholds, from "accept all" (p_fa 1, p_miss 0) to
    "reject all" (0, 1), and join neighbours by straight lines: the EER is where these lines meet
    p_miss = p_fa. Trials of one score are decided together, so a score that both classes have is
    one slanted line. This is the root of 1 - tpr - fpr on scikit-learn's ``roc_curve``, linearly
    interpolated. A system that cannot tell the classes apart gets 0.5, an inverted one up to 1.
    """
    trials = as_sorted(scores, labels)
    above, threshold = first_point_past_equality(trials)
    before = point_below(trials, threshold)
    n_target, n_nontarget = trials.n_target, trials.n_nontarget
    return crossing(
        before[0] / n_target, before[1] / n_nontarget, above[0] / n_target, above[1] / n_nontarget
    )


def eer_hull(scores: Array, labels: Array = None) -> float:
    """Equal error rate on the ROC convex hull, in [0, 0.5].

    The hull is the lower left convex envelope of all (p_fa, p_miss) points together with "accept
    all" (1, 0) and "reject all" (0, 1); the EER is where it meets p_miss = p_fa. It is the largest
    minimum Bayes error over all priors (Brümmer and de Villiers, "The BOSARIS toolkit", 2013), it
    never exceeds ``eer``, and a system no better than chance, or inverted, gets 0.5.
    """
    trials = as_sorted(scores, labels)
    n_target, n_nontarget = trials.n_target, trials.n_nontarget
    # Two hull vertices on either side of p_miss = p_fa, as integer counts (misses, false alarms).
    # Each step finds the hull vertex farthest beyond the line through them; integers make the
    # test for "none beyond" exact.
    low, high = (0, n_nontarget), (n_target, 0)
    # From the two ends it would take many lines: the first few have a slope guessed near that of
    # the EER, doubled until a vertex on either side is known.
    tilt_miss = tilt_fa = 1
    while True:
        guessed = max(tilt_miss, tilt_fa) <= _STEEPEST_GUESS and min(tilt_miss, tilt_fa) == 1
        if guessed:
            weight_miss, weight_fa = tilt_miss * n_nontarget, tilt_fa * n_target
        else:
            weight_miss, weight_fa = low[1] - high[1], high[0] - low[0]
        point = minimise(trials, weight_miss, weight_fa, low[0], high[0])
        beyond = weight_miss * point.misses + weight_fa * point.false_alarms
        if not guessed and beyond >= weight_miss * low[0] + weight_fa * low[1]:
            break
        side = point.misses * n_nontarget - point.false_alarms * n_target
        if side < 0:
            low, tilt_fa = (point.misses, point.false_alarms), 2 * tilt_fa
        else:
            high, tilt_miss = (point.misses, point.false_alarms), 2 * tilt_miss
            if side == 0:
                return point.misses / n_target
    return crossing(
        low[0] / n_target, low[1] / n_nontarget, high[0] / n_target, high[1] / n_nontarget
    )


def eer_threshold(scores: Array, labels: Array = None) -> float:
    """The lowest threshold at which p_miss >= p_fa: accept a trial when its score >= this.

    A score of the list, or +inf where only rejecting all trials makes p_miss as large as p_fa.
    """
    return first_point_past_equality(as_sorted(scores, labels))[1]


def min_dcf(
    scores: Array,
    labels: Array = None,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Minimum normalised detection cost over all thresholds, in [0, 1].

    min over t of [p_target c_miss p_miss(t) + (1 - p_target) c_fa p_fa(t)]
    / min(p_target c_miss, (1 - p_target) c_fa)  (NIST SRE's normalised C_det).
    """
    trials = as_sorted(scores, labels)
    point = _min_dcf_point(trials, p_target, c_miss, c_fa)
    return _normalised_cost(
        point.misses / trials.n_target,
        point.false_alarms / trials.n_nontarget,
        p_target,
        c_miss,
        c_fa,
    )


def min_dcf_threshold(
    scores: Array,
    labels: Array = None,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """The threshold at which ``min_dcf`` is reached: accept a trial when its score >= this.

    It is the score of a target trial, or +inf (reject all) where that is cheapest. Chosen on the
    same trials that it is reported on it is optimistic; for decisions on new trials choose it on
    development trials.
    """
    return _min_dcf_point(as_sorted(scores, labels), p_target, c_miss, c_fa).threshold


def act_dcf(
    llrs: Array,
    labels: Array,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Actual normalised detection cost at the Bayes threshold, >= 0 (above 1: worse than none).

    ``llrs`` (N,) must be calibrated natural-log likelihood ratios, not raw scores; they may be
    +-inf. A trial is accepted when its llr >= ``bayes_threshold(p_target, c_miss, c_fa)``.
    """
    threshold = bayes_threshold(p_target, c_miss, c_fa)
    target, nontarget = split(llrs, labels)
    _refuse_nan(target, nontarget)
    p_miss = float((target < threshold).double().mean())
    p_fa = float((nontarget >= threshold).double().mean())
    return _normalised_cost(p_miss, p_fa, p_target, c_miss, c_fa)


def bayes_threshold(p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """Threshold on a natural-log likelihood ratio that minimises the expected cost.

    log(c_fa (1 - p_target) / (c_miss p_target)). ``ValueError`` unless 0 < p_target < 1 and both
    costs are positive and finite.
    """
    _check_costs(p_target, c_miss, c_fa)
    return math.log(c_fa * (1.0 - p_target)) - math.log(c_miss * p_target)


def cllr(llrs: Array, labels: Array) -> float:
    """Cost of log-likelihood ratios, in bits, >= 0; 1 is what llr = 0 for every trial gets.

    0.5 [mean over targets of log2(1 + e^-llr) + mean over non-targets of log2(1 + e^llr)]
    (Brümmer and du Preez, "Application-independent evaluation of speaker detection", 2006).
    ``llrs`` (N,) are natural-log likelihood ratios and may be +-inf: an infinitely wrong one makes
    the result inf.
    """
    target, nontarget = split(llrs, labels)
    _refuse_nan(target, nontarget)
    zero = torch.zeros((), dtype=torch.float64, device=target.device)
    bits = torch.logaddexp(zero, -target).mean() + torch.logaddexp(zero, nontarget).mean()
    return float(bits) / (2.0 * math.log(2.0))


def min_cllr(scores: Array, labels: Array = None) -> float:
    """Cllr after the best monotone recalibration of the same trials (PAV), in bits, in [0, 1].

    Isotonic regression of the labels on the scores gives posterior probabilities; with the class
    proportion taken out these are the log-likelihood ratios (Brümmer and du Preez, 2006).
    """
    trials = as_sorted(scores, labels)
    n_target, n_nontarget = trials.n_target, trials.n_nontarget
    _, targets, nontargets = tied_counts(trials)  # (U,) per distinct score
    _, blocks = pav(targets, nontargets)
    # One pair of counts a pooled block: the block's LLR is log of its likelihoods' ratio.
    t = np.add.reduceat(targets, blocks[:-1])
    n = np.add.reduceat(nontargets, blocks[:-1])
    # A pure block has an infinite LLR on the right side and costs nothing.
    mixed = (t > 0) & (n > 0)
    t, n = t[mixed], n[mixed]
    llr = np.log(t / n_target) - np.log(n / n_nontarget)
    bits = np.sum(t * np.logaddexp(0.0, -llr)) / n_target
    bits += np.sum(n * np.logaddexp(0.0, llr)) / n_nontarget
    return float(bits / (2.0 * np.log(2.0)))


def det_points(scores: Array, labels: Array = None) -> tuple[Array, Array, Array]:
    """All operating points: (p_fa, p_miss, thresholds), each (U + 1,), by ascending threshold.

    U is the number of distinct scores. The first point accepts all trials (threshold = lowest
    score, p_fa = 1, p_miss = 0), the last rejects all (threshold = +inf, p_fa = 0, p_miss = 1).
    Rates are fractions (no probit). Torch in gives torch on the same device, else numpy; float64.
    """
    as_torch = isinstance(scores, torch.Tensor | SortedTrials)
    trials = as_sorted(scores, labels)
    misses, false_alarms, thresholds = all_points(trials)
    p_miss = misses.double() / trials.n_target
    p_fa = false_alarms.double() / trials.n_nontarget
    if as_torch:
        return p_fa, p_miss, thresholds
    return p_fa.numpy(), p_miss.numpy(), thresholds.numpy()


def evaluate(
    scores: Array,
    labels: Array = None,
    points: Sequence[float] = (0.01, 0.05),
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    calibrated: bool = False,
) -> dict[str, Any]:
    """The figures that are reported of a system, from one sort.

    Returns ``{"eer": float, "eer_hull": float, "min_dcf": {p_target: float}, "c_miss",
    "c_fa", "n_target", "n_nontarget"}``; with ``calibrated=True`` (``scores`` are natural-log
    likelihood ratios) also ``"act_dcf": {p_target: float}``, ``"cllr"`` and ``"min_cllr"``.
    ``points`` are the p_target of the cost points.
    """
    trials = as_sorted(scores, labels).near()
    result: dict[str, Any] = {
        "eer": eer(trials),
        "eer_hull": eer_hull(trials),
        "min_dcf": {p: min_dcf(trials, None, p, c_miss, c_fa) for p in points},
        "c_miss": c_miss,
        "c_fa": c_fa,
        "n_target": trials.n_target,
        "n_nontarget": trials.n_nontarget,
    }
    if calibrated:
        result["act_dcf"] = {p: act_dcf(trials, None, p, c_miss, c_fa) for p in points}
        result["cllr"] = cllr(trials, None)
        result["min_cllr"] = min_cllr(trials)
    return result


def _refuse_nan(*values: torch.Tensor) -> None:
    if any(bool(torch.isnan(value).any()) for value in values):
        raise ValueError("log-likelihood ratios must not be NaN")


def _check_costs(p_target: float, c_miss: float, c_fa: float) -> None:
    if not 0.0 < p_target < 1.0:
        raise ValueError(f"p_target must lie between 0 and 1, not {p_target}")
    for name, cost in (("c_miss", c_miss), ("c_fa", c_fa)):
        if not (0.0 < cost < math.inf):
            raise ValueError(f"{name} must be positive and finite, not {cost}")


def _normalised_cost(
    p_miss: float, p_fa: float, p_target: float, c_miss: float, c_fa: float
) -> float:
    miss, fa = p_target * c_miss, (1.0 - p_target) * c_fa
    return (miss * p_miss + fa * p_fa) / min(miss, fa)


def _min_dcf_point(
    trials: SortedTrials, p_target: float, c_miss: float, c_fa: float
) -> OperatingPoint:
    _check_costs(p_target, c_miss, c_fa)
    return minimise(
        trials,
        p_target * c_miss / trials.n_target,
        (1.0 - p_target) * c_fa / trials.n_nontarget,
    )
