"""Image encoders: images (B, C, H, W) in [0, 1] -> embeddings (B, D); D is ``embedding_dim``."""

from __future__ import annotations

import torch
from torch import nn

from acorl_sb.training.heads import SoftmaxHead
from acorl_sb.utils.errors import UserError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SmallCNN(nn.Module):
    """Three convolutions with batch norm, the last two after halving the size; mean over places.

    Arguments
    ---------
    in_channels : int
    width : int
        Channels of the first convolution; the others have twice and four times as many.
    embedding_dim : int
    """

    def __init__(self, in_channels: int = 1, width: int = 16, embedding_dim: int = 32):
        super().__init__()
        self.embedding_dim = embedding_dim
        self.places = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            *_block(in_channels, width),
            nn.MaxPool2d(2),
            *_block(width, 2 * width),
            nn.MaxPool2d(2),
            *_block(2 * width, 4 * width),
        )
        self.embedding = nn.Linear(4 * width, embedding_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.embedding(self.places(images).mean((2, 3)))


def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]


class TorchvisionResNet(nn.Module):
    """ResNet-18 or ResNet-50 of torchvision without its classifier.

    Arguments
    ---------
    depth : 18 or 50
        D is 512 or 2048.
    small_images : bool
        For images of about 32 x 32: the first convolution is 3 x 3 without stride and the first
        pooling is left out, as is usual for CIFAR.
    weights : path or None
        A state dict of torchvision's ResNet to start from (its classifier is left aside).

    Raises ``UserError`` when torchvision is not installed.
    """

    def __init__(self, depth: int = 18, small_images: bool = False, weights: str | None = None):
        super().__init__()
        try:
            from torchvision.models import resnet18, resnet50
        except ImportError:
            raise UserError(
                f"ResNet-{depth} needs torchvision, which is not installed: pip install "
                "torchvision, or use images.models.SmallCNN"
            ) from None
        if depth not in (18, 50):
            raise UserError(f"the depth of the ResNet is 18 or 50, not {depth}")
        self.resnet = resnet18(weights=None) if depth == 18 else resnet50(weights=None)
        self.embedding_dim = self.resnet.fc.in_features
        if weights is not None:
            from acorl_sb.encoders.weights import load_weights

            load_weights(self.resnet, weights)
        self.resnet.fc = nn.Identity()
        if small_images:
            self.resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.resnet.maxpool = nn.Identity()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.resnet((images - self.mean) / self.std)


class ScaledSoftmax(SoftmaxHead):
    """A linear softmax of scale x z, for embeddings of unit norm such as ``joint``'s.

    Without a scale their logits stay small for long, and the loss with them high.

    Arguments
    ---------
    dim, n_classes : int
    scale : float
    """

    def __init__(self, dim: int, n_classes: int, scale: float = 10.0):
        super().__init__(dim, n_classes)
        self.scale = scale

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        return super().logits(self.scale * z)
