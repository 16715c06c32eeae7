"""Rows grouped by speaker: folds that keep a speaker whole, and resampling of speakers.

scikit-learn's ``GroupKFold`` deals speakers out in the same way, but takes a seed from its version
1.6 on only, and sorts them by an unstable sort: where speakers have equally many rows, which is the
usual case, the folds depend on the version of numpy and on the processor.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from acorl_sb.metrics.bootstrap import draws
from acorl_sb.metrics.intervals import interval


def speaker_index(speakers: Sequence[Hashable]) -> np.ndarray:
    """Speaker names of N rows -> (N,) int64 in [0, number of speakers), in order of names."""
    return np.unique(np.asarray(speakers), return_inverse=True)[1].astype(np.int64)


def speaker_folds(speakers: Sequence[Hashable], folds: int, seed: int = 0) -> np.ndarray:
    """Which fold each row is held out in: (N,) int64 in [0, folds).

    All rows of a speaker share a fold, and folds hold about equally many rows. With fewer speakers
    than folds, each speaker is a fold. The same speakers and seed give the same folds.

    Raises ``ValueError`` with fewer than two speakers.
    """
    index = speaker_index(speakers)  # (N,)
    counts = np.bincount(index)
    if len(counts) < 2:
        raise ValueError(f"cross-validation by speaker needs two speakers, not {len(counts)}")
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]  # many rows first
    filled = np.zeros(min(folds, len(counts)), dtype=np.int64)
    fold_of = np.empty(len(counts), dtype=np.int64)
    for speaker in order:
        fold_of[speaker] = np.argmin(filled)
        filled[fold_of[speaker]] += counts[speaker]
    return fold_of[index]


def trial_mean(
    values: np.ndarray, enrol_speaker: np.ndarray, test_speaker: np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over trials (N,) with its 95 % interval: (mean, low, high); NaN values are left out.

    The bootstrap draws speakers; a trial counts as often as its speaker is drawn, or as the
    product of both where they differ. The ends are NaN with too few speakers.
    """
    kept = np.isfinite(values)
    values = np.asarray(values, dtype=np.float64)[kept]
    if not len(values):
        return (float("nan"),) * 3
    index = speaker_index(np.concatenate([enrol_speaker[kept], test_speaker[kept]]))
    first, second = index[: len(values)], index[len(values) :]
    drawn = draws(index.max() + 1, seed=seed)  # (R, S)
    weights = np.where(first == second, drawn[:, first], drawn[:, first] * drawn[:, second])
    total = weights.sum(1)
    replicates = np.full(len(total), np.nan)
    np.divide(weights @ values, total, out=replicates, where=total > 0)
    try:
        return (float(values.mean()), *interval(replicates))
    except ValueError:
        return float(values.mean()), float("nan"), float("nan")
