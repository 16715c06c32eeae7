"""What the adversary has to read out of the new member: t_k of docs/method.md (3)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class EmbeddingTarget(nn.Module):
    """t_k = bar(v_k): the whole embedding of the prior, the paper's form.

    Calling it gives the targets (B, D_k) of unit norm and the weight (B,) of each, all one.
    """

    def __init__(self, prior_dim: int, n_classes: int):
        super().__init__()

    def forward(self, prior: torch.Tensor, labels: torch.Tensor):
        return F.normalize(prior, dim=-1), torch.ones_like(prior[:, 0])


class ResidualTarget(nn.Module):
    """t_k = bar(v_k - E[v_k | y]): what the prior encodes beyond the class.

    E[v_k | y] is the mean of the prior's embeddings of class y over the *earlier* training
    batches, so no item is compared with a mean that it has entered itself. An item whose class
    has not been seen before has weight 0. In eval mode the means stay as they are.

    Arguments
    ---------
    prior_dim : int
        D_k.
    n_classes : int
        Number of training classes (speakers).

    Calling it with prior (B, D_k) and labels (B,) gives targets (B, D_k) of unit norm and
    weights (B,) in {0, 1}.
    """

    def __init__(self, prior_dim: int, n_classes: int):
        super().__init__()
        self.register_buffer("total", torch.zeros(n_classes, prior_dim))
        self.register_buffer("count", torch.zeros(n_classes))

    def forward(self, prior: torch.Tensor, labels: torch.Tensor):
        prior = prior.float()
        count = self.count[labels]  # (B,)
        mean = self.total[labels] / count.clamp(min=1).unsqueeze(1)  # (B, D_k)
        if self.training:
            self.total.index_add_(0, labels, prior)
            self.count.index_add_(0, labels, torch.ones_like(count))
        return F.normalize(prior - mean, dim=-1), (count > 0).to(prior.dtype)
