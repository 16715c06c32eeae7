"""Trial space: d' of the fused score of the batch's target and non-target pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.schedules import Ramp
from acorl_sb.complementarity.similarity import pair_cosines

LEAST = 0.05  # d' below which nothing is learned from a batch


class FusedDPrime(Objective):
    """L = L_task - 2 c log d' of the fused scores of the batch, docs/method.md (14).

    The fused score of a pair is the sum of all members' cosines, each in units of its standard
    deviation over the batch's non-target pairs. Its d' grows where the new member separates pairs
    better, and where it errs on other pairs than the references do, each for what it is worth to
    the fusion: with equal weights d' = (d'_A + d'_B) / sqrt(2 (1 + rho)). The same loss of a single
    embedding is D-loss (Silva et al., arXiv 2109.05524), the control ``OwnDPrime``.

    It needs batches with several items of a class, best of one domain each (corpus, language): the
    keys ``objective_per_class`` and ``objective_within``. c is by default a ``Ramp`` to 5.
    """

    uses_references = True
    default_schedule = Ramp(5.0)

    def forward(self, z, references, labels, progress):
        weight = self.schedule(progress)
        loss, d = d_prime_loss([z, *references], labels, weight)
        return Term(loss, logs={"d_prime": d, "weight": weight})


class OwnDPrime(FusedDPrime):
    """``FusedDPrime`` without the references' scores: what its loss is worth by itself.

    The control that shows what of a gain is due to references, and what to a loss on pairs. As
    part of a member's task, beside an objective: ``acorl_sb.training.pair_loss.DLoss``.
    """

    uses_references = False

    def forward(self, z, references, labels, progress):
        return super().forward(z, [], labels, progress)


def d_prime_loss(
    embeddings: Sequence[torch.Tensor], labels: torch.Tensor, weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """-2 ``weight`` log d' of ``fused_d_prime``, a scalar, and that d', detached."""
    d = fused_d_prime(embeddings, labels)
    return -2 * weight * torch.log(d.clamp(min=LEAST)), d.detach()


def fused_d_prime(embeddings: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """d' of the summed scores of all pairs of a batch.

    Arguments
    ---------
    embeddings : sequence of (B, D_k)
        Of the same items. The standard deviations that scores are divided by carry no gradient.
    labels : (B,) int64
        A pair is target when its labels are equal.

    Returns
    -------
    scalar tensor, 0 where the batch has not pairs of both kinds
    """
    first, second = torch.triu_indices(len(labels), len(labels), offset=1, device=labels.device)
    target = labels[first] == labels[second]
    if not target.any() or target.all():
        return embeddings[0].sum() * 0.0
    fused = torch.zeros((), device=labels.device)
    for z in embeddings:
        score = pair_cosines(z, first, second)  # (P,)
        fused = fused + score / _std(score[~target].detach())
    same, other = fused[target], fused[~target]
    return (same.mean() - other.mean()) / ((_std(same) ** 2 + _std(other) ** 2) / 2).sqrt()


def _std(scores: torch.Tensor) -> torch.Tensor:
    return scores.var(correction=0).clamp(min=1e-8).sqrt()
