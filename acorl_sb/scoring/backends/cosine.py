"""Cosine scores of trials over a matrix of embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from acorl_sb import metrics
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.scoring.backends.backend import PreparedSides
from acorl_sb.scoring.backends.rows import as_matrix, as_rows, group_means, row_products, unit_rows

Array = Any  # numpy array or torch tensor


def cosine_scores(
    vectors: Array,
    enrol: Array,
    test: Array,
    mean: Array | None = None,
    device: torch.device | str | None = None,
    block: int = 4096,
) -> Array:
    """Cosine similarity of the two embeddings of every trial, (N,) in [-1, 1].

    ``vectors`` is (M, D); ``enrol`` and ``test`` are (N,) row numbers; ``mean`` (D,) is taken off
    every vector first, if given. Each row is brought to unit length once, then rows are gathered
    and multiplied ``block`` trials at a time, so memory is one copy of ``vectors`` and two blocks.
    A trial's score does not depend on the block or on the other trials. An all-zero vector
    scores 0.

    Works in float32 (float64 for float64 vectors) on ``device`` (default: that of ``vectors``).
    Returns a torch tensor of that type for torch ``vectors``, else a float64 numpy array.
    Raises ``ValueError`` when shapes do not fit or a row number lies outside ``vectors``.
    """
    units = unit_rows(as_matrix(vectors, device), mean)  # (M, D)
    scores = row_products(units, units, as_rows(enrol, units), as_rows(test, units), block)
    scores.clamp_(-1.0, 1.0)  # rounding may step over the ends
    return scores if isinstance(vectors, torch.Tensor) else scores.double().cpu().numpy()


def cosine_trial_scores(trials: TrialSet, vectors: np.ndarray) -> np.ndarray:
    """Cosine scores (N,) of all trials of a set, from embeddings (M, D) of its utterances."""
    return np.asarray(cosine_scores(torch.from_numpy(vectors), trials.enrol, trials.test))


def cosine_eer(trials: TrialSet, vectors: np.ndarray) -> float:
    """EER of the cosine scores, a fraction: the figure that checkpoints are chosen by."""
    return metrics.eer(cosine_trial_scores(trials, vectors), trials.trials.labels)


class Cosine:
    """Cosine back end (see ``backend.Backend``), with or without mean subtraction.

    ``subtract_mean=True`` takes the mean of the training embeddings off every embedding. A model of
    several enrolment utterances is the mean of their unit-length vectors.

    >>> backend, vectors = Cosine(), torch.eye(3)
    >>> units = backend.prepare(vectors)
    >>> backend.sides(units, units).matrix(torch.tensor([0]))
    tensor([[1., 0., 0.]])
    """

    scores_are_llrs = needs_speakers = False

    def __init__(self, subtract_mean: bool = False) -> None:
        self.needs_training = subtract_mean
        self.mean: torch.Tensor | None = None  # (D,)

    def fit(self, vectors: torch.Tensor, speakers: torch.Tensor | None = None) -> None:
        """Take the mean of the training embeddings (M, D)."""
        if self.needs_training:
            self.mean = vectors.double().mean(0)

    def prepare(self, vectors: Array) -> torch.Tensor:
        """Embeddings (M, D) less the mean, brought to unit length."""
        if self.needs_training and self.mean is None:
            raise ValueError("cosine scores with mean subtraction need training embeddings")
        return unit_rows(as_matrix(vectors), self.mean)

    def average(self, prepared: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Means of unit-length vectors by group, brought to unit length again: (G, D)."""
        return unit_rows(group_means(prepared, groups)[0])

    def sides(
        self, enrol: torch.Tensor, test: torch.Tensor, models: torch.Tensor | None = None
    ) -> PreparedSides:
        """The vectors themselves, models averaged; the biases are 0."""
        left = enrol if models is None else self.average(enrol, models)
        return PreparedSides(left, test, left.new_zeros(len(left)), test.new_zeros(len(test)))
