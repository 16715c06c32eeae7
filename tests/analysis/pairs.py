"""Pairs of members whose similarity is known."""

import numpy as np
import torch

SPEAKERS = np.repeat([f"s{i}" for i in range(60)], 20)  # 1200 rows


def noise(dim, seed, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(SPEAKERS), dim, generator=generator, dtype=torch.float64)
    return rows.to(device)


def rotation(dim, seed):
    return torch.linalg.qr(noise(dim, seed)[:dim])[0]


def pair(kind, device="cpu"):
    """(x, y) of 16 dimensions each."""
    x = noise(16, 1, device)
    if kind == "identical":
        return x, x
    if kind == "rotated":  # and scaled and shifted
        return x, 3 * x @ rotation(16, 2).to(device) + 5
    if kind == "independent":
        return x, noise(16, 3, device)
    half = torch.cat([x[:, :8], noise(8, 4, device)], 1)
    return x, half @ rotation(16, 5).to(device)
