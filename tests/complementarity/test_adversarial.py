"""The adversarial term: what the adversary reads, what its weight does, equations."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.complementarity import (
    Adversarial,
    EmbeddingTarget,
    Ramp,
    ResidualTarget,
    WeightSchedule,
    out_of_fold,
)


def train_adversary(z, v, steps=600, **options):
    torch.manual_seed(0)
    objective = Adversarial(
        z.shape[1], [v.shape[1]], 2, WeightSchedule(0.0), distance="squared", **options
    )
    optimizer = torch.optim.Adam(objective.adversary_parameters(), lr=0.01)
    labels = torch.zeros(len(z), dtype=torch.long)
    for _ in range(steps):
        optimizer.zero_grad()
        objective.adversary_loss(z, [v], labels).backward()
        optimizer.step()
    return objective


def r2(objective, z, v):
    """Share of variance of bar(v) that the head explains, on rows it was not trained on."""
    with torch.no_grad():
        wanted = F.normalize(v, dim=-1)
        estimate = objective.heads[0](F.normalize(z, dim=-1))
        return float(
            1 - (wanted - estimate).square().sum() / (wanted - wanted.mean(0)).square().sum()
        )


def test_the_adversary_recovers_a_linear_relation_and_nothing_else():
    torch.manual_seed(1)
    z = F.normalize(torch.randn(3000, 8), dim=-1)
    rotation = torch.linalg.qr(torch.randn(8, 8))[0]
    related, independent = z @ rotation, torch.randn(3000, 8)
    seen, unseen = slice(0, 2000), slice(2000, None)
    reads = train_adversary(z[seen], related[seen], hidden=64)
    assert r2(reads, z[unseen], related[unseen]) > 0.95
    fails = train_adversary(z[seen], independent[seen], steps=200, hidden=64)
    assert r2(fails, z[unseen], independent[unseen]) < 0.1


@pytest.mark.parametrize("distance", ["cosine", "squared"])
def test_loss_is_equation_3_recomputed(device, distance):
    torch.manual_seed(2)
    z = torch.randn(5, 6, device=device, dtype=torch.float64)
    references = [torch.randn(5, d, device=device, dtype=torch.float64) for d in (4, 7)]
    labels = torch.tensor([0, 1, 2, 0, 1], device=device)
    objective = (
        Adversarial(6, [4, 7], 3, WeightSchedule(1.0), distance=distance).to(device).double()
    )
    term = objective(z, references, labels, 1.0)
    total = 0.0
    for head, v in zip(objective.heads, references, strict=True):
        for row_z, row_v in zip(z, v, strict=True):
            guess = head((row_z / row_z.norm()).unsqueeze(0))[0]
            target = row_v / row_v.norm()
            if distance == "cosine":
                total += 1 - float(guess @ target / guess.norm() / target.norm())
            else:
                total += float(((guess - target) ** 2).sum())
    assert float(term.loss) == pytest.approx(total / (2 * 5), rel=1e-9)
    assert float(term.total(torch.tensor(2.0, device=device))) == pytest.approx(
        2 + total / 10, rel=1e-9
    )


def test_encoder_ascends_while_heads_descend(device):
    torch.manual_seed(3)
    weight = 2.0
    z = torch.randn(16, 4, dtype=torch.float64, device=device, requires_grad=True)
    v = torch.randn(16, 4, dtype=torch.float64, device=device)
    labels = torch.zeros(16, dtype=torch.long, device=device)
    objective = Adversarial(4, [4], 1, WeightSchedule(weight)).to(device).double()
    heads = list(objective.heads.parameters())

    def distance():
        return 1 - F.cosine_similarity(objective.heads[0](F.normalize(z, dim=-1)), v).mean()

    objective(z, [v], labels, 1.0).loss.backward()
    plain_z, *plain_heads = torch.autograd.grad(distance(), [z, *heads])
    assert plain_z.norm() > 0.01 and all(grad.norm() > 0.01 for grad in plain_heads)
    torch.testing.assert_close(z.grad, -weight * plain_z)
    for parameter, grad in zip(heads, plain_heads, strict=True):
        torch.testing.assert_close(parameter.grad, grad)

    # What an optimizer makes of it: its step is against the gradient.
    before = float(distance().detach())
    with torch.no_grad():
        z -= 0.01 * z.grad
    assert distance() > before
    with torch.no_grad():
        z += 0.01 * z.grad
        for parameter in heads:
            parameter -= 0.01 * parameter.grad
    assert distance() < before


def test_priors_get_no_gradient():
    v = torch.randn(6, 3, requires_grad=True)
    z = torch.randn(6, 4, requires_grad=True)
    objective = Adversarial(4, [3], 2, WeightSchedule(1.0))
    objective(z, [v], torch.zeros(6, dtype=torch.long), 0.5).loss.backward()
    assert v.grad is None and z.grad.abs().sum() > 0


def probe_r2(z, v):
    """R^2 of a fresh linear probe, fitted on one half and judged on the other."""
    half = len(z) // 2
    ones = torch.ones(len(z), 1)
    design = torch.cat([F.normalize(z, dim=-1), ones], 1)
    weights = torch.linalg.lstsq(design[:half], v[:half]).solution
    error = (v[half:] - design[half:] @ weights).square().sum()
    return float(1 - error / (v[half:] - v[half:].mean(0)).square().sum())


@pytest.mark.parametrize(("weight", "falls"), [(0.0, False), (5.0, True)])
def test_a_fresh_probe_reads_less_after_ensemble_steps_only_if_pushed(weight, falls):
    """Class information sits in 4 inputs, nuisance in 4 others that the reference encodes."""
    torch.manual_seed(4)
    x = torch.randn(2000, 8)
    labels = (x[:, 0] > 0).long()
    reference = x[:, 4:]
    encoder = nn.Linear(8, 8)
    nn.init.eye_(encoder.weight)
    head = nn.Linear(8, 2)
    objective = Adversarial(8, [4], 2, WeightSchedule(weight), hidden=32, adversary_steps=3)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    adversary = torch.optim.Adam(objective.adversary_parameters(), lr=0.02)
    with torch.no_grad():
        before = probe_r2(encoder(x), reference)
    for step in range(150):
        z = encoder(x)
        term = objective(z, [reference], labels, step / 149)
        optimizer.zero_grad()
        adversary.zero_grad()
        term.total(F.cross_entropy(head(z), labels)).backward()
        optimizer.step()
        adversary.step()
        for _ in range(2):
            adversary.zero_grad()
            objective.adversary_loss(z.detach(), [reference], labels).backward()
            adversary.step()
    with torch.no_grad():
        after = probe_r2(encoder(x), reference)
    assert (after < before - 0.2) == falls, (before, after)
    if not falls:
        assert after > before - 0.05


def test_residual_target_is_the_deviation_from_the_mean_of_earlier_batches():
    target = ResidualTarget(reference_dim=2, n_classes=2)
    first = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    _, weight = target(first, torch.tensor([0, 0]))
    assert weight.tolist() == [0.0, 0.0]  # nothing known of class 0 yet
    v = torch.tensor([[2.0, 5.0], [9.0, 9.0]])
    residual, weight = target(v, torch.tensor([0, 1]))
    assert weight.tolist() == [1.0, 0.0]
    torch.testing.assert_close(residual[0], torch.tensor([0.0, 1.0]))  # (2,5) - (2,0)
    target.eval()
    before = target.count.clone()
    target(v, torch.tensor([0, 1]))
    assert torch.equal(target.count, before)


def test_embedding_target_has_unit_norm():
    target, weight = EmbeddingTarget(3, 2)(torch.tensor([[3.0, 0.0, 4.0]]), torch.tensor([0]))
    torch.testing.assert_close(target, torch.tensor([[0.6, 0.0, 0.8]]))
    assert weight.tolist() == [1.0]


def test_extra_adversary_steps_do_not_count_a_batch_twice():
    objective = Adversarial(
        4, [2], 3, WeightSchedule(1.0), target=ResidualTarget, adversary_steps=4
    )
    z, v, labels = torch.randn(3, 4), torch.randn(3, 2), torch.tensor([0, 1, 1])
    objective(z, [v], labels, 0.0)
    objective.adversary_loss(z, [v], labels)
    assert objective.targets[0].count.tolist() == [1.0, 2.0, 0.0]


@pytest.mark.parametrize("folds", [None, torch.tensor([0, 1, 0, 1, 0])])
def test_further_steps_have_the_targets_of_the_step(folds):
    """On the same z, with heads that have not moved, their loss is that of the step."""
    torch.manual_seed(5)
    kind = functools.partial(Adversarial, target=ResidualTarget, distance="squared")
    if folds is None:
        objective, copies = kind(4, [3], 5), 1
    else:
        objective, copies = out_of_fold(kind, 4, [3, 3], 5, folds), 2
    for labels in (torch.arange(2), torch.arange(5), torch.arange(5)):  # three are new, then none
        labels = labels.repeat(4)
        z, references = torch.randn(len(labels), 4), [torch.randn(len(labels), 3)] * copies
        loss = objective(z, references, labels, 1.0).loss
        again = objective.adversary_loss(z, references, labels)
        torch.testing.assert_close(again, loss, rtol=1e-6, atol=1e-7)
    assert float(loss) > 0.1


def test_another_batch_than_the_last_is_held_against_the_means_as_they_are():
    torch.manual_seed(6)
    objective = Adversarial(4, [3], 5, target=ResidualTarget, distance="squared")
    labels = torch.arange(4)  # 4 stays unknown
    counted = torch.randn(4, 3)
    objective(torch.randn(4, 4), [counted], labels, 1.0)
    z, v, others = torch.randn(3, 4), torch.randn(3, 3), torch.tensor([2, 0, 4])
    found = objective.adversary_loss(z, [v], others)
    guess = objective.heads[0](F.normalize(z, dim=1))[:2]
    wanted = F.normalize(v[:2] - counted[[2, 0]], dim=1)
    torch.testing.assert_close(found, (guess - wanted).square().sum() / 2)
    assert objective.targets[0].count.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert objective.targets[0].training
    # Nor are the targets those of a batch that differs in its labels alone.
    assert not torch.equal(objective.adversary_loss(z, [v], others.flip(0)), found)


def test_push_is_not_shared_between_members():
    schedule = Ramp(1.0)
    one = Adversarial(4, [2], 2, schedule)
    assert one.schedule is not schedule


@pytest.mark.parametrize(
    ("options", "where"),
    [({"distance": "l1"}, "distance"), ({"adversary_steps": 0}, "adversary_steps")],
)
def test_bad_options(options, where):
    with pytest.raises(ValueError, match=where):
        Adversarial(4, [2], 2, **options)


def test_needs_a_reference():
    with pytest.raises(ValueError):
        Adversarial(4, [], 2)
