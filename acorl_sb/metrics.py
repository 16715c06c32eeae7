"""Detection metrics of speaker verification: EER, DCF, Cllr, DET points; pure functions.

Conventions, the same everywhere in this module:

- ``scores`` is (N,), higher means "same speaker" more likely; ``labels`` is (N,), True (or 1) for a
  target trial, False (or 0) for a non-target trial. Both may be numpy arrays, lists, or torch
  tensors on any device; the work is done on the device of ``scores``, in float64.
- A trial is accepted when its score >= the threshold. ``p_miss`` is the fraction of target trials
  rejected, ``p_fa`` the fraction of non-target trials accepted, both in [0, 1].
- Ties: trials of one score are accepted or rejected together, so the order of the trials never
  matters. The thresholds considered are all distinct scores and +inf (reject all trials).
- ``ValueError`` is raised when shapes differ, when a label is neither 0 nor 1, when one of the two
  classes is missing (that includes no trials at all), and when a score is NaN or infinite. Only
  ``act_dcf`` and ``cllr`` take infinite values, since a PAV-calibrated log-likelihood ratio can be
  infinite.
- A detection cost is always normalised by that of the better system that looks at no score,
  min(p_target * c_miss, (1 - p_target) * c_fa): 1 is worthless, 0 is perfect.

Sorting is the only work that grows faster than linearly. Non-targets and targets are sorted apart;
a point of the ROC then needs one binary search, and the minimum of any weighted sum of the two
error counts is found from a coarse grid of thresholds, looking closer only where the minimum can
be, so no array of all operating points is ever made for EER and minDCF.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import isotonic_regression

Array = Any  # numpy array, torch tensor, or a plain sequence of numbers

_PIECE = 1 << 16  # trials parted by label at a time
_FAN = 32  # how many finer stretches one stretch of thresholds is parted into


@dataclass(frozen=True)
class SortedTrials:
    """The two score lists, each ascending, float64, on one device; all that the metrics need.

    Make it once with ``sort_trials`` and hand it to any metric in place of ``scores`` (with
    ``labels`` None) to share the sort between metrics.
    """

    target: torch.Tensor  # (n_target,)
    nontarget: torch.Tensor  # (n_nontarget,)

    @property
    def n_target(self) -> int:
        return self.target.numel()

    @property
    def n_nontarget(self) -> int:
        return self.nontarget.numel()


@dataclass(frozen=True)
class OperatingPoint:
    """One point of the ROC as counts, with the threshold that reaches it."""

    misses: int
    false_alarms: int
    threshold: float


def sort_trials(scores: Array, labels: Array) -> SortedTrials:
    """Check scores (N,) and labels (N,), part them by label and sort each part."""
    target, nontarget = _split(scores, labels)
    target, nontarget = _sort(target), _sort(nontarget)
    # NaN sorts last, so the two ends of a sorted list tell whether all of it is finite.
    ends = torch.stack([target[0], target[-1], nontarget[0], nontarget[-1]])
    if not bool(torch.isfinite(ends).all()):
        raise ValueError("scores must be finite: at least one is NaN or infinite")
    return SortedTrials(target, nontarget)


def eer(scores: Array, labels: Array = None) -> float:
    """Equal error rate on the ROC convex hull, in [0, 0.5].

    The hull is the lower left convex envelope of all (p_fa, p_miss) points together with "accept
    all" (1, 0) and "reject all" (0, 1); the EER is where it meets p_miss = p_fa. It is the largest
    minimum Bayes error over all priors (Brümmer and de Villiers, "The BOSARIS toolkit", 2013), it
    never exceeds the interpolated EER, and a worthless or inverted system gets 0.5.
    """
    trials = _sorted(scores, labels)
    n_target, n_nontarget = trials.n_target, trials.n_nontarget
    # Two hull vertices on either side of p_miss = p_fa, as integer counts (misses, false alarms).
    # Each step finds the hull vertex farthest beyond the line through them; integers make the
    # test for "none beyond" exact.
    low, high = (0, n_nontarget), (n_target, 0)
    while True:
        weight_miss, weight_fa = low[1] - high[1], high[0] - low[0]
        point = _minimise(trials, weight_miss, weight_fa, low[0], high[0])
        beyond = weight_miss * point.misses + weight_fa * point.false_alarms
        if beyond >= weight_miss * low[0] + weight_fa * low[1]:
            break
        side = point.misses * n_nontarget - point.false_alarms * n_target
        if side < 0:
            low = (point.misses, point.false_alarms)
        else:
            high = (point.misses, point.false_alarms)
            if side == 0:
                return point.misses / n_target
    return _crossing(
        low[0] / n_target, low[1] / n_nontarget, high[0] / n_target, high[1] / n_nontarget
    )


def eer_interpolated(scores: Array, labels: Array = None) -> float:
    """Equal error rate on the plain ROC, in [0, 1].

    Neighbouring operating points (at distinct thresholds) are joined by straight lines; the EER is
    where these lines meet p_miss = p_fa. This is what ``sklearn.metrics.roc_curve`` with linear
    interpolation gives, and what most toolkits print; ``eer`` is never larger.
    """
    trials = _sorted(scores, labels)
    above, threshold = _first_point_past_equality(trials)
    before = _point_below(trials, threshold)
    n_target, n_nontarget = trials.n_target, trials.n_nontarget
    return _crossing(
        before[0] / n_target, before[1] / n_nontarget, above[0] / n_target, above[1] / n_nontarget
    )


def eer_threshold(scores: Array, labels: Array = None) -> float:
    """The lowest threshold at which p_miss >= p_fa: accept a trial when its score >= this.

    A score of the list, or +inf where only rejecting all trials makes p_miss as large as p_fa.
    """
    return _first_point_past_equality(_sorted(scores, labels))[1]


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
    trials = _sorted(scores, labels)
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
    return _min_dcf_point(_sorted(scores, labels), p_target, c_miss, c_fa).threshold


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
    target, nontarget = _split(llrs, labels)
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
    target, nontarget = _split(llrs, labels)
    _refuse_nan(target, nontarget)
    zero = torch.zeros((), dtype=torch.float64, device=target.device)
    bits = torch.logaddexp(zero, -target).mean() + torch.logaddexp(zero, nontarget).mean()
    return float(bits) / (2.0 * math.log(2.0))


def min_cllr(scores: Array, labels: Array = None) -> float:
    """Cllr after the best monotone recalibration of the same trials (PAV), in bits, in [0, 1].

    Isotonic regression of the labels on the scores gives posterior probabilities; with the class
    proportion taken out these are the log-likelihood ratios (Brümmer and du Preez, 2006). The
    pooling itself runs on the CPU (``scipy.optimize.isotonic_regression``), wherever
    the scores are.
    """
    trials = _sorted(scores, labels)
    n_target, n_nontarget = trials.n_target, trials.n_nontarget
    misses, false_alarms, _ = _all_points(trials)
    targets = torch.diff(misses).cpu().numpy().astype(np.float64)  # (U,) per distinct score
    nontargets = -torch.diff(false_alarms).cpu().numpy().astype(np.float64)
    weight = targets + nontargets
    fit = isotonic_regression(targets / weight, weights=weight)
    # One pair of counts a pooled block: the block's LLR is log of its likelihoods' ratio.
    t = np.add.reduceat(targets, fit.blocks[:-1])
    n = np.add.reduceat(nontargets, fit.blocks[:-1])
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
    trials = _sorted(scores, labels)
    misses, false_alarms, thresholds = _all_points(trials)
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

    Returns ``{"eer": float, "eer_interpolated": float, "min_dcf": {p_target: float}, "c_miss",
    "c_fa", "n_target", "n_nontarget"}``; with ``calibrated=True`` (``scores`` are natural-log
    likelihood ratios) also ``"act_dcf": {p_target: float}``, ``"cllr"`` and ``"min_cllr"``.
    ``points`` are the p_target of the cost points.
    """
    trials = _sorted(scores, labels)
    result: dict[str, Any] = {
        "eer": eer(trials),
        "eer_interpolated": eer_interpolated(trials),
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


# ------------------------------------------------------------------------------------------------


def as_scores(scores: Array) -> torch.Tensor:
    """Scores as a float64 tensor on their own device; numpy float64 is shared, not copied."""
    if not isinstance(scores, torch.Tensor):
        scores = torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float64))
    return scores.detach().to(torch.float64)


def as_labels(labels: Array, device: torch.device) -> torch.Tensor:
    """Labels as a bool tensor on ``device``; ``ValueError`` for anything but 0 and 1."""
    if not isinstance(labels, torch.Tensor):
        labels = torch.from_numpy(np.ascontiguousarray(labels))
    if labels.dtype != torch.bool:
        wrong = labels[(labels != 0) & (labels != 1)]
        if wrong.numel():
            raise ValueError(f"labels must be 0 or 1 (non-target, target), not {wrong[0].item()}")
        labels = labels != 0
    return labels.to(device)


def _split(scores: Array, labels: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Target scores and non-target scores, unsorted."""
    if isinstance(scores, SortedTrials):
        return scores.target, scores.nontarget
    scores = as_scores(scores)
    labels = as_labels(labels, scores.device)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            "scores and labels must be two lists of one length, "
            f"not of shapes {tuple(scores.shape)} and {tuple(labels.shape)}"
        )
    if scores.device.type == "cpu":
        target, nontarget = _part(scores.numpy(), labels.numpy())
    else:
        target, nontarget = scores[labels], scores[~labels]
    if not target.numel() or not nontarget.numel():
        raise ValueError(
            "both classes are needed: there are "
            f"{target.numel()} target and {nontarget.numel()} non-target trials"
        )
    return target, nontarget


def _part(values: np.ndarray, flags: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Copies of the flagged values and of the others."""
    n = int(np.count_nonzero(flags))
    parts = np.empty(n), np.empty(len(values) - n)
    filled = [0, 0]
    # Indices, as a random boolean mask mispredicts a branch on every trial; a piece at a time, so
    # that they stay in the cache.
    for start in range(0, len(values), _PIECE):
        piece = slice(start, start + _PIECE)
        for side, chosen in enumerate((flags[piece], ~flags[piece])):
            index = np.flatnonzero(chosen)
            end = filled[side] + len(index)
            np.take(values[piece], index, out=parts[side][filled[side] : end], mode="clip")
            filled[side] = end
    return torch.from_numpy(parts[0]), torch.from_numpy(parts[1])


def _sort(values: torch.Tensor) -> torch.Tensor:
    """Ascending, NaN last; on the CPU in place."""
    if values.device.type == "cpu":
        values.numpy().sort()  # vectorised, and makes no indices
        return values
    return torch.sort(values).values


def _sorted(scores: Array, labels: Array) -> SortedTrials:
    return scores if isinstance(scores, SortedTrials) else sort_trials(scores, labels)


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
    return _minimise(
        trials,
        p_target * c_miss / trials.n_target,
        (1.0 - p_target) * c_fa / trials.n_nontarget,
    )


def _crossing(miss_0: float, fa_0: float, miss_1: float, fa_1: float) -> float:
    """p_miss = p_fa on the line from point 0 (p_miss <= p_fa) to point 1 (p_miss >= p_fa)."""
    gap_0, gap_1 = fa_0 - miss_0, miss_1 - fa_1
    if gap_0 + gap_1 == 0.0:
        return miss_1
    # Each factor is in [0, 1], so the result lies between the two points' rates.
    return (miss_0 * gap_1 + miss_1 * gap_0) / (gap_0 + gap_1)


def _minimise(
    trials: SortedTrials,
    weight_miss: float,
    weight_fa: float,
    first: int = 0,
    last: int | None = None,
) -> OperatingPoint:
    """The operating point of least weight_miss * misses + weight_fa * false_alarms.

    Both weights are >= 0 and both ints (then the arithmetic is exact) or both floats. Only points
    of ``first`` to ``last`` misses are compared, if given.

    A best threshold is always a target score or +inf (raising the threshold to the next target
    drops false alarms and no target). Threshold target[i] misses i targets; where targets
    tie, only the first of them counts right and the others are merely too dear, so ties need no
    care. Thresholds are tried from a coarse grid to a fine one: between grid points i < j each
    costs at least weight_miss * (i + 1) + weight_fa * false_alarms(j), so only the stretches whose
    bound is below the best so far are looked into.
    """
    n_target, device = trials.n_target, trials.target.device
    last = n_target if last is None else last
    width = 1
    while width < last - first:
        width *= _FAN
    starts = torch.full((1,), first, device=device)  # (S,) stretches still worth a look
    index, false_alarms, least = last, 0, math.inf
    while starts.numel():
        step = max(width // _FAN, 1)
        steps = torch.arange(0, width + 1, step, device=device)  # (F + 1,)
        grid = (starts[:, None] + steps).clamp_(max=last)  # (S, F + 1)
        grid_fa = _false_alarms(trials, grid)
        cost = weight_miss * grid + weight_fa * grid_fa
        best = int(torch.argmin(cost))
        if (found := cost.view(-1)[best].item()) < least:
            index, false_alarms = int(grid.view(-1)[best]), int(grid_fa.view(-1)[best])
            least = found
        if step == 1:
            break
        bound = weight_miss * (grid[:, :-1] + 1) + weight_fa * grid_fa[:, 1:]
        starts, width = grid[:, :-1][bound < least], step
    threshold = math.inf if index == n_target else float(trials.target[index])
    return OperatingPoint(index, false_alarms, threshold)


def _false_alarms(trials: SortedTrials, index: torch.Tensor) -> torch.Tensor:
    """Non-targets at or above target[index]; 0 where index is n_target (threshold +inf)."""
    inside = index < trials.n_target
    threshold = trials.target[index.clamp(max=trials.n_target - 1)]
    count = trials.n_nontarget - torch.searchsorted(trials.nontarget, threshold)
    return torch.where(inside, count, torch.zeros_like(count))


def _point_at(trials: SortedTrials, threshold: float) -> tuple[int, int]:
    """(misses, false alarms) at a threshold."""
    value = trials.target.new_tensor(threshold)
    misses = int(torch.searchsorted(trials.target, value))
    return misses, trials.n_nontarget - int(torch.searchsorted(trials.nontarget, value))


def _point_below(trials: SortedTrials, threshold: float) -> tuple[int, int]:
    """(misses, false alarms) at the largest distinct score below ``threshold``."""
    misses, false_alarms = _point_at(trials, threshold)
    below = trials.n_nontarget - false_alarms
    candidates = []
    if misses:
        candidates.append(float(trials.target[misses - 1]))
    if below:
        candidates.append(float(trials.nontarget[below - 1]))
    return _point_at(trials, max(candidates))


def _first_point_past_equality(trials: SortedTrials) -> tuple[tuple[int, int], float]:
    """((misses, false alarms), threshold) of the lowest threshold with p_miss >= p_fa.

    p_miss - p_fa only grows with the threshold, from -1 to 1, so both lists can be bisected.
    """

    def past(threshold: float) -> bool:
        misses, false_alarms = _point_at(trials, threshold)
        return misses * trials.n_nontarget >= false_alarms * trials.n_target

    found = math.inf
    for values in (trials.target, trials.nontarget):
        low, high = 0, values.numel()  # values[high:] are past equality
        while low < high:
            middle = (low + high) // 2
            if past(float(values[middle])):
                high = middle
            else:
                low = middle + 1
        if high < values.numel():
            found = min(found, float(values[high]))
    return _point_at(trials, found), found


def _all_points(trials: SortedTrials) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(misses, false alarms, thresholds), int64 and float64 (U + 1,), by ascending threshold."""
    merged = _sort(torch.cat([trials.target, trials.nontarget]))
    distinct = torch.cat([merged[:1], merged[1:][merged[1:] != merged[:-1]]])
    thresholds = torch.cat([distinct, distinct.new_full((1,), math.inf)])
    misses = torch.searchsorted(trials.target, thresholds)
    false_alarms = trials.n_nontarget - torch.searchsorted(trials.nontarget, thresholds)
    return misses, false_alarms, thresholds
