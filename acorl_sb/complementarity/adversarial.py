"""ACoRL, docs/method.md (2) to (5): targets, gradient reversal, the adversary's heads, the term."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.complementarity.class_means import ClassMeans
from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.schedules import Ramp, WeightSchedule


class EmbeddingTarget(nn.Module):
    """t_k = bar(v_k): the whole embedding of the reference, the paper's form.

    Calling it gives the targets (B, D_k) of unit norm and the weight (B,) of each, all one.
    """

    def __init__(self, reference_dim: int, n_classes: int):
        super().__init__()

    def forward(self, reference: torch.Tensor, labels: torch.Tensor):
        return F.normalize(reference, dim=-1), torch.ones_like(reference[:, 0])


class ResidualTarget(ClassMeans):
    """t_k = bar(v_k - E[v_k | y]): what the reference encodes beyond the class.

    An item whose class has not been seen before has weight 0. In eval mode the means stay as they
    are.

    Calling it with reference (B, D_k) and labels (B,) gives targets (B, D_k) of unit norm and
    weights (B,) in {0, 1}.
    """

    def forward(self, reference: torch.Tensor, labels: torch.Tensor):
        reference = reference.float()
        mean, seen = self.means()[labels], self.seen()[labels]  # (B, D_k), (B,)
        self.count_in(reference, labels)
        return F.normalize(reference - mean, dim=-1), seen.to(reference.dtype)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.weight * grad, None


def reverse_gradient(x: torch.Tensor, weight: float) -> torch.Tensor:
    """Pass ``x`` on unchanged; multiply the gradient that comes back by ``-weight``.

    Arguments
    ---------
    x : tensor of any shape
    weight : float >= 0
        c in R_c (Ganin and Lempitsky 2015). 0 lets no gradient through.

    Returns
    -------
    tensor of the same shape

    Example
    -------
    >>> x = torch.ones(2, requires_grad=True)
    >>> reverse_gradient(x, 3.0).sum().backward()
    >>> x.grad
    tensor([-3., -3.])
    """
    return _Reversal.apply(x, float(weight))


class AdversaryHead(nn.Sequential):
    """A small MLP that tries to read a reference's embedding out of the new member's.

    Arguments
    ---------
    dim : int
        D, size of the new member's embedding.
    reference_dim : int
        D_k, size of the reference's embedding.
    hidden : int
        Units of each hidden layer; 0 makes the head linear.
    layers : int
        Number of hidden layers.

    Shapes: (B, D) -> (B, D_k).
    """

    def __init__(self, dim: int, reference_dim: int, hidden: int = 256, layers: int = 1):
        if hidden == 0 or layers == 0:
            super().__init__(nn.Linear(dim, reference_dim))
            return
        widths = [dim] + [hidden] * layers
        blocks: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(widths):
            blocks += [nn.Linear(width_in, width_out), nn.ReLU()]
        super().__init__(*blocks, nn.Linear(hidden, reference_dim))


def cosine_distance(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - cosine of each row, (B, D) and (B, D) -> (B,), in [0, 2]; the default d of (3)."""
    return 1 - F.cosine_similarity(estimate, target, dim=-1)


def squared_distance(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distance of each row, (B, D) and (B, D) -> (B,).

    The squared-error d of (3), summed over the D components: targets have unit norm, so a mean
    over components would shrink with D, and the same weight would mean less for a larger
    embedding.
    """
    return (estimate - target).square().sum(dim=-1)


DISTANCES = {"cosine": cosine_distance, "squared": squared_distance}


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
    default_schedule = Ramp()

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
        super().__init__(dim, reference_dims, n_classes, schedule)
        if distance not in DISTANCES:
            raise ValueError(f"distance is one of {sorted(DISTANCES)}, not {distance!r}")
        if adversary_steps < 1:
            raise ValueError(f"adversary_steps is at least 1, not {adversary_steps}")
        self.distance = DISTANCES[distance]
        self.adversary_steps = adversary_steps
        # The last batch's references and labels, and the targets that its step had.
        self.asked: tuple[list[torch.Tensor], list] = [], []
        self.heads = nn.ModuleList(AdversaryHead(dim, d, hidden, layers) for d in reference_dims)
        self.targets = nn.ModuleList(
            target(reference_dim=d, n_classes=n_classes) for d in reference_dims
        )

    def forward(self, z, references, labels, progress):
        weight = self.schedule(progress)
        targets = self._targets(references, labels)
        self.asked = [v.detach() for v in (*references, labels)], targets
        reversed_z = reverse_gradient(F.normalize(z, dim=-1), weight)  # R_c(bar(z)) of (2)
        loss = self._distance_of_heads(reversed_z, targets)
        return Term(loss, logs={"adversary_loss": loss.detach(), "weight": weight})

    def adversary_loss(self, z, references, labels):
        batch, targets = self.asked
        given = [*references, labels]
        # The encoder's step has counted its batch in: asked again, the targets would be others.
        if len(batch) != len(given) or not all(map(torch.equal, batch, given)):
            training = self.targets.training
            self.targets.eval()  # such a batch is not counted
            targets = self._targets(references, labels)
            self.targets.train(training)
        return self._distance_of_heads(F.normalize(z.detach(), dim=-1), targets)

    def _targets(self, references, labels):
        """Of each reference its targets (B, D_k) and their weights (B,), without a graph."""
        with torch.no_grad():
            return [t(v, labels) for t, v in zip(self.targets, references, strict=True)]

    def _distance_of_heads(self, z, targets):
        losses = []
        for head, (wanted, weight) in zip(self.heads, targets, strict=True):
            distance = self.distance(head(z), wanted)  # (2) and d of (3), (B,)
            losses.append((weight * distance).sum() / weight.sum().clamp(min=1))
        return torch.stack(losses).mean()  # (3)

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        return self.heads.parameters()
