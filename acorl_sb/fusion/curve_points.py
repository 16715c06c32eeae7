"""Points of DET curve, histogram and Bayes error curve: short lists, from millions of trials."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from acorl_sb import metrics
from acorl_sb.fusion import calibration

PRIOR_LOG_ODDS = np.linspace(-8.0, 4.0, 97)


def det_curve(scores: np.ndarray, labels: np.ndarray, points: int = 300) -> dict[str, list[float]]:
    """A DET curve as at most about ``points`` operating points, even along the drawn line.

    Scores (N,), labels (N,). Returns ``p_fa`` and ``p_miss``, fractions strictly between 0 and 1
    (the normal deviates of 0 and 1 are infinite; those points lie outside every DET plot).
    """
    p_fa, p_miss, _ = metrics.det_points(scores, labels)
    inside = (p_fa > 0) & (p_fa < 1) & (p_miss > 0) & (p_miss < 1)
    p_fa, p_miss = p_fa[inside], p_miss[inside]
    if len(p_fa) > points:
        x, y = ndtri(p_fa), ndtri(p_miss)
        way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        picked = np.unique(np.searchsorted(way, np.linspace(0.0, way[-1], points)))
        p_fa, p_miss = p_fa[picked], p_miss[picked]
    return {"p_fa": _round(p_fa), "p_miss": _round(p_miss)}


def histogram(scores: np.ndarray, labels: np.ndarray, bins: int = 60) -> dict[str, Any]:
    """Densities of target and non-target scores over common bins.

    The bins span all but the outermost 0.01 % of scores at either end; what lies outside is
    counted into the first and the last bin. Returns ``edges`` (bins + 1,), ``target`` and
    ``nontarget`` (bins,), each density integrating to 1.
    """
    labels = np.asarray(labels, dtype=bool)
    low, high = np.quantile(scores, [1e-4, 1 - 1e-4])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    result: dict[str, Any] = {"edges": _round(edges)}
    for name, chosen in (("target", labels), ("nontarget", ~labels)):
        counts, _ = np.histogram(np.clip(scores[chosen], low, high), edges)
        result[name] = _round(counts / (max(1, counts.sum()) * (edges[1] - edges[0])))
    return result


def bayes_curve(llrs: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """``calibration.bayes_error_curve`` over effective priors from 0.03 % to 98 %."""
    curve = calibration.bayes_error_curve(llrs, labels, PRIOR_LOG_ODDS)
    return {
        "prior_log_odds": _round(PRIOR_LOG_ODDS),
        "actual": _round(curve["actual"]),
        "minimum": _round(curve["minimum"]),
    }


def _round(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
