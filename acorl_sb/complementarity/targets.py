"""What the adversary has to read out of the new member: t_k of docs/method.md (3)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.complementarity.class_means import ClassMeans


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
