"""Selective verification: errors of the trials that are answered, and how well a doubt predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from acorl_sb.metrics.detection import eer

SHARES = tuple(round(0.5 + 0.05 * step, 2) for step in range(11))  # of trials answered, 0.5 to 1


def selective_eer(
    scores: Any, labels: Any, doubt: Any, shares: Sequence[float] = SHARES
) -> list[float | None]:
    """EER of the least doubtful trials, for each share that is answered.

    Arguments
    ---------
    scores, labels : (N,)
    doubt : (N,)
        The larger, the sooner a trial is left unanswered; equal ones in an order drawn at random,
        with a fixed seed, since lists are often sorted by label.
    shares : fractions of the N trials in (0, 1]

    Returns
    -------
    list
        An EER in [0, 1] for each share; None where one class only is left.
    """
    scores, labels, doubt = np.asarray(scores), np.asarray(labels, dtype=bool), np.asarray(doubt)
    if not scores.shape == labels.shape == doubt.shape:
        raise ValueError("scores, labels and doubt need one entry a trial")
    order = _ascending(doubt)
    made: list[float | None] = []
    for share in shares:
        if not 0 < share <= 1:
            raise ValueError(f"a share of trials lies in (0, 1], not {share}")
        kept = order[: max(1, round(share * len(order)))]
        both = 0 < int(labels[kept].sum()) < len(kept)
        made.append(eer(scores[kept], labels[kept]) if both else None)
    return made


def error_probability(llrs: Any, std: Any, threshold: float) -> np.ndarray:
    """Chance that an LLR with a Gaussian error of ``std`` lies on the wrong side, (N,) in [0, 0.5].

    The normal distribution's tail beyond ``abs(llr - threshold) / std``: 0.5 at the threshold, and
    0 where ``std`` is 0 elsewhere.
    """
    distance = np.abs(np.asarray(llrs, dtype=np.float64) - threshold)
    std = np.asarray(std, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(distance == 0, 0.0, distance / std)
    return np.asarray(ndtr(-ratio))


def error_by_doubt(
    llrs: Any, labels: Any, std: Any, threshold: float, bins: int = 10
) -> list[dict[str, float]]:
    """Wrong decisions against predicted ones, in bins of equally many trials by rising ``std``.

    Returns a mapping a bin: ``trials``, ``targets``, ``std`` (mean), ``error`` (share decided
    wrongly at ``threshold``) and ``predicted`` (mean of ``error_probability``). A doubt that is
    calibrated has the last two equal.
    """
    llrs, labels, std = np.asarray(llrs), np.asarray(labels, dtype=bool), np.asarray(std)
    wrong = (llrs >= threshold) != labels
    expected = error_probability(llrs, std, threshold)
    made = []
    for part in np.array_split(_ascending(std), min(bins, len(std))):
        made.append(
            {
                "trials": len(part),
                "targets": int(labels[part].sum()),
                "std": float(std[part].mean()),
                "error": float(wrong[part].mean()),
                "predicted": float(expected[part].mean()),
            }
        )
    return made


def _ascending(values: np.ndarray) -> np.ndarray:
    """Rows in ascending order of the values (N,); equal ones in a random order."""
    drawn = np.random.default_rng(0).permutation(len(values))
    return drawn[np.argsort(values[drawn], kind="stable")]
