"""Branches as one encoder: cosines by their shares, and no code but ours from a folder."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.encoders.joined import Joined


class Halves(nn.Module):
    """The means of some stretches of a wave."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def forward(self, waves):
        return torch.stack([part.mean(1) for part in waves.chunk(self.parts, 1)], 1)


def test_the_cosine_is_the_mean_of_the_branches():
    branches = [Halves(2), Halves(5)]
    a, b = torch.randn(2, 4, 1000, generator=torch.Generator().manual_seed(0))
    joined = Joined(branches, [1.0, 3.0])
    one, other = joined(a), joined(b)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(4))
    cosines = [F.cosine_similarity(branch(a), branch(b)) for branch in branches]
    torch.testing.assert_close((one * other).sum(1), 0.25 * cosines[0] + 0.75 * cosines[1])


@pytest.mark.parametrize("shares", [[], [1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_shares_are_one_for_each_branch_and_positive(shares):
    with pytest.raises(ValueError):
        Joined([Halves(1), Halves(2)], shares)
