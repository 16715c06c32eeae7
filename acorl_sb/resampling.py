"""The speaker bootstrap of ``acorl_sb.bootstrap`` for many systems over millions of trials.

The draws, the weights and what is estimated are those of ``bootstrap.speaker_bootstrap``; where a
few thousand thresholds are all there are, so are the values. With more trials the error rates of a
replicate are taken at a fixed grid of thresholds, chosen on the unweighted trials: each of the
highest-scoring non-target trials, then steps of 1 % in the false-alarm rate, and as fine in the
miss rate. A replicate then costs the trials above the lowest threshold that can matter, as sums
over speakers instead of sorted trials.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse

from acorl_sb.bootstrap import Measure

EXACT = 2048
"""Up to this many candidate thresholds every one is taken."""

_STEP = 0.01  # of a rate, from one threshold to the next
_BLOCK = 1 << 22  # weights held at once


class SpeakerResampler:
    """Replicates of a metric for one system after another, all from the same draws of speakers.

    Arguments:
        labels: (N,), True for a target trial.
        enrol_speaker, test_speaker: (N,) int, of both sides of a trial; they agree on a target
            trial and differ on a non-target trial.
        replicates: R, how often speakers are drawn.
        seed: as in ``bootstrap.speaker_bootstrap``: the same draws for the same seed and number of
            speakers.

    Raises ``ValueError`` for fewer than two speakers and speakers that contradict the labels.
    """

    def __init__(
        self,
        labels: np.ndarray,
        enrol_speaker: np.ndarray,
        test_speaker: np.ndarray,
        replicates: int = 1000,
        seed: int = 0,
    ) -> None:
        labels = np.asarray(labels, dtype=bool)
        present = np.unique(enrol_speaker)
        present = np.union1d(present, np.unique(test_speaker))
        if len(present) < 2:
            raise ValueError("a bootstrap over speakers needs at least two speakers")
        if not np.array_equal(np.asarray(enrol_speaker) == np.asarray(test_speaker), labels):
            raise ValueError("the speakers contradict the labels")
        self.target, self.nontarget = np.flatnonzero(labels), np.flatnonzero(~labels)
        self.enrol = np.searchsorted(present, enrol_speaker).astype(np.int32)  # (N,) from 0
        self.test = np.searchsorted(present, test_speaker).astype(np.int32)
        speakers = len(present)
        counts = np.random.default_rng(seed).multinomial(
            speakers, np.full(speakers, 1.0 / speakers), replicates
        )
        self.draws = np.ascontiguousarray(counts.T, dtype=np.float32)  # (K, R)

        # Of both classes the weight of all trials, which needs no threshold: (R,) each.
        per_speaker = np.bincount(self.enrol[self.target], minlength=speakers)  # (K,)
        self.n_target = per_speaker @ self.draws.astype(np.float64)
        pairs = scipy.sparse.coo_matrix(
            (
                np.ones(len(self.nontarget), dtype=np.float32),
                (self.enrol[self.nontarget], self.test[self.nontarget]),
            ),
            shape=(speakers, speakers),
        ).tocsr()  # (K, K) trials of each two speakers
        self.n_nontarget = np.einsum("kr,kr->r", self.draws, pairs @ self.draws, dtype=np.float64)

    def __call__(
        self, scores: np.ndarray, measures: Iterable[Measure] = (Measure("eer"),)
    ) -> dict[str, np.ndarray]:
        """``{str(measure): (R,)}`` of one system's scores (N,); ``eer`` and ``min_dcf`` only.

        A replicate without a target or a non-target trial is NaN.
        """
        p_miss, p_fa = self.rates(np.asarray(scores, dtype=np.float64))  # (C, R) each
        made = {}
        for measure in measures:
            if measure.kind == "eer":
                made[str(measure)] = _eer(p_miss, p_fa)
            elif measure.kind == "min_dcf":
                miss = measure.p_target * measure.c_miss
                fa = (1.0 - measure.p_target) * measure.c_fa
                cost = miss * p_miss
                cost += fa * p_fa
                made[str(measure)] = cost.min(0) / min(miss, fa)
            else:
                raise ValueError(f"only eer and min_dcf are resampled here, not {measure.kind}")
        return made

    def rates(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(p_miss, p_fa) of every replicate at rising thresholds, (C, R) each.

        The first threshold accepts all trials, the last rejects all.
        """
        target, nontarget = scores[self.target], scores[self.nontarget]
        grid = _thresholds(np.sort(target), np.sort(nontarget))  # (C - 2,) rising
        replicates = self.draws.shape[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            # Misses: target trials below each threshold, by speaker.
            at = np.searchsorted(grid, target, side="right")  # (T,) thresholds reached
            speakers = len(self.draws)
            cell = at.astype(np.int64) * speakers + self.enrol[self.target]
            below = np.bincount(cell, minlength=(len(grid) + 1) * speakers)
            below = below.reshape(len(grid) + 1, speakers).astype(np.float32)
            p_miss = np.empty((len(grid) + 2, replicates))
            p_miss[0], p_miss[1:] = 0.0, np.cumsum(below @ self.draws, axis=0, dtype=np.float64)
            p_miss /= self.n_target

            # False alarms: non-target trials at or above each threshold, by pairs of speakers.
            p_fa = np.zeros((len(grid) + 2, replicates))
            above = np.flatnonzero(nontarget >= grid[0]) if len(grid) else np.zeros(0, np.int64)
            reached = np.searchsorted(grid, nontarget[above], side="right")  # from 1
            order = np.argsort(reached, kind="stable")
            above, reached = self.nontarget[above[order]], reached[order]
            rows = max(1, _BLOCK // replicates)
            for start in range(0, len(above), rows):
                part = slice(start, start + rows)
                weights = self.draws[self.enrol[above[part]]]  # (n, R)
                weights *= self.draws[self.test[above[part]]]
                bins, first = np.unique(reached[part], return_index=True)
                p_fa[bins] += np.add.reduceat(weights, first, axis=0)
            p_fa = np.cumsum(p_fa[::-1], axis=0)[::-1]
            p_fa /= self.n_nontarget
            p_fa[0] = np.where(self.n_nontarget > 0, 1.0, np.nan)
        return p_miss, p_fa


def _thresholds(target: np.ndarray, nontarget: np.ndarray) -> np.ndarray:
    """Rising thresholds at which to take the rates; both classes sorted, ascending."""
    # Worth looking at are target scores with a non-target just below: any other threshold misses
    # more for the same false alarms.
    below = np.searchsorted(nontarget, target)
    first = np.ones(len(below), dtype=bool)
    first[1:] = below[1:] > below[:-1]
    candidates = np.flatnonzero(first)
    if len(candidates) <= EXACT:
        return target[candidates]
    misses = candidates  # target trials below each candidate
    alarms = len(nontarget) - below[candidates]  # non-target trials at or above it
    error = np.maximum(misses / len(target), alarms / len(nontarget)).min()  # EER, about
    useful = alarms <= max(0.1, 4.0 * error) * len(nontarget)
    misses, alarms, candidates = misses[useful], alarms[useful], candidates[useful]
    # Geometric steps of either count, single ones as long as they are larger.
    level = np.stack([np.log1p(_STEP * misses), np.log1p(_STEP * alarms)]) / np.log1p(_STEP)
    changed = np.any(np.diff(np.floor(level), axis=1) != 0, axis=0)
    return target[candidates[np.concatenate([[True], changed])]]


def _eer(p_miss: np.ndarray, p_fa: np.ndarray) -> np.ndarray:
    """EER on the convex hull of each column of points: (C, R), (C, R) -> (R,).

    As in ``metrics.eer``: the hull's edge across p_miss = p_fa is closed in on from (1, 0) and
    (0, 1), each time by the point farthest beyond the line through both ends.
    """
    columns = np.arange(p_miss.shape[1])
    low_miss, low_fa = np.zeros(len(columns)), np.ones(len(columns))  # accept all
    high_miss, high_fa = np.ones(len(columns)), np.zeros(len(columns))  # reject all
    while True:
        weight_miss, weight_fa = low_fa - high_fa, high_miss - low_miss
        cost = weight_miss * p_miss
        cost += weight_fa * p_fa
        at = cost.argmin(0)
        beyond = cost[at, columns] < weight_miss * low_miss + weight_fa * low_fa - 1e-12
        if not beyond.any():
            break
        miss, fa = p_miss[at, columns], p_fa[at, columns]
        lower, upper = beyond & (miss < fa), beyond & (miss >= fa)
        low_miss, low_fa = np.where(lower, miss, low_miss), np.where(lower, fa, low_fa)
        high_miss, high_fa = np.where(upper, miss, high_miss), np.where(upper, fa, high_fa)
    gap_low, gap_high = low_fa - low_miss, high_miss - high_fa
    found = (low_miss * gap_high + high_miss * gap_low) / (gap_low + gap_high)
    return np.where(np.isnan(p_miss[-1]) | np.isnan(p_fa[0]), np.nan, found)
