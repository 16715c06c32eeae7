"""E[v_k | y]: the mean of a reference's embeddings of each class."""

from __future__ import annotations

import torch
from torch import nn


class ClassMeans(nn.Module):
    """Running means over the *earlier* training batches, one for each class.

    Ask before counting a batch in, and no item is compared with a mean that it has entered itself.

    Arguments
    ---------
    reference_dim : int
        D_k.
    n_classes : int
        Number of training classes (speakers), C.
    """

    total: torch.Tensor  # (C, D_k)
    count: torch.Tensor  # (C,)

    def __init__(self, reference_dim: int, n_classes: int):
        super().__init__()
        self.register_buffer("total", torch.zeros(n_classes, reference_dim))
        self.register_buffer("count", torch.zeros(n_classes))

    def means(self) -> torch.Tensor:
        """(C, D_k); zero for a class that has not been seen."""
        return self.total / self.count.clamp(min=1).unsqueeze(1)

    def seen(self) -> torch.Tensor:
        """(C,) bool, which classes have been seen."""
        return self.count > 0

    def count_in(self, reference: torch.Tensor, labels: torch.Tensor) -> None:
        """Let reference (B, D_k) of classes labels (B,) enter the means; not in eval mode."""
        if self.training:
            self.total.index_add_(0, labels, reference.float())
            self.count.index_add_(0, labels, torch.ones_like(labels, dtype=self.count.dtype))
