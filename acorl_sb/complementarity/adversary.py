"""The adversary's heads a_k and their distance to a target, docs/method.md (2) and (3)."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F


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
