"""What the figures are drawn from: short lists of numbers, made from millions of trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from acorl_sb import metrics
from acorl_sb.fusion import calibration
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_lines

_LOGGED = {"loss", "task_loss", "adversary_loss", "weight", "dev_eer"}
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


def coinciding(dets: dict[str, dict[str, Sequence[float]]], width: float = 0.03) -> list[list[str]]:
    """Groups of names whose DET curves (of ``det_curve``) a reader cannot tell apart.

    Two curves coincide where they are nowhere farther apart than ``width`` normal deviates (about
    the breadth of a drawn line), measured across the diagonal direction. A group holds all that
    coincide with its first one.
    """
    turned = {}
    for name, det in dets.items():
        x, y = ndtri(det["p_fa"]), ndtri(det["p_miss"])
        if len(x):
            turned[name] = (y - x, y + x)  # rises along the curve; distance from the antidiagonal
    left, groups = list(turned), []
    while left:
        along, across = turned[left[0]]
        group = [left[0]]
        for name in left[1:]:
            other_along, other_across = turned[name]
            low, high = max(along[0], other_along[0]), min(along[-1], other_along[-1])
            grid = np.concatenate([along, other_along])
            grid = grid[(grid >= low) & (grid <= high)]
            apart = np.interp(grid, along, across) - np.interp(grid, other_along, other_across)
            if len(grid) and np.abs(apart).max() <= width * np.sqrt(2.0):
                group.append(name)
        left = [name for name in left if name not in group]
        groups += [group] if len(group) > 1 else []
    return groups


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


def read_training(run_folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Training curves of a run folder: member -> its ``train_log.jsonl`` as a list of epochs.

    Each epoch is a dict with ``epoch`` and some of ``loss``, ``task_loss``, ``adversary_loss``,
    ``push``, ``dev_eer`` (a fraction). Members without a log are left out.

    Raises:
        UserError: there is no such folder, or a line is not JSON.
    """
    folder = Path(run_folder)
    if not folder.is_dir():
        raise UserError(f"{run_folder}: no such run folder")
    members: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("members/*/train_log.jsonl")):
        epochs = []
        for number, line in enumerate(read_lines(path, "training log"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                row["epoch"] = float(row["epoch"])
                for figure in _LOGGED & set(row):
                    row[figure] = float(row[figure])
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise UserError(
                    f"{path} line {number}: not an epoch of training ({error})"
                ) from None
            epochs.append(row)
        if epochs:
            members[path.parent.name] = epochs
    return members


def probit(p: float | np.ndarray) -> np.ndarray:
    """Normal deviate of a probability."""
    return ndtri(p)


def inverse_probit(deviate: float | np.ndarray) -> np.ndarray:
    """Probability of a normal deviate."""
    return ndtr(deviate)


def _round(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
