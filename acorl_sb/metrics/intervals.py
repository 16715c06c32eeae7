"""Intervals from bootstrap replicates, of figures and of paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from acorl_sb.metrics.sorting import Array


def too_few(values: Array) -> bool:
    """Whether fewer than 9 in 10 replicates, on the last axis, have a value in some row."""
    return bool(np.isfinite(np.asarray(values)).mean(axis=-1).min() < 0.9)


def interval(values: Array, level: float = 0.95) -> tuple[Any, Any]:
    """Percentile interval over the last axis of replicate values, NaN replicates left out.

    For values (R,) two floats, for (S, R) two arrays (S,). For a paired comparison give the
    difference of two rows. Raises ``ValueError`` when fewer than 9 in 10 replicates have a value:
    there are then too few speakers for an interval.
    """
    values = np.asarray(values, dtype=np.float64)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    if too_few(values):
        raise ValueError("too few speakers: most draws of them miss one class of trials")
    tail = (1.0 - level) / 2.0
    values = np.where(np.isfinite(values), values, np.nan)
    low, high = np.nanquantile(values, (tail, 1.0 - tail), axis=-1)
    return (float(low), float(high)) if values.ndim == 1 else (low, high)


def paired_changes(
    figures: Mapping[str, float],
    replicates: Mapping[str, np.ndarray],
    base: Mapping[str, float],
    base_replicates: Mapping[str, np.ndarray],
    level: float = 0.95,
) -> dict[str, dict[str, Any]]:
    """Figure by figure, a system's minus the base system's: ``{name: {"change", "interval"}}``.

    ``figures`` and ``base`` are values by name, ``replicates`` (R,) theirs over the same draws.
    ``interval`` is [low, high], or None for a figure that lacks replicates; figures that the base
    does not have are left out.
    """
    made: dict[str, dict[str, Any]] = {}
    for name in figures:
        if name in base:
            made[name] = {"change": figures[name] - base[name], "interval": None}
            if name in replicates and name in base_replicates:
                drawn = replicates[name] - base_replicates[name]
                made[name]["interval"] = list(interval(drawn, level))
    return made
