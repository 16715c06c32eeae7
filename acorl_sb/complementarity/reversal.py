"""Gradient reversal, R_c in docs/method.md (2)."""

from __future__ import annotations

import torch


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
