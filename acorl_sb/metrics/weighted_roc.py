"""The ROC of trials that every bootstrap replicate weighs otherwise, at common thresholds.

Where at most ``EXACT`` thresholds can matter, all are looked at. With more (some 100,000 trials)
the rates are taken at a grid, chosen on the unweighted trials: each of the highest-scoring
non-target trials, then steps of 1 % in the false-alarm rate, and as fine in the miss rate; the ROC
is taken to be straight in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EXACT = 4096
_STEP = 0.01  # of a rate, from one threshold of the grid to the next


def choose_thresholds(
    target: np.ndarray, nontarget: np.ndarray, costs: Sequence[tuple[float, float]] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds at which to take the rates, from both classes' scores in ascending order.

    ``costs`` has the weights of miss and false-alarm rate in each cost whose minimum is looked for;
    a grid leaves out thresholds with far more false alarms than there and at the EER.

    Returns ascending thresholds (C,) and ``steps`` (C + 1,) bool, one for each two neighbours,
    "accept all" before the first and "reject all" after the last: whether the ROC goes from one to
    the other by a corner, first more misses, then fewer false alarms, or along a straight line.
    """
    # Candidates are target scores with a non-target just below: any other threshold misses more
    # for the same false alarms.
    below = np.searchsorted(nontarget, target)
    first = np.ones(len(below), dtype=bool)
    first[1:] = below[1:] > below[:-1]
    candidates = np.flatnonzero(first)
    if len(candidates) <= EXACT:
        return _with_ties(target, nontarget, candidates)
    misses = candidates  # target trials below each candidate
    alarms = len(nontarget) - below[candidates]  # non-target trials at or above it
    p_miss, p_fa = misses / len(target), alarms / len(nontarget)
    most = [0.1, 4.0 * np.maximum(p_miss, p_fa).min()]  # the EER, about
    most += [2.0 * p_fa[np.argmin(miss * p_miss + fa * p_fa)] for miss, fa in costs]
    useful = p_fa <= max(most)
    misses, alarms, candidates = misses[useful], alarms[useful], candidates[useful]
    # Geometric steps of either count, single ones as long as they are larger.
    level = np.stack([np.log1p(_STEP * misses), np.log1p(_STEP * alarms)]) / np.log1p(_STEP)
    changed = np.any(np.diff(np.floor(level), axis=1) != 0, axis=0)
    thresholds = target[candidates[np.concatenate([[True], changed])]]
    return thresholds, np.zeros(len(thresholds) + 1, dtype=bool)


def _with_ties(
    target: np.ndarray, nontarget: np.ndarray, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The candidates, and both ends of each line on which trials of both classes are tied.

    From one candidate on, misses rise up to the last target score of its run, then false alarms
    fall; only that score can be a non-target trial's too, and then both change at once.
    """
    last = target[np.append(candidates[1:], len(target)) - 1]  # (C,) of each run
    start = np.searchsorted(nontarget, last)
    tied = last[np.searchsorted(nontarget, last, side="right") > start]
    both = np.concatenate([target, nontarget])
    both.sort()
    after = np.searchsorted(both, tied, side="right")
    behind = both[after[after < len(both)]]
    thresholds = np.unique(np.concatenate([target[candidates], tied, behind]))
    steps = np.ones(len(thresholds) + 1, dtype=bool)
    steps[np.searchsorted(thresholds, tied) + 1] = False
    return thresholds, steps


def eer_of_columns(p_miss: np.ndarray, p_fa: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """As ``metrics.eer``, of each column of operating points: (P, R), (P, R), (P - 1,) -> (R,)."""
    columns = np.arange(p_miss.shape[1])
    past = np.maximum((p_miss < p_fa).sum(0), 1)  # (R,) the first point with p_miss >= p_fa
    low_miss, low_fa = p_miss[past - 1, columns], p_fa[past - 1, columns]
    high_miss, high_fa = p_miss[past, columns], p_fa[past, columns]
    gap_low, gap_high = low_fa - low_miss, high_miss - high_fa
    line = (low_miss * gap_high + high_miss * gap_low) / (gap_low + gap_high)
    return np.where(steps[past - 1], np.minimum(high_miss, low_fa), line)
