"""The shared and the specific part: recomputed in numpy, and what descending the loss does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from acorl_sb.complementarity import SharedSpecific, WeightSchedule
from acorl_sb.complementarity.shared_specific import uniformity

LABELS = torch.tensor([0, 1, 2, 0, 1, 3, 4, 2])


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def uniformity_by_hand(x, labels):
    x = unit(x)
    pairs = [(i, j) for i in range(len(x)) for j in range(i) if labels[i] != labels[j]]
    return np.log(np.mean([np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i, j in pairs]))


def hsic(k, m):
    """Unbiased, as the sum over four different indices of Song et al. (2012), eq. 5."""
    n, total = len(k), 0.0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
    return total / (n * (n - 1) * (n - 2) * (n - 3))


def cka_by_hand(x, y):
    k, m = unit(x) @ unit(x).T, unit(y) @ unit(y).T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def test_the_loss_recomputed():
    torch.manual_seed(0)
    z, first, second = torch.randn(8, 6), torch.randn(8, 4), torch.randn(8, 5)
    objective = SharedSpecific(
        6, [4, 5], 5, WeightSchedule(0.7), shared=1 / 3, separation=0.4, spread=0.2
    )
    found = objective(z, [first, second], LABELS, 1.0)
    labels = LABELS.numpy()
    shared, specific = z[:, :2].double().numpy(), z[:, 2:].double().numpy()
    expected = 0.2 * (uniformity_by_hand(shared, labels) + uniformity_by_hand(specific, labels))
    for to_reference, v in zip(objective.maps, (first, second), strict=True):
        v = v.double().numpy()
        mapped = unit(shared @ to_reference.weight.detach().double().numpy().T)
        expected += np.mean(1 - np.sum(mapped * unit(v), axis=1)) / 2
        expected += 0.4 * cka_by_hand(specific, v) / 2
    assert found.loss.item() == pytest.approx(0.7 * expected, rel=1e-4)
    assert found.task_weight == 1
    assert {id(p) for p in objective.member_parameters()} == {id(m.weight) for m in objective.maps}


def test_descent_aligns_one_part_and_parts_the_other():
    torch.manual_seed(0)
    labels = torch.arange(40)
    v = torch.randn(40, 3)
    z = nn.Parameter(torch.cat([torch.randn(40, 3), v + 0.3 * torch.randn(40, 3)], 1))
    objective = SharedSpecific(6, [3], 40, WeightSchedule(1.0))
    optimizer = torch.optim.Adam([z, *objective.member_parameters()], lr=0.02)
    logs = []
    for _ in range(200):
        term = objective(z, [v], labels, 1.0)
        logs.append(term.logs)
        optimizer.zero_grad()
        term.loss.backward()
        optimizer.step()
    assert logs[0]["distance"] > 0.5 and logs[-1]["distance"] < 0.25
    assert logs[0]["similarity"] > 0.7 and logs[-1]["similarity"] < 0.25
    assert logs[-1]["uniformity"] < logs[0]["uniformity"]


def test_uniformity_is_lowest_for_what_is_spread_out():
    labels = torch.arange(4)
    square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    expected = np.log((2 * np.exp(-4) + np.exp(-8)) / 3)
    assert float(uniformity(square, labels)) == pytest.approx(expected, rel=1e-5)
    assert float(uniformity(torch.ones(4, 2), labels)) == pytest.approx(0, abs=1e-6)
    assert float(uniformity(square, torch.zeros(4))) == 0  # one class: nobody to lie apart from


@pytest.mark.parametrize("bad", [{"shared": 0.0}, {"shared": 1.0}, {"spread": -1}])
def test_parts_that_are_empty_and_negative_weights_are_refused(bad):
    with pytest.raises(ValueError):
        SharedSpecific(8, [4], 3, **bad)
