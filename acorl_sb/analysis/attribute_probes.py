"""Probes of what an embedding tells beside the speaker: a number, a class, the session."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn import functional as F

from acorl_sb.analysis.folds import speaker_folds, speaker_index
from acorl_sb.analysis.probes import Reading, as_reading, linear_r2, ridge
from acorl_sb.metrics.bootstrap import draws

LEAST_SPEAKERS = 5
"""Fewer speakers with pairs of both kinds give no reading of sessions."""


class SessionReading(NamedTuple):
    """A probe's reading of the session, with the rows (M,) of the embeddings that it has seen."""

    reading: Reading
    rows: np.ndarray


def value_probe(
    x: torch.Tensor,
    values: Sequence[float],
    speakers: Sequence[Hashable],
    folds: int = 5,
    seed: int = 0,
) -> Reading:
    """R^2 of a linear probe that reads a number, such as age or log duration, from x (N, D)."""
    y = torch.as_tensor(np.asarray(values, dtype=np.float64), device=x.device)[:, None]
    return linear_r2(x, y, speakers, folds, seed)


def class_probe(
    x: torch.Tensor,
    positive: Sequence[bool],
    speakers: Sequence[Hashable],
    folds: int = 5,
    seed: int = 0,
) -> Reading:
    """ROC AUC of a linear probe that tells two classes of rows apart, over held-out speakers.

    Least squares on +-1 with the ridge penalty; 0.5 is chance. Each fold's outputs are ranked
    within the fold and the folds' AUC averaged by their number of pairs, so that offsets between
    folds do no harm; a fold with one class only adds nothing. The interval resamples speakers.

    Raises ``ValueError`` where no fold has both classes, in training as in testing.
    """
    positive = np.asarray(positive, dtype=bool)
    index = speaker_index(speakers)
    fold = speaker_folds(index, folds, seed)
    y = torch.from_numpy(np.where(positive, 1.0, -1.0)).to(x.device)[:, None]
    outputs = np.empty(len(positive))
    used = []
    for k in range(fold.max() + 1):
        here = fold == k
        if len(set(positive[here])) < 2 or len(set(positive[~here])) < 2:
            continue
        held = torch.from_numpy(here).to(x.device)
        probe = ridge(x[~held].double(), y[~held], index[~here], seed=seed)
        outputs[here] = probe(x[held].double())[:, 0].cpu().numpy()
        used.append(k)
    if not used:
        raise ValueError("no fold of speakers holds both classes")
    weights = draws(index.max() + 1, replicates=200, seed=seed)
    value = _mean_auc(outputs, positive, fold, used, np.ones(len(outputs)))
    replicates = [_mean_auc(outputs, positive, fold, used, row[index]) for row in weights]
    return as_reading(value, np.array(replicates))


def _mean_auc(outputs, positive, fold, used, weight) -> float:
    won = pairs = 0.0
    for k in used:
        here = fold == k
        won_here, pairs_here = _pairs_won(outputs[here], positive[here], weight[here])
        won, pairs = won + won_here, pairs + pairs_here
    return won / pairs if pairs else float("nan")


def _pairs_won(
    outputs: np.ndarray, positive: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Weighted number of (positive, negative) pairs in the right order, ties half, and of all."""
    rank = rankdata(outputs, method="dense").astype(np.int64) - 1  # whatever SciPy counts in
    above = np.bincount(rank, weights=weight * positive)  # (U,) by distinct output
    below = np.bincount(rank, weights=weight * ~positive)
    lower = np.cumsum(below) - below
    return float((above * (lower + below / 2)).sum()), float(above.sum() * below.sum())


def session_probe(
    x: torch.Tensor,
    sessions: Sequence[str],
    speakers: Sequence[Hashable],
    folds: int = 5,
    max_pairs: int = 20_000,
    seed: int = 0,
) -> SessionReading | None:
    """ROC AUC of a linear probe that tells whether two utterances share their session.

    A session's name means nothing outside its speaker, so the probe sees pairs of one speaker's
    utterances: |bar(x_i) - bar(x_j)| (D,), same session or not, and is tested on pairs of other
    speakers. Speakers with pairs of one kind only take no part; with fewer than ``LEAST_SPEAKERS``
    others there is None. At most ``max_pairs`` pairs, drawn.
    """
    index = speaker_index(speakers)
    first, second, same = _session_pairs(np.asarray(sessions), index)
    if len(first) > max_pairs:
        keep = np.random.default_rng(seed).choice(len(first), max_pairs, replace=False)
        first, second, same = first[keep], second[keep], same[keep]
    owners = index[first]
    if len(set(owners)) < LEAST_SPEAKERS or not same.any() or same.all():
        return None
    unit = F.normalize(x.double(), dim=1)
    gap = (unit[torch.from_numpy(first)] - unit[torch.from_numpy(second)]).abs()  # (P, D)
    reading = class_probe(gap, same, owners, folds, seed)
    return SessionReading(reading, np.union1d(first, second))


def _session_pairs(sessions: np.ndarray, index: np.ndarray):
    """Pairs within each speaker who has both kinds: rows i < j and whether sessions are equal."""
    first, second, same = [], [], []
    for speaker in range(index.max() + 1):
        own = np.flatnonzero((index == speaker) & (sessions != ""))
        i, j = np.triu_indices(len(own), k=1)
        equal = sessions[own[i]] == sessions[own[j]]
        if equal.any() and not equal.all():
            first.append(own[i])
            second.append(own[j])
            same.append(equal)
    if not first:
        return (np.empty(0, dtype=np.int64),) * 2 + (np.empty(0, dtype=bool),)
    return np.concatenate(first), np.concatenate(second), np.concatenate(same)
