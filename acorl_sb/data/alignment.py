"""Bringing several files over the same trials into one order, dropping none.

pandas can join on two columns of ids, but drops what does not match or fills it with NaN; here it
is counted and named.
"""

from __future__ import annotations

import itertools

import numpy as np

from acorl_sb.data.lines import some
from acorl_sb.data.trials import TrialList
from acorl_sb.utils.errors import UserError


def align(trials: TrialList, other: TrialList, name: str, other_name: str) -> np.ndarray | None:
    """The order that puts another list's trials like those of ``trials``.

    Returns ``order`` (N,) with ``other[order]`` equal to ``trials`` trial by trial, or None where
    both are in one order already. Neither list holds a trial twice (the readers see to that). The
    sides of a trial count: ``a b`` is another trial than ``b a``.

    Raises ``UserError`` when the two are not the same set of trials: how many of either are not
    in the other, and the first few. ``name`` and ``other_name`` are the files, for the message.
    """
    same = (trials.enrol, other.enrol), (trials.test, other.test)
    if trials.ids == other.ids and all(np.array_equal(mine, theirs) for mine, theirs in same):
        return None
    index = dict(zip(trials.ids, range(len(trials.ids)), strict=True))
    unknown = itertools.count(len(trials.ids))
    found = [next(unknown) if number is None else number for number in map(index.get, other.ids)]
    renumber = np.array(found, dtype=np.int64)
    width = len(trials.ids) + len(other.ids)
    keys = trials.enrol * width + trials.test  # (N,) one number a trial
    other_keys = renumber[other.enrol] * width + renumber[other.test]  # (N_other,)
    if np.array_equal(keys, other_keys):
        return None
    order, other_order = np.argsort(keys, kind="stable"), np.argsort(other_keys, kind="stable")
    ranked, other_ranked = keys[order], other_keys[other_order]
    if not np.array_equal(ranked, other_ranked):
        parts = []
        lost = np.sort(order[~_contained(ranked, other_ranked)])
        if len(lost):
            shown = some(trials.name(trial) for trial in lost)
            parts.append(f"{len(lost)} of the {len(trials)} trials of {name} are missing ({shown})")
        added = np.sort(other_order[~_contained(other_ranked, ranked)])
        if len(added):
            shown = some(other.name(trial) for trial in added)
            parts.append(f"{len(added)} of its {len(other)} trials are not in {name} ({shown})")
        raise UserError(
            f"{other_name}: {' and '.join(parts)}; every file must hold the same trials"
        )
    result = np.empty_like(order)
    result[order] = other_order
    return result


def _contained(ranked: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which of the sorted keys are among the other sorted keys."""
    at = np.minimum(np.searchsorted(other, ranked), len(other) - 1)
    return other[at] == ranked
