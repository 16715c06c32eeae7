"""Task heads h: embeddings and labels in, the task loss out, docs/method.md (1)."""

from __future__ import annotations

import torch
from speechbrain.lobes.models.ECAPA_TDNN import Classifier
from speechbrain.nnet.losses import AdditiveAngularMargin, LogSoftmaxWrapper
from torch import nn
from torch.nn import functional as F


class AAMHead(nn.Module):
    """AAM-softmax over the training speakers, (1); SpeechBrain's classifier and margin.

    Arguments
    ---------
    dim : int
        Size of the embedding.
    n_classes : int
        Number of training speakers.
    margin : float
        Additive angular margin, radians.
    scale : float
        Scale of the cosines before the softmax.

    Calling it with embeddings (B, dim) and labels (B,) gives the mean loss in nats; ``raised``
    (B, n_classes) is added to the cosines of the wrong classes.
    """

    def __init__(self, dim: int, n_classes: int, margin: float = 0.2, scale: float = 30.0):
        super().__init__()
        self.classifier = Classifier(input_size=dim, out_neurons=n_classes)
        self.loss = LogSoftmaxWrapper(AdditiveAngularMargin(margin=margin, scale=scale))

    def forward(
        self, z: torch.Tensor, labels: torch.Tensor, raised: torch.Tensor | None = None
    ) -> torch.Tensor:
        cosines = self.classifier(z.unsqueeze(1))  # (B, 1, n_classes)
        if raised is None:
            return self.loss(cosines, labels.unsqueeze(1))
        right = F.one_hot(labels, cosines.shape[-1]).to(cosines.dtype)
        angular = self.loss.loss_fn  # SpeechBrain's; gives logits, scaled
        logits = angular(cosines.squeeze(1), right) + angular.scale * raised * (1 - right)
        return F.cross_entropy(logits, labels)


class SoftmaxHead(nn.Linear):
    """A linear softmax: (B, dim) and (B,) -> the mean cross-entropy in nats.

    ``raised`` (B, n_classes) is added to the logits of the wrong classes.
    """

    def __init__(self, dim: int, n_classes: int):
        super().__init__(dim, n_classes)

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        """(B, dim) -> (B, n_classes)."""
        return super().forward(z)

    def forward(
        self, z: torch.Tensor, labels: torch.Tensor, raised: torch.Tensor | None = None
    ) -> torch.Tensor:
        logits = self.logits(z)
        if raised is not None:
            logits = logits + raised.scatter(1, labels.unsqueeze(1), 0.0)
        return F.cross_entropy(logits, labels)
