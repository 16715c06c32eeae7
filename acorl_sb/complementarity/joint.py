"""``joint``: the new member is paid for what it adds to the frozen ones, docs/method.md (6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.schedules import WeightSchedule


def concatenate(embeddings: Sequence[torch.Tensor]) -> torch.Tensor:
    """[bar(v_1), ..., bar(z)] / sqrt(n): the ensemble's embedding, (B, D_1 + ... + D_n).

    Its cosine is the mean of the members' cosines.
    """
    return torch.cat([F.normalize(e, dim=-1) for e in embeddings], -1) / math.sqrt(len(embeddings))


class Joint(Objective):
    """L = (1 - share) L_task(z) + share L_task([references, z]).

    Arguments
    ---------
    dim, reference_dims, n_classes, schedule : see ``Objective``; the schedule is not used
    head : callable(dim, n_classes) -> module
        Makes h', a task head of its own on the concatenation; called with embeddings and labels
        it gives the scalar task loss.
    share : float in (0, 1)
        Weight of the loss on the concatenation; 1/2 in (6).
    """

    uses_references = True

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        head: Callable[..., nn.Module],
        schedule: WeightSchedule | None = None,
        share: float = 0.5,
    ):
        super().__init__(dim, reference_dims, n_classes, schedule)
        if not 0 < share < 1:
            raise ValueError(f"share lies between 0 and 1, not {share}")
        self.share = share
        self.head = head(dim=dim + sum(reference_dims), n_classes=n_classes)

    def forward(self, z, references, labels, progress):
        joint = self.head(concatenate([p.detach().to(z.dtype) for p in references] + [z]), labels)
        return Term(self.share * joint, 1 - self.share, {"joint_loss": joint.detach()})
