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

import numpy as np
import torch

from acorl_sb.metrics.sorting import SortedTrials, sort

_FAN = 32  # how many finer stretches one stretch of thresholds is parted into
_FAN_FAR = 4096  # on a GPU, where a look costs a wait but not more for more thresholds


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
    n_target = trials.n_target
    last = n_target if last is None else last
    fan, width = _fan(trials.target), 1
    while width < last - first:
        width *= fan
    starts = np.array([first])  # (S,) stretches still worth a look
    index, false_alarms, least = last, 0, math.inf
    while starts.size:
        step = max(width // fan, 1)
        grid = starts[:, None] + np.arange(0, width + 1, step)  # (S, F + 1)
        np.minimum(grid, last, out=grid)
        grid_fa = _false_alarms(trials, grid)
        cost = weight_miss * grid + weight_fa * grid_fa
        best = int(cost.argmin())
        if (found := cost.flat[best].item()) < least:
            index, false_alarms = int(grid.flat[best]), int(grid_fa.flat[best])
            least = found
        if step == 1:
            break
        bound = weight_miss * (grid[:, :-1] + 1) + weight_fa * grid_fa[:, 1:]
        starts, width = grid[:, :-1][bound < least], step
    threshold = math.inf if index == n_target else float(trials.target[index])
    return OperatingPoint(index, false_alarms, threshold)


# Thresholds that are tried are few and stay on the CPU, where numpy is quicker about small arrays
# than torch; only these functions look at the sorted scores, wherever they are.


def _fan(values: torch.Tensor) -> int:
    return _FAN if values.device.type == "cpu" else _FAN_FAR


def _values(values: torch.Tensor, index: np.ndarray) -> np.ndarray:
    """The sorted scores (N,) at ``index``."""
    if values.device.type == "cpu":
        return values.numpy()[index]
    return values[torch.from_numpy(index).to(values.device)].cpu().numpy()


def _below(values: torch.Tensor, thresholds: np.ndarray) -> np.ndarray:
    """How many of the sorted scores (N,) are below each threshold."""
    if values.device.type == "cpu":
        return values.numpy().searchsorted(thresholds)
    return torch.searchsorted(values, torch.from_numpy(thresholds).to(values.device)).cpu().numpy()


def _false_alarms(trials: SortedTrials, index: np.ndarray) -> np.ndarray:
    """Non-targets at or above target[index]; 0 where index is n_target (threshold +inf)."""
    inside = np.minimum(index, trials.n_target - 1)
    if trials.target.device.type == "cpu":
        below = _below(trials.nontarget, _values(trials.target, inside))
    else:  # one way there and back
        threshold = trials.target[torch.from_numpy(inside).to(trials.target.device)]
        below = torch.searchsorted(trials.nontarget, threshold).cpu().numpy()
    count = trials.n_nontarget - below
    count[index == trials.n_target] = 0
    return count


def _points_at(trials: SortedTrials, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(misses, false alarms) at thresholds (N,), (N,) each."""
    misses = _below(trials.target, thresholds)
    return misses, trials.n_nontarget - _below(trials.nontarget, thresholds)


def _point_at(trials: SortedTrials, threshold: float) -> tuple[int, int]:
    """(misses, false alarms) at a threshold."""
    misses, false_alarms = _points_at(trials, np.array([threshold]))
    return int(misses[0]), int(false_alarms[0])


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

    p_miss - p_fa only grows with the threshold, from -1 to 1, so both lists can be searched as a
    sorted list is, ``_fan`` parts at a time. The targets come first; only non-targets between the
    two neighbours found there can then be lower.
    """
    found, start, end = math.inf, 0, trials.n_nontarget
    at = _first_past(trials, trials.target, 0, trials.n_target)
    if at < trials.n_target:
        found = float(trials.target[at])
        end = int(_below(trials.nontarget, np.array([found]))[0])
    if at:
        start = int(_below(trials.nontarget, _values(trials.target, np.array([at - 1])))[0])
    at = _first_past(trials, trials.nontarget, start, end)
    if at < end:
        found = float(trials.nontarget[at])
    return _point_at(trials, found), found


def _first_past(trials: SortedTrials, values: torch.Tensor, low: int, high: int) -> int:
    """The first of ``values[low:high]`` at which p_miss >= p_fa; ``high`` where it is none."""
    while low < high:
        tried = np.arange(low, high, -(-(high - low) // _fan(values)))
        misses, false_alarms = _points_at(trials, _values(values, tried))
        past = misses * trials.n_nontarget >= false_alarms * trials.n_target
        first = int(past.searchsorted(True))  # False before True
        high = int(tried[first]) if first < len(tried) else high
        low = int(tried[first - 1]) + 1 if first else low
    return high


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
