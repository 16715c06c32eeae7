"""How unequal figures of groups are, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from acorl_sb.metrics.intervals import too_few


def gini(errors: Any) -> Any:
    """Gini coefficient of group errors over the first axis, (G,) or (G, R), in [0, 1].

    The mean absolute difference of all pairs over twice the mean, with the correction
    n / (n - 1) for few groups: 0 where all are equal, 1 where one group has all errors (Howard et
    al., "Evaluating proposed fairness models for face recognition algorithms", 2022). NaN where
    all are 0; each group counts the same, whatever its size.

    Raises ``ValueError`` for fewer than two groups.

    >>> float(gini([0.1, 0.1])), float(gini([0.0, 0.3]))
    (0.0, 1.0)
    """
    errors = np.asarray(errors, dtype=np.float64)
    n = len(errors)
    if n < 2:
        raise ValueError("a Gini coefficient compares two groups or more")
    apart = np.abs(errors[:, None] - errors[None]).sum((0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return apart / (2 * n * (n - 1) * errors.mean(0))


def worst_to_best(errors: Any) -> float | None:
    """The largest error over the smallest; None where the smallest is 0."""
    errors = np.asarray(errors, dtype=np.float64)
    return float(errors.max() / errors.min()) if errors.min() > 0 else None


def gini_by_chance(errors: Any, replicates: Any) -> float | None:
    """The mean Gini coefficient that groups of one true error would show by sampling alone.

    ``errors`` (G,) and their bootstrap ``replicates`` (G, R): each group's replicates are moved to
    the mean of all groups, so only their spread is left. None where fewer than 9 in 10 replicates
    have a value.
    """
    errors = np.asarray(errors, dtype=np.float64)
    moved = np.asarray(replicates, dtype=np.float64) - errors[:, None] + errors.mean()
    values = gini(np.maximum(moved, 0.0))
    return None if too_few(values) else float(np.nanmean(values))


def bootstrap_p(differences: Any) -> float | None:
    """Two-sided p-value of "no difference" from bootstrap replicates (R,) of a difference.

    Twice the smaller share of replicates on either side of 0, each share with one more counted
    (Davison and Hinkley, "Bootstrap methods and their application", 1997), at most 1. With R
    replicates it is never below 2 / (R + 1). NaN replicates are left out; None where fewer than 9
    in 10 have a value, as ``interval`` has none.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if too_few(differences):
        return None
    known = differences[np.isfinite(differences)]
    sides = (np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return min(1.0, 2.0 * (1 + min(sides)) / (len(known) + 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values (k,) adjusted for k tests by Holm's step-down method, in their order.

    The i-th smallest is multiplied by k - i + 1 and is no smaller than those before it (Holm, "A
    simple sequentially rejective multiple test procedure", 1979). Below 0.05: with less than one
    wrong claim in twenty among all k tests. What has no p-value stays None and is no test.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    p = np.asarray([value for value in p_values if value is not None], dtype=np.float64)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    made = np.empty_like(p)
    made[order] = np.minimum(raised, 1.0)
    adjusted = iter(made.tolist())
    return [None if value is None else next(adjusted) for value in p_values]
