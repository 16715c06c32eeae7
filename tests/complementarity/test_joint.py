"""``joint``, ``none`` and combinations, against equation (6) and sums done by hand."""

from __future__ import annotations

import functools

import pytest
import torch

from acorl_sb.complementarity import CKA, Adversarial, Combined, Independent, Joint, WeightSchedule
from acorl_sb.complementarity.joint import concatenate
from acorl_sb.training.heads import AAMHead, SoftmaxHead


def test_concatenation_has_the_mean_cosine():
    torch.manual_seed(0)
    a, b = ([torch.randn(4, d, dtype=torch.float64) for d in (3, 5)] for _ in range(2))
    cos = torch.nn.functional.cosine_similarity
    fused = cos(concatenate(a), concatenate(b))
    torch.testing.assert_close(fused, (cos(a[0], b[0]) + cos(a[1], b[1])) / 2)
    torch.testing.assert_close(concatenate(a).norm(dim=1), torch.ones(4, dtype=torch.float64))


def test_joint_is_equation_6():
    torch.manual_seed(1)
    z, v = torch.randn(6, 4, requires_grad=True), torch.randn(6, 3)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    objective = Joint(4, [3], 3, head=SoftmaxHead)
    own = torch.tensor(1.7)
    z_bar, v_bar = z / z.norm(dim=1, keepdim=True), v / v.norm(dim=1, keepdim=True)
    logits = torch.cat([v_bar, z_bar], 1) / 2**0.5 @ objective.head.weight.T + objective.head.bias
    joint = -logits.log_softmax(1)[range(6), labels].mean()
    total = objective(z, [v], labels, 0.3).total(own)
    torch.testing.assert_close(total, 0.5 * own + 0.5 * joint)
    assert len(list(objective.member_parameters())) == 2
    assert not list(objective.adversary_parameters())


def test_aam_head_against_its_formula():
    torch.manual_seed(2)
    head = AAMHead(4, 3, margin=0.2, scale=30.0)
    z, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    w = head.classifier.weight
    cosine = (z / z.norm(dim=1, keepdim=True)) @ (w / w.norm(dim=1, keepdim=True)).T
    angle = torch.acos(cosine)
    rows = range(5)
    logits = cosine.clone()
    logits[rows, labels] = torch.cos(angle[rows, labels] + 0.2)
    wanted = -(30 * logits).log_softmax(1)[rows, labels].mean()
    torch.testing.assert_close(head(z, labels), wanted, atol=1e-4, rtol=1e-4)


def test_combined_adds_terms_and_multiplies_weights():
    torch.manual_seed(3)
    parts = [
        functools.partial(Joint, head=SoftmaxHead, share=0.25),
        functools.partial(Adversarial, schedule=WeightSchedule(1.0), adversary_steps=3),
        functools.partial(CKA, schedule=WeightSchedule(0.5)),
    ]
    objective = Combined(4, [3], 3, parts=parts)
    z, v, labels = torch.randn(9, 4), [torch.randn(9, 3)], torch.arange(9) % 3
    term = objective(z, v, labels, 0.5)
    alone = [part(z, v, labels, 0.5) for part in objective.parts]
    torch.testing.assert_close(term.loss, sum(t.loss for t in alone))
    assert term.task_weight == pytest.approx(0.75)
    assert objective.adversary_steps == 3
    adversary = {id(p) for p in objective.adversary_parameters()}
    assert adversary == {id(p) for p in objective.parts[1].heads.parameters()}
    assert {id(p) for p in objective.member_parameters()} == {
        id(p) for p in objective.parts[0].head.parameters()
    }


def test_independent_adds_nothing():
    term = Independent(4, [], 2)(torch.randn(3, 4), [], torch.zeros(3, dtype=torch.long), 0.5)
    assert float(term.total(torch.tensor(1.25))) == 1.25
