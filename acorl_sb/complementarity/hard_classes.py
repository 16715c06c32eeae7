"""``hard classes``: the new member learns most where the references confuse, docs/method.md (7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.complementarity.class_means import ClassMeans
from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.schedules import WeightSchedule


class HardClasses(Objective):
    """L = (1 - share) L_task(z) + share L_task(z, raised), docs/method.md (7).

    In the second term every wrong class is raised by how much the frozen references take the item
    for it, so that the new member has to be surest where they are not. The right class is left
    alone: a reference that is sure of it, as it is of the items that it was trained on, takes
    nothing away from what the new member learns.

    Arguments
    ---------
    dim, reference_dims, n_classes : see ``Objective``
    head : callable(dim, n_classes) -> module
        Makes h'', a task head of its own; called with embeddings (B, D), labels (B,) and
        ``raised`` (B, C) it gives the scalar task loss with ``raised`` added to the cosines (or
        logits) of the wrong classes.
    schedule : WeightSchedule
        c, what the references' cosines are multiplied with; default 1 throughout.
    share : float in (0, 1)
        Weight of the second term.
    """

    uses_references = True
    default_schedule = WeightSchedule(1.0)

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
        self.head = head(dim=dim, n_classes=n_classes)
        self.means = nn.ModuleList(ClassMeans(d, n_classes) for d in reference_dims)

    def forward(self, z, references, labels, progress):
        weight = self.schedule(progress)
        similarity = torch.stack(
            [
                class_similarity(reference.detach().float(), means, labels)
                for reference, means in zip(references, self.means, strict=True)
            ]
        ).mean(0)  # (B, C)
        loss = self.head(z, labels, raised=weight * similarity)
        return Term(
            self.share * loss, 1 - self.share, {"hard_loss": loss.detach(), "weight": weight}
        )


def class_similarity(
    reference: torch.Tensor, means: ClassMeans, labels: torch.Tensor
) -> torch.Tensor:
    """How much more a reference takes each item for class j than for a mean wrong class, (B, C).

    cos(v, E[v | j]) of reference (B, D_k), less its mean over the wrong classes seen so far; 0 for
    classes that have not been seen. Counts the batch in afterwards.
    """
    seen = means.seen()
    cosine = F.normalize(reference, dim=-1) @ F.normalize(means.means(), dim=-1).T  # (B, C)
    wrong = seen.repeat(len(reference), 1)
    wrong.scatter_(1, labels.unsqueeze(1), False)
    average = (cosine * wrong).sum(1, keepdim=True) / wrong.sum(1, keepdim=True).clamp(min=1)
    means.count_in(reference, labels)
    return (cosine - average) * seen
