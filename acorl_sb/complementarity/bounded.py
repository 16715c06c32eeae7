"""A bounded term: what it may do to the encoder, measured against what the task does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn

from acorl_sb.complementarity.combined import OfParts, make_part
from acorl_sb.complementarity.objective import Objective
from acorl_sb.complementarity.schedules import checked_number


class Bounded(OfParts):
    """Another objective, its gradient bounded by the task's.

    Of the gradient of the term with respect to the encoder's weights the component against the
    task's gradient is taken out (Yu et al. 2020, "Gradient surgery for multi-task learning"), and
    what is left is scaled down, never up, to ``limit`` times the norm of the task's. Adversaries
    and heads learn as they would without.

    Arguments
    ---------
    dim, reference_dims, n_classes : see ``Objective``
    part : callable(dim, reference_dims, n_classes) -> Objective
    limit : float > 0

    Raises
    ------
    ValueError
        For another limit, and for a ``part`` that is no objective or has a limit already.
    """

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        part: Callable[..., Objective],
        limit: float = 0.3,
    ):
        nn.Module.__init__(self)
        self.limit = checked_number("limit", limit, lambda v: v > 0, "above 0")
        made = make_part(part, dim, reference_dims, n_classes)
        self.parts = cast("Sequence[Objective]", nn.ModuleList([made]))
        self.schedule = made.schedule
        self.adversary_steps = made.adversary_steps

    def forward(self, z, references, labels, progress):
        term = self.parts[0](z, references, labels, progress)
        term.limit = self.limit
        return term

    def further_loss(self, step, z, references, labels):
        return self.parts[0].further_loss(step, z, references, labels)


def bounded_loss(
    task_loss: torch.Tensor,
    term_loss: torch.Tensor,
    encoder: Sequence[nn.Parameter],
    others: Sequence[nn.Parameter],
    limit: float,
    scale: float | None = None,
) -> torch.Tensor:
    """A scalar loss of value ``task_loss + term_loss`` whose gradient is the bounded one.

    Arguments
    ---------
    task_loss, term_loss : scalars with a graph, which is used up
    encoder : the weights whose gradient is bounded
    others : all others that learn
    limit : float > 0, see ``Bounded``
    scale : float > 0, or None
        Both losses are multiplied by it on their way back, and the gradients divided, so that the
        small ones of fp16 layers are kept: the scale of the training's ``GradScaler``. Gradients
        that become infinite are handed on as such; the scaler then leaves the step out. Without a
        scaler (None) the value is NaN then, so that the step can be refused.

    Returns
    -------
    scalar, to go backward once
    """
    weights, guarded, scale = [*encoder, *others], scale is not None, scale or 1.0
    gradients = (
        torch.autograd.grad(scale * task_loss, weights, retain_graph=True, allow_unused=True),
        torch.autograd.grad(scale * term_loss, weights, allow_unused=True),
    )
    task, term = (
        [
            torch.zeros_like(w) if g is None else g / scale
            for g, w in zip(gradient, weights, strict=True)
        ]
        for gradient in gradients
    )
    split = len(encoder)
    wanted = bound(task[:split], term[:split], limit) + term[split:]
    total = [a + b for a, b in zip(task, wanted, strict=True)]
    value = (task_loss + term_loss).detach()
    if not guarded:
        value = value + sum(0.0 * g.sum() for g in total)
    return _WithGradients.apply(value, total, *weights)


class _WithGradients(torch.autograd.Function):
    """A value whose gradients are given, whatever it was computed from."""

    @staticmethod
    def forward(ctx, value, gradients, *weights):
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return None, None, *(grad * g for g in ctx.gradients)


def bound(
    task: Sequence[torch.Tensor], term: Sequence[torch.Tensor], limit: float
) -> list[torch.Tensor]:
    """``term`` without its component against ``task``, its norm at most ``limit`` times task's.

    Both are one vector each, given in pieces of any shape; so is what is returned.
    """
    squared = _dot(task, task)
    against = (_dot(task, term) / squared.clamp(min=torch.finfo(squared.dtype).tiny)).clamp(max=0)
    left = [b - against * a for a, b in zip(task, term, strict=True)]
    norm = _dot(left, left).sqrt()
    scale = (limit * squared.sqrt() / norm.clamp(min=torch.finfo(norm.dtype).tiny)).clamp(max=1)
    return [scale * g for g in left]


def _dot(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()
