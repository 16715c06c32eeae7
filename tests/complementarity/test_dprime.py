"""d' of fused scores, against loops over pairs, and what its loss teaches."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from acorl_sb.complementarity import FusedDPrime, OwnDPrime, Ramp, WeightSchedule
from acorl_sb.complementarity.dprime import fused_d_prime

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])


def embeddings(*dims, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = [torch.randn(4, dim, generator=generator) for dim in dims]
    return [c[LABELS] + torch.randn(len(LABELS), c.shape[1], generator=generator) for c in centres]


def by_loops(embedded, labels):
    target = [[], []]
    for z in embedded:
        z = z.double().numpy()
        cosines = {
            (i, j): z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j])
            for i, j in itertools.combinations(range(len(z)), 2)
        }
        spread = np.std([s for (i, j), s in cosines.items() if labels[i] != labels[j]])
        for kind in (0, 1):
            scores = [
                s / spread for (i, j), s in cosines.items() if (labels[i] == labels[j]) == kind
            ]
            target[kind].append(np.array(scores))
    other, same = (np.sum(part, axis=0) for part in target)
    return (same.mean() - other.mean()) / math.sqrt((same.var() + other.var()) / 2)


@pytest.mark.parametrize("dims", [(5,), (5, 3), (5, 3, 8)])
def test_it_is_the_d_prime_of_summed_scores(dims, device):
    made = embeddings(*dims)
    found = fused_d_prime([z.to(device) for z in made], LABELS.to(device))
    assert found.item() == pytest.approx(by_loops(made, LABELS.tolist()), rel=1e-4)


def test_scale_and_order_do_not_matter_and_a_twin_adds_nothing():
    z, v = embeddings(6, 4)
    alone = fused_d_prime([z], LABELS)
    assert fused_d_prime([3 * z, z], LABELS).item() == pytest.approx(alone.item(), rel=1e-5)
    together = fused_d_prime([z, v], LABELS).item()
    shuffled = torch.randperm(len(z), generator=torch.Generator().manual_seed(3))
    again = fused_d_prime([v[shuffled], 2 * z[shuffled]], LABELS[shuffled]).item()
    assert again == pytest.approx(together, rel=1e-5)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [1, 1, 1, 1], [0]])
def test_a_batch_without_pairs_of_both_kinds_teaches_nothing(labels):
    z = torch.randn(len(labels), 3, requires_grad=True)
    term = OwnDPrime(3, [], 4, WeightSchedule(2.0))(z, [], torch.tensor(labels), 1.0)
    assert math.isfinite(term.loss.item())
    term.loss.backward()
    assert not z.grad.any()


def test_the_loss_is_minus_twice_the_log_by_weight():
    z, v = embeddings(6, 4)
    term = FusedDPrime(6, [4], 4, Ramp(3.0))(z, [v], LABELS, 0.4)
    weight = Ramp(3.0)(0.4)
    assert term.loss.item() == pytest.approx(-2 * weight * math.log(fused_d_prime([z, v], LABELS)))
    assert term.logs["weight"] == weight and term.task_weight == 1
    own = OwnDPrime(6, [4], 4, Ramp(3.0))(z, [v], LABELS, 0.4)
    assert own.logs["d_prime"] == fused_d_prime([z], LABELS)
    with pytest.raises(ValueError, match="reference"):
        FusedDPrime(6, [], 4)


def test_it_learns_where_the_reference_errs_and_the_control_does_not():
    """Two ways to separate four classes; the reference has one of them already."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(4).repeat_interleave(8)
    sides = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])[labels]

    def noisy(column):
        return torch.stack([sides[:, column], 0.3 * torch.randn(32, generator=generator)], 1)

    known, new = noisy(0), noisy(1)
    shares = {}
    for objective in (FusedDPrime, OwnDPrime):
        mix = torch.zeros(1, requires_grad=True)  # of the two ways, in the new member
        optimizer = torch.optim.Adam([mix], 0.05)
        term = objective(4, [2], 4, WeightSchedule(1.0))
        for _ in range(200):
            share = torch.sigmoid(mix)
            z = torch.cat([share.sqrt() * known, (1 - share).sqrt() * new], 1)
            optimizer.zero_grad()
            term(z, [known], labels, 1.0).loss.backward()
            optimizer.step()
        shares[objective] = torch.sigmoid(mix).item()
    assert shares[FusedDPrime] < 0.4 < shares[OwnDPrime] < 0.6
