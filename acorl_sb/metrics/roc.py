"""Operating points of sorted trials: all of them, or one that is searched for.

Sorting is the only work on trials that grows faster than linearly. Non-targets and targets are
sorted apart; a point of the ROC then needs one binary search, and the minimum of any weighted sum
of the two error counts is found from a coarse grid of thresholds, looking closer only where the
minimum can be, so EER and minDCF need no array of all operating points, such as scikit-learn's
``roc_curve`` makes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from acorl_sb.metrics.sorting import SortedTrials, sort

_FAN = 32  # how many finer stretches one stretch of thresholds is parted into


@dataclass(frozen=True)
class OperatingPoint:
    """One point of the ROC as counts, with the threshold that reaches it."""

    misses: int
    false_alarms: int
    threshold: float


def minimise(
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


def point_below(trials: SortedTrials, threshold: float) -> tuple[int, int]:
    """(misses, false alarms) at the largest distinct score below ``threshold``."""
    misses, false_alarms = _point_at(trials, threshold)
    below = trials.n_nontarget - false_alarms
    candidates = []
    if misses:
        candidates.append(float(trials.target[misses - 1]))
    if below:
        candidates.append(float(trials.nontarget[below - 1]))
    return _point_at(trials, max(candidates))


def first_point_past_equality(trials: SortedTrials) -> tuple[tuple[int, int], float]:
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


def crossing(miss_0: float, fa_0: float, miss_1: float, fa_1: float) -> float:
    """p_miss = p_fa on the line from point 0 (p_miss <= p_fa) to point 1 (p_miss >= p_fa)."""
    gap_0, gap_1 = fa_0 - miss_0, miss_1 - fa_1
    if gap_0 + gap_1 == 0.0:
        return miss_1
    # Each factor is in [0, 1], so the result lies between the two points' rates.
    return (miss_0 * gap_1 + miss_1 * gap_0) / (gap_0 + gap_1)


def all_points(trials: SortedTrials) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(misses, false alarms, thresholds), int64 and float64 (U + 1,), by ascending threshold."""
    merged = sort(torch.cat([trials.target, trials.nontarget]))
    distinct = torch.cat([merged[:1], merged[1:][merged[1:] != merged[:-1]]])
    thresholds = torch.cat([distinct, distinct.new_full((1,), math.inf)])
    misses = torch.searchsorted(trials.target, thresholds)
    false_alarms = trials.n_nontarget - torch.searchsorted(trials.nontarget, thresholds)
    return misses, false_alarms, thresholds
