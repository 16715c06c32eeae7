"""What others have for the same works, to measure ours against.

WeSpeaker is no dependency and its code is not copied here: these are the same numpy operations in
the same order, so their times stand for its ``score_norm``, ``score_metrics`` and two-covariance
PLDA without what surrounds these (reading files, look-ups by name). Score files are read by pyarrow
(``pip install pyarrow``), where it is installed.
"""

from __future__ import annotations

import numpy as np


def cohort_statistics(
    vectors: np.ndarray, cohort: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of ``score_norm``: all cohort scores, sorted, then mean and deviation of the highest.

    ``vectors`` (M, D) and ``cohort`` (C, D) have unit length; returns (M,) each.
    """
    scores = np.sort(vectors @ cohort.T, axis=1)[:, ::-1][:, :top]
    return scores.mean(axis=1), scores.std(axis=1)


def eer_and_min_dcf(
    scores: np.ndarray, labels: np.ndarray, p_target: float = 0.01
) -> tuple[float, float]:
    """Of ``score_metrics``: sort, cumulative sums for all error rates, EER and normalised cost."""
    order = np.argsort(scores)
    weights, labels = np.ones(len(scores)), labels[order]
    targets, nontargets = weights * (labels == 1), weights * (labels == 0)
    p_miss = np.cumsum(targets) / targets.sum()
    p_fa = 1 - np.cumsum(nontargets) / nontargets.sum()
    above = np.flatnonzero(p_miss - p_fa >= 0)[0]
    below = np.flatnonzero(p_miss - p_fa < 0)[-1]
    way = (p_miss[above] - p_fa[above]) / (
        p_fa[below] - p_fa[above] - (p_miss[below] - p_miss[above])
    )
    eer = p_miss[above] + way * (p_miss[below] - p_miss[above])
    cost = p_target * p_miss + (1 - p_target) * p_fa
    return float(eer), float(cost.min() / min(p_target, 1 - p_target))


def read_by_arrow(path: str) -> tuple[np.ndarray, ...]:
    """A score file in SpeechBrain's form by pyarrow's CSV reader, on one thread.

    Returns numbers of both sides' ids (N,), labels (N,), scores (N,), and the ids. Raises
    ``ImportError`` where pyarrow is not installed.
    """
    import pyarrow as pa
    from pyarrow import csv

    ids, columns = pa.dictionary(pa.int32(), pa.string()), ["enrol", "test", "label", "score"]
    types = dict(zip(columns, (ids, ids, pa.int8(), pa.float64()), strict=True))
    table = csv.read_csv(
        path,
        csv.ReadOptions(column_names=columns, use_threads=False),
        csv.ParseOptions(delimiter=" ", quote_char=False),
        csv.ConvertOptions(column_types=types),
    )
    sides = [table[name].combine_chunks() for name in ("enrol", "test")]
    enrol, test = pa.chunked_array(sides).unify_dictionaries().chunks
    return (
        enrol.indices.to_numpy().astype(np.int64),
        test.indices.to_numpy().astype(np.int64),
        table["label"].to_numpy() == 1,
        table["score"].to_numpy(),
        np.array(enrol.dictionary.to_pylist()),
    )


class TwoCovariancePLDA:
    """The two-covariance PLDA: EM speaker by speaker, scores from the joint diagonalisation.

    With V^T W V = 1 and V^T B V = diag(psi) a trial of single sessions is scored, dimension by
    dimension, as log N(u; m, 1 + v) - log N(u; 0, 1 + psi) (docs/scoring.md).
    """

    def __init__(self, iterations: int = 10) -> None:
        self.iterations = iterations

    def fit(self, groups: list[np.ndarray]) -> None:
        """EM from the sessions (n, D) of each speaker."""
        everything = np.concatenate(groups)
        self.mean = everything.mean(axis=0)
        d = len(self.mean)
        means = np.stack([group.mean(axis=0) - self.mean for group in groups])  # (S, D)
        sizes = np.array([len(group) for group in groups])
        scatter = sum((g - g.mean(axis=0)).T @ (g - g.mean(axis=0)) for g in groups)
        between, within = np.eye(d), np.eye(d)
        for _ in range(self.iterations):
            between_inverse, within_inverse = np.linalg.inv(between), np.linalg.inv(within)
            between_sum, within_sum = np.zeros((d, d)), scatter.copy()
            for mean, n in zip(means, sizes, strict=True):
                posterior = np.linalg.inv(between_inverse + n * within_inverse)
                y = posterior @ (n * within_inverse @ mean)
                rest = mean - y
                between_sum += posterior + np.outer(y, y)
                within_sum += n * (posterior + np.outer(rest, rest))
            between, within = between_sum / len(groups), within_sum / sizes.sum()
        values, vectors = np.linalg.eigh(within)
        half = vectors / np.sqrt(values)
        self.psi, rotation = np.linalg.eigh(half.T @ between @ half)
        self.transform = rotation.T @ half.T

    def scores(self, enrol: np.ndarray, test: np.ndarray) -> np.ndarray:
        """LLRs (N,) of pairs of rows, trial by trial."""
        u_enrol = (enrol - self.mean) @ self.transform.T
        u_test = (test - self.mean) @ self.transform.T
        gain = self.psi / (self.psi + 1)
        same, other = 1 + gain, 1 + self.psi
        found = np.empty(len(u_enrol))
        for i, (e, t) in enumerate(zip(u_enrol, u_test, strict=True)):
            known = -0.5 * (np.log(same).sum() + ((t - gain * e) ** 2 / same).sum())
            found[i] = known + 0.5 * (np.log(other).sum() + (t**2 / other).sum())
        return found
