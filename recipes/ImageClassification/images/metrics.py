"""Accuracy, top-5, NLL and calibration error of class probabilities, with bootstrap intervals.

``probabilities`` are (N, C) with rows that sum to 1, ``labels`` (N,) int in [0, C).
"""

from __future__ import annotations

import numpy as np

METRICS = ("accuracy", "top5", "nll", "ece")
BINS = 15


def softmax(logits: np.ndarray) -> np.ndarray:
    """(N, C) -> probabilities (N, C), float64."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def evaluate(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """All metrics, once for each row of ``weights``.

    ``accuracy``: fraction whose most probable class is right. ``top5``: fraction whose class is
    among the five most probable. Equal probabilities: the lower label counts as more probable.
    ``nll``: mean -ln p(label), nats, with p no smaller than 1e-12. ``ece``: expected calibration
    error (Guo et al. 2017), the mean over images of |accuracy - confidence| of its bin, where
    confidence is the largest probability, in 15 bins of equal width.

    Arguments
    ---------
    weights : (R, N) or None
        How often each image counts; None: once, and R = 1.

    Returns ``{metric: float64 (R,)}``, rates as fractions.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    labels = np.asarray(labels)
    n, classes = probabilities.shape
    if labels.shape != (n,):
        raise ValueError(f"{n} rows of probabilities and labels of shape {labels.shape}")
    weights = np.ones((1, n)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = weights.sum(axis=1)
    own = probabilities[np.arange(n), labels][:, None]  # (N, 1)
    before = probabilities > own
    before |= (probabilities == own) & (np.arange(classes) < labels[:, None])
    rank = before.sum(axis=1)  # (N,): 0 is the most probable class
    confidence = probabilities.max(axis=1)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.zeros((n, BINS))
    gaps[np.arange(n), place] = (rank == 0) - confidence
    loss = -np.log(np.maximum(own[:, 0], 1e-12))
    return {
        "accuracy": weights @ (rank == 0) / total,
        "top5": weights @ (rank < 5) / total,
        "nll": weights @ loss / total,
        "ece": np.abs(weights @ gaps).sum(axis=1) / total,
    }


def over_runs(values: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Mean over runs of replicate values (S, R), with how often each run is drawn, (R, S)."""
    return (values * runs.T).sum(axis=0) / runs.sum(axis=1)


def centred(replicates: np.ndarray, estimate: float) -> np.ndarray:
    """Replicates (R,) shifted so that their mean is the estimate.

    The calibration error grows when images repeat, so its replicates lie above the estimate;
    the others hardly move.
    """
    return replicates - replicates.mean() + estimate
