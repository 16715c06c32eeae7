"""Pool adjacent violators (PAV): the best monotone map of scores to posterior probabilities.

The pooling itself is ``scipy.optimize.isotonic_regression``, on the CPU. scikit-learn's
``IsotonicRegression`` fits the same values but does not tell the pooled blocks, from which the
log-likelihood ratios are counted.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression

from acorl_sb.metrics.roc import all_points
from acorl_sb.metrics.sorting import SortedTrials


def tied_counts(trials: SortedTrials) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, and the target and non-target trials of each: ascending, float64 (U,)."""
    misses, false_alarms, thresholds = (values.cpu().numpy() for values in all_points(trials))
    targets, nontargets = np.diff(misses), -np.diff(false_alarms)
    return thresholds[:-1], targets.astype(np.float64), nontargets.astype(np.float64)


def pav(targets: np.ndarray, nontargets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Isotonic share of target trials at each distinct score, and the pooled blocks.

    ``targets`` and ``nontargets`` (U,) count the trials of each score, by ascending score. Returns
    the share (U,), in [0, 1], and (B + 1,) indices: where each block begins, and the end.
    """
    counts = targets + nontargets
    fitted = isotonic_regression(targets / counts, weights=counts)
    return fitted.x, fitted.blocks
