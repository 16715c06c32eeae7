"""Several encoders of waves as one: their embeddings, one after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


class Joined(nn.Module):
    """Branches side by side, whose cosines add up.

    Each branch's embedding is brought to unit length and takes the square root of its share, so
    that the cosine of two joined embeddings is the mean of the branches' cosines by their shares.

    Arguments
    ---------
    branches : sequence of modules
        Waves (B, T) -> (B, D_k), such as ``SpeakerEncoder`` or ``GE2E``.
    shares : sequence of float > 0
        One for each branch; they are made to sum to 1.

    Raises ``ValueError`` for no branches, and shares that are not one for each and above 0.

    Example
    -------
    >>> joined = Joined([nn.Identity(), nn.Identity()], [3, 1])
    >>> joined(torch.tensor([[0.0, 2.0]]))
    tensor([[0.0000, 0.8660, 0.0000, 0.5000]])
    """

    def __init__(self, branches: Sequence[nn.Module], shares: Sequence[float]):
        super().__init__()
        if (
            not len(branches)
            or len(shares) != len(branches)
            or not all(share > 0 for share in shares)
        ):
            raise ValueError(f"shares must be a number above 0 for each branch, not {shares}")
        self.branches = nn.ModuleList(branches)
        self.shares = [share / sum(shares) for share in shares]

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, D_1 + ... + D_K) of unit length."""
        parts = zip(self.branches, self.shares, strict=True)
        return torch.cat([share**0.5 * F.normalize(b(waves), dim=-1) for b, share in parts], -1)
