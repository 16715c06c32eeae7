"""What a step may rely on, whatever a batch holds: gradients for all, and the same figures."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from acorl_sb import complementarity
from acorl_sb.complementarity import (
    CKA,
    Adversarial,
    Bounded,
    Combined,
    ConditionalRedundancy,
    Distillation,
    FusedDPrime,
    FusedScores,
    HardClasses,
    Joint,
    Nontarget,
    ResidualTarget,
    SharedSpecific,
)
from acorl_sb.complementarity.objective import ABSENT, is_absent, zero_loss
from acorl_sb.training.heads import SoftmaxHead

residual = functools.partial(Adversarial, target=ResidualTarget)
KINDS = {
    "adversarial": residual,
    "cka": CKA,
    "combined": functools.partial(Combined, parts=[residual, ConditionalRedundancy, Distillation]),
    "bounded": functools.partial(Bounded, part=ConditionalRedundancy),
    "dice": ConditionalRedundancy,
    "distillation": Distillation,
    "d'": FusedDPrime,
    "fused": FusedScores,
    "hard": functools.partial(HardClasses, head=SoftmaxHead),
    "joint": functools.partial(Joint, head=SoftmaxHead),
    "nontarget": Nontarget,
    "shared": SharedSpecific,
}
POOR = {"no pair": torch.arange(8), "one class": torch.zeros(8, dtype=torch.long)}
FOLDS = torch.arange(8) % 2


def made(kind, folds):
    torch.manual_seed(0)
    if not folds:
        return KINDS[kind](dim=4, reference_dims=[3], n_classes=8)
    return complementarity.out_of_fold(KINDS[kind], 4, [3, 3], 8, FOLDS)


def term_of(objective, labels, seed=1):
    torch.manual_seed(seed)
    z = torch.randn(len(labels), 4, requires_grad=True)
    references = [torch.randn(len(labels), 3) for _ in range(2)]
    if not isinstance(objective, complementarity.OutOfFold):
        references = references[:1]
    return z, references, objective(z, references, labels, 0.5)


@pytest.mark.parametrize("folds", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_teaches_nothing_has_all_gradients_and_figures(kind, folds):
    rich = torch.arange(4).repeat(6)
    names = term_of(made(kind, folds), rich)[2].logs.keys()
    # Of three items of fold 0 and five of fold 1, and of three and three, in folds of four or more.
    uneven = {"fold left out": torch.tensor([0, 2, 4, 1, 3, 5, 1, 3])}
    none = {"no fold": torch.tensor([0, 2, 4, 1, 3, 5])}
    for name, labels in {**POOR, **uneven, **none}.items():
        objective = made(kind, folds)
        z, _, term = term_of(objective, labels)
        (term.loss + z.sum()).backward()
        assert term.logs.keys() == names, name
        for parameter, p in objective.named_parameters():
            assert p.grad is not None, (name, parameter)
            assert torch.isfinite(p.grad).all(), (name, parameter)


@pytest.mark.parametrize("folds", [False, True])
@pytest.mark.parametrize("kind", ["adversarial", "combined", "bounded", "dice"])
def test_so_have_the_further_steps_of_an_adversary(kind, folds):
    for labels in (*POOR.values(), torch.tensor([0, 2, 4, 1, 3, 5])):
        objective = made(kind, folds)
        z, references, _ = term_of(objective, labels)
        loss = objective.adversary_loss(z, references, labels)
        loss.backward()
        assert torch.isfinite(loss) and z.grad is None
        assert all(p.grad is not None for p in objective.adversary_parameters())


def test_unlabelled_items_teach_no_posterior():
    objective = made("distillation", False)
    term_of(objective, torch.arange(4).repeat(3))  # classes have been seen
    z, _, term = term_of(objective, torch.full((8,), -1), seed=2)
    term.loss.backward()
    assert torch.equal(objective.classes.grad, torch.zeros(8, 4)) and z.grad.abs().sum() > 0
    assert is_absent(term.logs["posterior_loss"])
    assert not is_absent(term_of(objective, torch.tensor([0] + [-1] * 7))[2].logs["posterior_loss"])


def test_scaling_the_loss_finds_gradients_of_every_optimizer():
    objective = made("dice", False)
    z, _, term = term_of(objective, POOR["no pair"])
    scaler = torch.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.SGD(objective.adversary_parameters(), lr=0.1)
    before = [p.detach().clone() for p in objective.parameters()]
    scaler.scale(term.loss + z.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert all(map(torch.equal, before, objective.parameters()))


def test_nothing_with_gradients_of_nothing():
    weights = [torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(4))]
    z = torch.randn(5, 2, dtype=torch.float64)
    loss = zero_loss(z, weights)
    loss.backward()
    assert float(loss.detach()) == 0 and loss.dtype == torch.float64
    assert all(torch.equal(w.grad, torch.zeros_like(w)) for w in weights)
    assert float(zero_loss(z, [])) == 0


def test_what_is_absent():
    assert is_absent(ABSENT) and is_absent(math.nan)
    assert not is_absent(0.0) and not is_absent(torch.tensor(0.0))
    assert not is_absent(torch.tensor(math.nan))  # a figure that is broken shows
