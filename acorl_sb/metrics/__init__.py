"""Metrics of speaker verification, as pure functions, and their intervals.

``detection`` has EER, DCF, Cllr and DET points, ``pav`` the pooling of adjacent violators,
``bootstrap`` confidence intervals by drawing speakers. Conventions, the same everywhere:

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
  min(p_target * c_miss, (1 - p_target) * c_fa): 1 is no better than that system, 0 is perfect.
"""

from acorl_sb.metrics.detection import (
    act_dcf,
    bayes_threshold,
    cllr,
    det_points,
    eer,
    eer_hull,
    eer_threshold,
    evaluate,
    min_cllr,
    min_dcf,
    min_dcf_threshold,
)
from acorl_sb.metrics.sorting import SortedTrials, sort_trials

__all__ = [
    "SortedTrials",
    "act_dcf",
    "bayes_threshold",
    "cllr",
    "det_points",
    "eer",
    "eer_hull",
    "eer_threshold",
    "evaluate",
    "min_cllr",
    "min_dcf",
    "min_dcf_threshold",
    "sort_trials",
]
