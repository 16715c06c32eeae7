"""Losses on pairs: the fused score of target and non-target pairs; conditional redundancy."""

from __future__ import annotations

import math

import pytest
import torch

from acorl_sb.complementarity import ConditionalRedundancy, FusedScores, OwnScores, WeightSchedule
from acorl_sb.complementarity.redundancy import class_partners

LABELS = torch.tensor([0, 0, 1, 1, 1, 2])


def test_fused_scores_recomputed_pair_by_pair():
    torch.manual_seed(0)
    z = torch.randn(6, 4, dtype=torch.float64)
    references = [torch.randn(6, d, dtype=torch.float64) for d in (3, 5)]
    objective = FusedScores(4, [3, 5], 3, WeightSchedule(0.5), scale=10.0, margin=0.2)
    found = float(objective(z, references, LABELS, 1.0).loss)

    def score(i, j):
        return sum(float(torch.cosine_similarity(x[i], x[j], 0)) for x in (z, *references)) / 3

    losses = []
    for i in range(6):
        for j in range(6):
            if i != j and LABELS[i] == LABELS[j]:
                own = math.exp(10 * (score(i, j) - 0.2))
                rivals = sum(math.exp(10 * score(i, n)) for n in range(6) if LABELS[n] != LABELS[i])
                losses.append(-math.log(own / (own + rivals)))
    assert found == pytest.approx(0.5 * sum(losses) / len(losses), rel=1e-9)


def test_own_scores_leave_the_references_out():
    torch.manual_seed(0)
    z, v = torch.randn(6, 4), torch.randn(6, 3)
    control = OwnScores(4, [3], 3, WeightSchedule(0.5))
    # A reference that scores as the member does changes no mean: the fused score is the member's.
    fused = FusedScores(4, [4], 3, WeightSchedule(0.5))
    found = float(control(z, [v], LABELS, 1.0).loss)
    assert found == pytest.approx(float(fused(z, [z], LABELS, 1.0).loss), rel=1e-6)
    assert found != pytest.approx(float(fused(z, [v], LABELS, 1.0).loss), rel=1e-2)


def test_no_pair_no_loss():
    z, v = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    for labels in (torch.arange(4), torch.zeros(4, dtype=torch.long)):
        assert float(FusedScores(3, [3], 4)(z, [v], labels, 1.0).loss) == 0
    assert float(ConditionalRedundancy(3, [3], 4)(z, [v], torch.arange(4), 1.0).loss) == 0


def test_a_pair_that_the_reference_gets_wrong_counts_more():
    torch.manual_seed(1)
    z = torch.nn.functional.normalize(torch.randn(6, 8), dim=1).requires_grad_()
    right = torch.nn.functional.one_hot(LABELS, 3).float()
    wrong = right.clone()
    wrong[0] = torch.tensor([0.0, 0.0, 1.0])  # takes item 0 for the third class
    objective = FusedScores(8, [3], 3)
    pulls = []
    for reference in (right, wrong):
        (gradient,) = torch.autograd.grad(objective(z, [reference], LABELS, 1.0).loss, z)
        pulls.append(float(gradient[0].norm()))
    assert pulls[1] > 10 * pulls[0]


def test_partners_are_other_items_of_the_class():
    rows, others = class_partners(LABELS)
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]
    assert (rows != others).all() and torch.equal(LABELS[rows], LABELS[others])


def test_the_ratio_finds_what_is_shared_beyond_the_class():
    """Gaussian z and v with correlation rho in each component: the information is known."""
    torch.manual_seed(2)
    found = {}
    for rho in (0.0, 0.8):
        torch.manual_seed(2)
        objective = ConditionalRedundancy(2, [2], 2, WeightSchedule(1.0), hidden=32)
        optimizer = torch.optim.Adam(objective.adversary_parameters(), lr=0.01)
        for _ in range(400):
            angle = torch.rand(512) * 6.283
            z = torch.stack([angle.cos(), angle.sin()], 1)
            shift = (torch.rand(512) - 0.5) * 6.283 * (1 - rho)
            v = torch.stack([(angle + shift).cos(), (angle + shift).sin()], 1)
            labels = torch.arange(512) % 2
            optimizer.zero_grad()
            objective.adversary_loss(z, [v], labels).backward()
            optimizer.step()
        found[rho] = float(objective(z, [v], labels, 1.0).logs["log_ratio"])
    # The angle of v given z is uniform over a share 1 - rho of the circle: log 1 / (1 - rho) nats.
    assert found[0.0] == pytest.approx(0.0, abs=0.15)
    assert found[0.8] == pytest.approx(math.log(5), abs=0.4)


def test_the_encoder_does_not_teach_the_discriminator_nor_the_other_way_round():
    torch.manual_seed(3)
    z, v = torch.randn(6, 4, requires_grad=True), torch.randn(6, 3)
    for weight in (0.0, 2.0):
        objective = ConditionalRedundancy(4, [3], 3, WeightSchedule(weight))
        torch.manual_seed(4)
        for p in objective.parameters():
            torch.nn.init.normal_(p)
        z.grad = None
        objective(z, [v], LABELS, 1.0).loss.backward()
        assert (z.grad.norm() > 0) == (weight > 0)
        learned = [p.grad.clone() for p in objective.adversary_parameters()]
        objective.zero_grad()
        objective.adversary_loss(z, [v], LABELS).backward()
        for a, p in zip(learned, objective.adversary_parameters(), strict=True):
            torch.testing.assert_close(a, p.grad)
