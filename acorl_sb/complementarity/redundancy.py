"""Conditional redundancy: what two members share beyond the class (DICE, arXiv 2101.05544)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from acorl_sb.complementarity.objective import ABSENT, Objective, Term, zero_loss
from acorl_sb.complementarity.schedules import Ramp, WeightSchedule


class ConditionalRedundancy(Objective):
    """L = L_task + c (1/K) sum_k mean_i log-ratio_k(z_i, v_i), the ratio from a discriminator.

    Discriminator k tells pairs (z_i, v_i) of one item from pairs (z_i, v_j) of two items of one
    class; its log-odds estimate log p(z, v | y) / (p(z | y) p(v | y)), whose mean over items is the
    mutual information given the class. The encoder lowers it, the discriminator learns to tell.
    It needs batches with several items of a class; without one the term is 0.

    Arguments
    ---------
    dim, reference_dims, n_classes, schedule : see ``Objective``; the default schedule is ``Ramp()``
    hidden : int, units of each discriminator's hidden layer
    """

    uses_references = True
    default_schedule = Ramp()

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        schedule: WeightSchedule | None = None,
        hidden: int = 256,
    ):
        super().__init__(dim, reference_dims, n_classes, schedule)
        self.discriminators = nn.ModuleList(
            nn.Sequential(nn.Linear(dim + d, hidden), nn.ReLU(), nn.Linear(hidden, 1))
            for d in reference_dims
        )

    def forward(self, z, references, labels, progress):
        weight = self.schedule(progress)
        rows, others = class_partners(labels)
        if len(rows) == 0:
            logs = {"log_ratio": ABSENT, "adversary_loss": ABSENT, "weight": weight}
            return Term(zero_loss(z, self.adversary_parameters()), logs=logs)
        z = F.normalize(z, dim=-1).index_select(0, rows)
        ratios, losses = [], []
        for discriminator, reference in zip(self.discriminators, references, strict=True):
            reference = F.normalize(reference.detach().float(), dim=-1)
            own, other = reference[rows], reference[others]
            losses.append(discrimination_loss(discriminator, z.detach(), own, other))
            # Its weights as constants: the encoder's loss does not teach the discriminator.
            fixed = {name: p.detach() for name, p in discriminator.named_parameters()}
            ratios.append(functional_call(discriminator, fixed, torch.cat([z, own], 1)).mean())
        ratio, loss = torch.stack(ratios).mean(), torch.stack(losses).mean()
        logs = {"log_ratio": ratio.detach(), "adversary_loss": loss.detach(), "weight": weight}
        return Term(weight * ratio + loss, logs=logs)

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        return self.discriminators.parameters()

    adversary_steps = 1

    def adversary_loss(self, z, references, labels):
        rows, others = class_partners(labels)
        if len(rows) == 0:
            return zero_loss(z.detach(), self.adversary_parameters())
        z = F.normalize(z.detach(), dim=-1)[rows]
        references = [F.normalize(p.detach().float(), dim=-1) for p in references]
        losses = [
            discrimination_loss(d, z, p[rows], p[others])
            for d, p in zip(self.discriminators, references, strict=True)
        ]
        return torch.stack(losses).mean()


def discrimination_loss(
    discriminator: nn.Module, z: torch.Tensor, own: torch.Tensor, other: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy (nats, a scalar) of telling (z_i, own_i) from (z_i, other_i)."""
    joint = discriminator(torch.cat([z, own], 1))
    apart = discriminator(torch.cat([z, other], 1))
    return (F.softplus(-joint).mean() + F.softplus(apart).mean()) / 2


def class_partners(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (b,) that have another item of their class (B,), and the next such item (b,) of each."""
    rows, others = [], []
    for label in labels.unique().tolist():
        group = torch.nonzero(labels == label).squeeze(1)
        if len(group) > 1:
            rows.append(group)
            others.append(group.roll(-1))
    if not rows:
        return labels.new_zeros(0), labels.new_zeros(0)
    return torch.cat(rows), torch.cat(others)
