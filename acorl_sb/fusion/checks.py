"""Checks of scores and labels that fusion and calibration share, and their warning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from acorl_sb.utils.errors import UserError

LARGEST, NARROWEST = 1e100, 1e-100
"""Squares and products of scores within these bounds are numbers, not infinity or 0."""


class FusionWarning(UserWarning):
    """Something about the development data that a reader of the fused scores must know."""


def check_scores(scores: np.ndarray, names: Sequence[str] | None = None) -> np.ndarray:
    """Return ``scores`` as float64 ``(S, N)``; refuse non-finite values.

    A ``(N,)`` array is one system. float64 input is not copied.

    Raises
    ------
    UserError
        For no trials, and for a NaN or infinity: which system, how many, the first trial.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if scores.ndim != 2:
        raise ValueError(f"scores must be (systems, trials), not {scores.shape}")
    if scores.shape[1] == 0:
        raise UserError("there are no trials: the scores are empty")
    for index, row in enumerate(scores):
        # A sum is finite unless a term is not (or overflows): much cheaper than N tests.
        if not math.isfinite(row.sum()):
            bad = np.flatnonzero(~np.isfinite(row))
            if len(bad):
                raise UserError(
                    f"{system_name(index, names)}: {len(bad)} of {len(row)} scores are not finite, "
                    f"first trial number {bad[0] + 1} ({row[bad[0]]}); "
                    "score these trials again or leave this system out"
                )
    return scores


def check_labels(labels: np.ndarray | None, trials: int, what: str = "development") -> np.ndarray:
    """Return ``labels`` as bool ``(N,)`` holding both classes; ``what`` trials, for messages.

    Raises
    ------
    UserError
        For labels that are missing, or of one class only.
    """
    if labels is None:
        raise UserError(
            f"the {what} trials have no labels; give a trial list that says which are target"
        )
    labels = np.asarray(labels)
    if labels.dtype != bool:
        if not np.isin(np.unique(labels), (0, 1)).all():
            raise ValueError("labels must be bool, or 0 and 1")
        labels = labels.astype(bool)
    if labels.shape != (trials,):
        raise ValueError(f"labels must be ({trials},), not {labels.shape}")
    targets = int(labels.sum())
    if targets in (0, trials):
        kind = "target" if targets else "non-target"
        raise UserError(f"all {trials} {what} trials are {kind} trials; both classes are needed")
    return labels


def system_name(index: int, names: Sequence[str] | None) -> str:
    """What a message calls the system at ``index``: its name, or its number from 1."""
    return f"system '{names[index]}'" if names is not None else f"system {index + 1}"


def refuse_constant(scores: np.ndarray, names: Sequence[str] | None) -> None:
    """``UserError`` for a system of (S, N) whose scores are all equal: it tells no trials apart."""
    for index, row in enumerate(scores):
        if row.min() == row.max():
            raise UserError(
                f"{system_name(index, names)}: all {len(row)} development scores are {row[0]:g}, "
                "so it tells no trials apart; leave it out"
            )


def check_size(values: np.ndarray, where: str, fitted: bool) -> None:
    """Refuse scores (N,), or what else a column holds, too large or too close for arithmetic.

    Arguments
    ---------
    values : (N,), finite
    where : names the system and the file, for the message.
    fitted : whether a fusion is fitted on them, so that their spread counts too.

    Raises
    ------
    UserError
        For a magnitude above ``LARGEST``, and fitted values that differ by less than
        ``NARROWEST``. Values that are all equal are left to ``refuse_constant``.
    """
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    if max(-low, high) > LARGEST:
        raise UserError(
            f"{where}: a value of {low if -low > high else high:g} is too large to compute with "
            f"(the limit is {LARGEST:g}); scale this file's values down"
        )
    if fitted and 0.0 < high - low < NARROWEST:
        raise UserError(
            f"{where}: the values differ by {high - low:g} at most, too little to compute with "
            f"(the limit is {NARROWEST:g}); scale this file's values up"
        )


def check_llrs(llrs: np.ndarray, where: str) -> None:
    """``UserError`` where a fused LLR (N,) or its standard deviation is no finite number."""
    bad = int(np.count_nonzero(~np.isfinite(llrs)))
    if bad:
        raise UserError(
            f"{where}: the fused scores of {bad} trials are not finite, so nothing is written; "
            "the scores must be of the size that the model was fitted on"
        )


def check_prior(prior: float) -> float:
    """An effective prior of a target trial as a float; ``UserError`` outside (0, 1)."""
    if not 0.0 < prior < 1.0:
        raise UserError(f"the effective prior must lie between 0 and 1, not {prior}")
    return float(prior)


def check_fitted(fitted: bool, expected: int, given: int) -> None:
    """Refuse to apply a model that is not fitted, or was fitted on another number of systems."""
    if not fitted:
        raise ValueError("fit the model first")
    if expected != given:
        raise UserError(f"the fusion was fitted on {expected} systems but is given {given}")
