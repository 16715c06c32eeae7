"""Rows grouped by speaker: folds that keep a speaker whole, and resampling of speakers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


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


def resample_weights(groups: int, replicates: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each of ``groups`` speakers is drawn in each bootstrap replicate: (R, groups)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=replicates)
