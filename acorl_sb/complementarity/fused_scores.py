"""Trial space: the loss of the fused score of the batch's target and non-target pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from acorl_sb.complementarity.joint import concatenate
from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.schedules import WeightSchedule


class FusedScores(Objective):
    """L = L_task + c mean over target pairs (i, j) of -log softmax of the fused scores.

    The fused score of a pair is the mean of all members' cosines. A target pair competes with all
    non-target pairs of item i, ``exp(scale s)`` each, so that those count most which the members
    *together* take for targets:

        -log(exp(scale (s_ij - margin)) / (exp(scale (s_ij - margin)) + sum_n exp(scale s_in)))

    The references are frozen; the new member learns what they need. It needs batches with several
    items of a class, and references that are honest about them (``OutOfFold``): where a reference
    was trained on the classes, nothing is left to learn.

    Arguments
    ---------
    dim, reference_dims, n_classes : see ``Objective``
    schedule : WeightSchedule
        c, default 1 throughout.
    scale, margin : float, of the cosines
    """

    uses_references = True
    default_schedule = WeightSchedule(1.0)

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        schedule: WeightSchedule | None = None,
        scale: float = 30.0,
        margin: float = 0.1,
    ):
        super().__init__(dim, reference_dims, n_classes, schedule)
        self.scale, self.margin = scale, margin

    def forward(self, z, references, labels, progress):
        weight = self.schedule(progress)
        together = concatenate([p.detach().to(z.dtype) for p in references] + [z])
        loss = pair_loss(together @ together.T, labels, self.scale, self.margin)
        return Term(weight * loss, logs={"pair_loss": loss.detach(), "weight": weight})


class OwnScores(FusedScores):
    """``FusedScores`` without the references' scores: what its loss is worth by itself.

    The control that shows what of a gain is due to references, and what to a loss on pairs.
    """

    uses_references = False

    def forward(self, z, references, labels, progress):
        return super().forward(z, [], labels, progress)


def pair_loss(
    scores: torch.Tensor, labels: torch.Tensor, scale: float, margin: float
) -> torch.Tensor:
    """The loss of scores (B, B) of all pairs, in nats; 0 for a batch without a target pair."""
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    rivals = torch.logsumexp((scale * scores).masked_fill(same, -torch.inf), 1)  # (B,)
    target = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    enrol, test = torch.nonzero(target, as_tuple=True)
    if len(enrol) == 0 or len(labels.unique()) < 2:
        return scores.new_zeros(())
    picked = scale * (scores[enrol, test] - margin)
    return F.softplus(rivals.index_select(0, enrol) - picked).mean()
