"""Augmentation of image batches on their device, random numbers from torch's state alone.

The Brain seeds torch at every step, so a resumed training sees the same images. Called as
SpeechBrain calls its augmenters: (images (B, C, H, W), relative lengths) -> the same.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


class ResizedCrop(nn.Module):
    """A random part of each image, stretched to the full size; a random half is mirrored.

    What torchvision's ``RandomResizedCrop`` does, for a whole batch in one bilinear look-up
    (without its smoothing when a part is scaled down, which cannot happen here).

    Arguments
    ---------
    smallest : float in (0, 1]
        Share of the image's area that a part has at least; drawn uniformly up to 1.
    stretch : float >= 1
        The part's sides differ by this factor at most; drawn log-uniformly.
    mirror : bool
        False where left and right matter, as in digits.
    """

    def __init__(self, smallest: float = 0.3, stretch: float = 4 / 3, mirror: bool = True):
        super().__init__()
        if not 0 < smallest <= 1 or stretch < 1:
            raise ValueError("smallest lies in (0, 1] and stretch is at least 1")
        self.smallest = smallest
        self.stretch = stretch
        self.mirror = mirror

    def forward(self, images: torch.Tensor, lengths: torch.Tensor):
        n, device = len(images), images.device
        area = self.smallest + (1 - self.smallest) * torch.rand(n, device=device)  # (B,)
        aspect = torch.exp((2 * torch.rand(n, device=device) - 1) * math.log(self.stretch) / 2)
        wide = (area.sqrt() * aspect).clamp(max=1)
        high = (area.sqrt() / aspect).clamp(max=1)
        across, down = 2 * torch.rand(2, n, device=device) - 1
        flip = torch.ones(n, device=device)
        if self.mirror:
            flip -= 2 * torch.randint(2, (n,), device=device)
        theta = torch.zeros(n, 2, 3, device=device)  # in [-1, 1] coordinates
        theta[:, 0, 0], theta[:, 0, 2] = wide * flip, (1 - wide) * across
        theta[:, 1, 1], theta[:, 1, 2] = high, (1 - high) * down
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False), lengths


class Shift(nn.Module):
    """Each image moved by up to ``pixels`` in both directions, edges repeated; maybe mirrored.

    Arguments
    ---------
    pixels : int
    mirror : bool
    """

    def __init__(self, pixels: int = 1, mirror: bool = False):
        super().__init__()
        self.pixels = pixels
        self.mirror = mirror

    def forward(self, images: torch.Tensor, lengths: torch.Tensor):
        n, _, high, wide = images.shape
        device = images.device
        padded = F.pad(images, [self.pixels] * 4, mode="replicate")
        top, left = torch.randint(2 * self.pixels + 1, (2, n, 1), device=device)
        rows = top + torch.arange(high, device=device)  # (B, H)
        columns = left + torch.arange(wide, device=device)  # (B, W)
        if self.mirror:
            flip = torch.randint(2, (n, 1), device=device).bool()
            columns = torch.where(flip, columns.flip(1), columns)
        item = torch.arange(n, device=device)
        moved = padded[item[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2).contiguous(), lengths  # (B, C, H, W)
