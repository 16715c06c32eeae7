"""What every back end turns embeddings into: two sides whose product is the score.

Cosine and two-covariance PLDA alike score enrolled model e against test utterance t as

    score(e, t) = <left_e, right_t> + left_bias_e + right_bias_t

so trials are row products and cohorts are matrix products, whatever the back end. A new back end is
a class with the parts of ``Backend``, named in the YAML. Embeddings are prepared once; models,
cohorts and scores are made of prepared vectors.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

import torch

from acorl_sb.scoring.backends.rows import as_rows, row_products


@dataclass(frozen=True)
class PreparedSides:
    """Enrolled models and test utterances ready to be scored, on one device, of one dtype."""

    left: torch.Tensor  # (E, D) enrolled models
    right: torch.Tensor  # (T, D) test utterances
    left_bias: torch.Tensor  # (E,)
    right_bias: torch.Tensor  # (T,)

    def trials(self, enrol: torch.Tensor, test: torch.Tensor, block: int = 4096) -> torch.Tensor:
        """Scores (N,) of trials, given as rows (N,) of either side, ``block`` trials at a time."""
        enrol, test = as_rows(enrol, self.left), as_rows(test, self.right)
        scores = row_products(self.left, self.right, enrol, test, block)
        return scores.add_(self.left_bias[enrol]).add_(self.right_bias[test])

    def matrix(self, rows: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Scores (R, T) of the models ``rows`` (R,) against every test utterance, in ``out``."""
        scores = torch.mm(self.left[rows], self.right.T, out=out)  # (R, T)
        # Each bias is a pass over the scores, and the cosine back end has none.
        if self.right_biased:
            scores.add_(self.right_bias)
        return scores.add_(self.left_bias[rows, None]) if self.left_biased else scores

    @functools.cached_property
    def left_biased(self) -> bool:
        """Whether any bias of the left side is not 0."""
        return bool(self.left_bias.any())

    @functools.cached_property
    def right_biased(self) -> bool:
        """Whether any bias of the right side is not 0."""
        return bool(self.right_bias.any())

    def swapped(self) -> PreparedSides:
        """The same scores with the roles of the sides exchanged."""
        return PreparedSides(self.right, self.left, self.right_bias, self.left_bias)


class Backend(Protocol):
    """What the scoring stage needs of a back end."""

    needs_training: bool
    """Whether ``fit`` must be called before ``sides``."""
    needs_speakers: bool
    """Whether ``fit`` asks for the true speakers; a class that leaves it out does not."""
    scores_are_llrs: bool
    """Whether raw scores are natural-log likelihood ratios, so that actual costs mean something."""

    def fit(self, vectors: torch.Tensor, speakers: torch.Tensor) -> None:
        """Learn from training embeddings (M, D) and the numbers (M,) of their speakers."""

    def prepare(self, vectors: torch.Tensor) -> torch.Tensor:
        """Embeddings (M, D) as they are scored, (M, d)."""

    def average(self, prepared: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Prepared vectors (M, d) averaged by group: (G, d), scored like single utterances.

        ``groups`` (M,) holds numbers 0 ... G - 1.
        """

    def sides(
        self, enrol: torch.Tensor, test: torch.Tensor, models: torch.Tensor | None = None
    ) -> PreparedSides:
        """Both sides from prepared enrolment (E, d) and test (T, d) vectors.

        ``models`` (E,) numbers from 0 the model that each enrolment vector belongs to; the left
        side then has a row a model. Without it each vector is a model of its own.
        """
