"""Quality measures of trials, and fusion of embeddings by concatenation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from acorl_sb.errors import UserError


def quality_columns(
    values: np.ndarray, enrol: np.ndarray, test: np.ndarray, symmetric: bool = True
) -> np.ndarray:
    """Two columns per trial from one measure per utterance: (U,), (N,), (N,) -> (2, N).

    ``symmetric``: the smaller and the larger of both sides, so that swapping the sides of a trial
    leaves its fused score alone (Thienpondt et al., "The IDLAB VoxSRC-20 submission", 2021);
    otherwise enrolment side, then test side.
    """
    values = np.asarray(values, dtype=np.float64)
    left, right = values[enrol], values[test]
    if symmetric:
        return np.stack([np.minimum(left, right), np.maximum(left, right)])
    return np.stack([left, right])


def log_durations(seconds: np.ndarray) -> np.ndarray:
    """Natural logarithm of durations in seconds (U,) -> (U,).

    Raises:
        UserError: a duration is not a positive finite number.
    """
    seconds = np.asarray(seconds, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(seconds) & (seconds > 0)))
    if len(bad):
        raise UserError(
            f"{len(bad)} durations are not positive, first number {bad[0] + 1} ({seconds[bad[0]]})"
        )
    return np.log(seconds)


def magnitudes(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths of raw embeddings: (U, D) -> (U,)."""
    return np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)


def cohort_means(
    vectors: np.ndarray, cohort: np.ndarray, top: int = 100, block: int = 1024
) -> np.ndarray:
    """Mean cosine of each embedding to its ``top`` nearest cohort members: (U, D), (M, D) -> (U,).

    High for an utterance that is close to many voices, where a high score proves less. Works in
    blocks of ``block`` utterances, so memory is block times M.
    """
    vectors, cohort = unit_length(vectors), unit_length(cohort)
    top = min(int(top), len(cohort))
    if top < 1:
        raise UserError("the cohort is empty, or top is less than 1")
    means = np.empty(len(vectors))
    for first in range(0, len(vectors), block):
        cosine = vectors[first : first + block] @ cohort.T  # (block, M)
        means[first : first + block] = np.partition(cosine, -top, axis=1)[:, -top:].mean(1)
    return means


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """bar(v) = v / |v| for each row of (U, D), float64.

    Raises:
        UserError: a row is zero or not finite, so that it has no direction.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        raise UserError(
            f"{len(bad)} of {len(vectors)} embeddings are zero or not finite, "
            f"first row number {bad[0] + 1}"
        )
    return vectors / norms


def concatenate(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Embedding-level fusion: [bar(v_1) ... bar(v_K)] / sqrt(K), of unit length.

    The cosine of two such rows is the mean of the members' cosines; a back end such as PLDA can
    weigh them otherwise. Rows of every part are the same utterances: K times (U, D_k) ->
    (U, D_1 + ... + D_K).
    """
    if len({len(part) for part in parts}) != 1:
        raise ValueError("every part must hold the same utterances")
    return np.hstack([unit_length(part) for part in parts]) / math.sqrt(len(parts))
