"""What each member gives to a fusion: subsets, paired steps, correlation, error overlap.

Pure functions; how a subset is fused and judged comes in as a function, so the same code serves
development/test and cross-validation, and any metric. Errors are fractions; lower is better. A
subset is a tuple of ascending member indices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.metrics.intervals import interval, paired_changes

Subset = tuple[int, ...]


@dataclass(frozen=True)
class Judged:
    """One fused subset.

    ``selection`` is the error that choices may look at (development trials); ``figures`` are the
    reported metrics by name; ``replicates`` their bootstrap replicates by name, (R,) each, of the
    same resamples for every subset, empty where there are none.
    """

    selection: float
    figures: dict[str, float]
    replicates: dict[str, np.ndarray] = field(default_factory=dict)


def all_subsets(members: int) -> list[Subset]:
    """Every non-empty subset, by size, then in order: 2^members - 1 of them."""
    return [
        subset
        for size in range(1, members + 1)
        for subset in itertools.combinations(range(members), size)
    ]


def greedy_path(members: int, error: Callable[[Subset], float]) -> list[Subset]:
    """Grow from the best single member to all, each time by the one that lowers ``error`` most.

    Of equal candidates the first is taken. Asks for at most members (members + 1) / 2 errors.
    """
    path: list[Subset] = [()]
    while len(path[-1]) < members:
        grown = [
            tuple(sorted((*path[-1], member)))
            for member in range(members)
            if member not in path[-1]
        ]
        path.append(min(grown, key=error))
    return path[1:]


def contributions(
    members: int,
    judge: Callable[[Subset], Judged],
    exhaustive: int = 8,
    level: float = 0.95,
    mapper: Callable[..., Iterable[Judged]] = map,
) -> dict[str, Any]:
    """Judge subsets and say what every member adds.

    Arguments
    ---------
    members : how many there are, at least 1.
    judge : fuses a subset and measures it; called once for each subset.
    exhaustive : up to this many members all subsets are judged; beyond, the greedy path, the
        single members and the full set without each member.
    level : of the intervals of the paired differences.
    mapper : like ``map``; may judge several at a time.

    Returns
    -------
    dict of plain lists and numbers
        ``search``: ``"all"`` or ``"greedy"``.
        ``subsets``: a row ``{members, selection, figures, intervals}`` for each judged subset.
        ``path``: the subsets of the greedy path (chosen by ``selection``).
        ``steps``: a row for each judged pair of a subset and the same with one member more:
            ``{without, member, on_path, leave_one_out, change: {figure: {change, interval,
            verdict}}}``.
    """
    judged: dict[Subset, Judged] = {}

    def ask(subset: Subset) -> Judged:
        if subset not in judged:
            judged[subset] = judge(subset)
        return judged[subset]

    full = tuple(range(members))
    path = []
    if members <= exhaustive:
        subsets = all_subsets(members)
        judged.update(zip(subsets, mapper(judge, subsets), strict=True))
    path = greedy_path(members, lambda subset: ask(subset).selection)
    for member in full if members > 1 else ():
        ask(tuple(m for m in full if m != member))

    order = sorted(judged, key=lambda subset: (len(subset), subset))
    steps = []
    for larger in order:
        for member in larger if len(larger) > 1 else ():
            smaller = tuple(m for m in larger if m != member)
            if smaller not in judged:
                continue
            steps.append(
                {
                    "without": list(smaller),
                    "member": member,
                    "on_path": smaller in path and larger in path,
                    "leave_one_out": larger == full,
                    "change": change(judged[smaller], judged[larger], level),
                }
            )
    return {
        "search": "all" if members <= exhaustive else "greedy",
        "level": level,
        "subsets": [
            {
                "members": list(subset),
                "selection": judged[subset].selection,
                "figures": judged[subset].figures,
                "intervals": {
                    name: list(interval(values, level))
                    for name, values in judged[subset].replicates.items()
                },
            }
            for subset in order
        ],
        "path": [list(subset) for subset in path],
        "steps": steps,
    }


def change(smaller: Judged, larger: Judged, level: float) -> dict[str, dict[str, Any]]:
    """Figure by figure, larger minus smaller (negative: the member helps), paired interval."""
    changes = paired_changes(
        larger.figures, larger.replicates, smaller.figures, smaller.replicates, level
    )
    return with_verdicts(changes)


def with_verdicts(changes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Paired changes, each with its ``verdict``: helps, harms, not shown, or None."""
    for row in changes.values():
        row["verdict"] = None
        if row["interval"]:
            low, high = row["interval"]
            row["verdict"] = "helps" if high < 0 else "harms" if low > 0 else "not shown"
    return changes


# ------------------------------------------------------------------------------------------------
# How alike the members are


def score_correlations(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Pearson correlation of members' scores, targets and non-targets apart.

    Scores (S, N), labels (N,). Apart, because the distance between both classes alone would make
    any two working systems look alike. Returns ``{"target": (S, S), "nontarget": (S, S)}`` in
    [-1, 1]; NaN where a member is constant on a class or the class has one trial only.
    """
    scores, labels = np.atleast_2d(scores), np.asarray(labels, dtype=bool)
    return {
        "target": _correlation(scores[:, labels]),
        "nontarget": _correlation(scores[:, ~labels]),
    }


def _correlation(scores: np.ndarray) -> np.ndarray:
    centred = scores - scores.mean(1, keepdims=True)  # (S, N)
    covariance = centred @ centred.T  # (S, S)
    spread = np.sqrt(np.diag(covariance))
    # Rounding leaves a trace of variance in a constant row.
    floor = 1e-12 * np.abs(scores).max(1) * np.sqrt(scores.shape[1])
    spread = np.where(spread > floor, spread, np.nan)
    return np.clip(covariance / np.outer(spread, spread), -1.0, 1.0)


def wrong_decisions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which trials are decided wrongly at the scores' own EER threshold: (N,) bool."""
    labels = np.asarray(labels, dtype=bool)
    return (np.asarray(scores) >= metrics.eer_threshold(scores, labels)) != labels


def error_overlap(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Which trials members get wrong, each at its own EER threshold, and how far they agree.

    Scores (S, N), labels (N,). Returns
        ``thresholds`` (S,): of each member, where misses and false alarms are equally frequent;
        ``errors`` (S,) int: trials decided wrongly;
        ``common`` (S, S) int: trials that both get wrong;
        ``share`` (S, S): common errors as a fraction of the trials that either gets wrong
            (Jaccard), 1 on the diagonal, NaN where neither errs;
        ``expected`` (S, S): the share if the two erred independently within each class.
    """
    scores, labels = np.atleast_2d(scores), np.asarray(labels, dtype=bool)
    thresholds = np.array([metrics.eer_threshold(row, labels) for row in scores])
    wrong = (scores >= thresholds[:, None]) != labels  # (S, N)
    common = np.zeros((len(scores), len(scores)), dtype=np.int64)
    chance = np.zeros(common.shape)
    for here in (labels, ~labels):
        part = wrong[:, here]
        for i, j in itertools.combinations_with_replacement(range(len(scores)), 2):
            both = int(np.count_nonzero(part[i] & part[j]))
            common[i, j] += both
            expected = both if i == j else float(part[i].sum()) * part[j].sum() / part.shape[1]
            chance[i, j] += expected
            if i != j:
                common[j, i] += both
                chance[j, i] += expected
    errors = np.diag(common).copy()
    either = errors[:, None] + errors[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "thresholds": thresholds,
            "errors": errors,
            "common": common,
            "share": common / (either - common),
            "expected": chance / (either - chance),
        }


def named(subset: Sequence[int], names: Sequence[str]) -> str:
    """A subset as people read it: ``ecapa + resnet``."""
    return " + ".join(names[member] for member in subset)
