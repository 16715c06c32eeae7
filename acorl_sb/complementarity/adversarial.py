"""ACoRL: the adversarial complementary term, docs/method.md (2)-(5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.complementarity.adversary import DISTANCES, AdversaryHead
from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.reversal import reverse_gradient
from acorl_sb.complementarity.schedules import Ramp, WeightSchedule
from acorl_sb.complementarity.targets import EmbeddingTarget


class Adversarial(Objective):
    """L = L_task + (1/K) sum_k d(a_k(R_c(bar(z))), t_k), the paper's objective.

    The heads a_k descend the term; the reversed gradient makes the encoder ascend it.

    Arguments
    ---------
    dim, reference_dims, n_classes, schedule : see ``Objective``; the default schedule is ``Ramp()``
    target : callable(reference_dim, n_classes) -> module
        ``EmbeddingTarget`` or ``ResidualTarget``.
    distance : "cosine" or "squared"
    hidden, layers : int
        Size of each adversary head, see ``AdversaryHead``.
    adversary_steps : int >= 1
        Steps of the adversary's optimizer for each step of the encoder's. A weak adversary
        proves nothing.

    Example
    -------
    >>> objective = Adversarial(dim=4, reference_dims=[3], n_classes=2)
    >>> z = torch.ones(8, 4, requires_grad=True)
    >>> term = objective(z, [torch.ones(8, 3)], torch.zeros(8, dtype=torch.long), progress=1.0)
    >>> sorted(term.logs)
    ['adversary_loss', 'weight']
    """

    uses_references = True

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        schedule: WeightSchedule | None = None,
        target: Callable[..., nn.Module] = EmbeddingTarget,
        distance: str = "cosine",
        hidden: int = 256,
        layers: int = 1,
        adversary_steps: int = 1,
    ):
        super().__init__(
            dim, reference_dims, n_classes, schedule if schedule is not None else Ramp()
        )
        if distance not in DISTANCES:
            raise ValueError(f"distance is one of {sorted(DISTANCES)}, not {distance!r}")
        if adversary_steps < 1:
            raise ValueError(f"adversary_steps is at least 1, not {adversary_steps}")
        self.distance = DISTANCES[distance]
        self.adversary_steps = adversary_steps
        self.heads = nn.ModuleList(AdversaryHead(dim, d, hidden, layers) for d in reference_dims)
        self.targets = nn.ModuleList(
            target(reference_dim=d, n_classes=n_classes) for d in reference_dims
        )

    def forward(self, z, references, labels, progress):
        weight = self.schedule(progress)
        targets = [
            target(reference.detach(), labels)
            for target, reference in zip(self.targets, references, strict=True)
        ]
        reversed_z = reverse_gradient(F.normalize(z, dim=-1), weight)  # R_c(bar(z)) of (2)
        loss = self._distance_of_heads(reversed_z, targets)
        return Term(loss, logs={"adversary_loss": loss.detach(), "weight": weight})

    def adversary_loss(self, z, references, labels):
        targets = []
        for target, reference in zip(self.targets, references, strict=True):
            # The batch has been counted by the encoder's step already.
            training = target.training
            target.eval()
            targets.append(target(reference.detach(), labels))
            target.train(training)
        return self._distance_of_heads(F.normalize(z.detach(), dim=-1), targets)

    def _distance_of_heads(self, z, targets):
        losses = []
        for head, (wanted, weight) in zip(self.heads, targets, strict=True):
            distance = self.distance(head(z), wanted.detach())  # (2) and d of (3), (B,)
            losses.append((weight * distance).sum() / weight.sum().clamp(min=1))
        return torch.stack(losses).mean()  # (3)

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        return self.heads.parameters()
