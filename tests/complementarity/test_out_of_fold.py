"""Out-of-fold references: each fold's objective sees its own rows and its own copies alone."""

from __future__ import annotations

import functools

import pytest
import torch

from acorl_sb.complementarity import (
    Adversarial,
    Bounded,
    ConditionalRedundancy,
    Nontarget,
    WeightSchedule,
    deal_folds,
    out_of_fold,
)
from acorl_sb.complementarity.objective import is_absent
from acorl_sb.encoders.ensemble import FrozenEnsemble, OutOfFoldReferences

FOLDS = torch.tensor([0, 1, 0, 1])
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
NONTARGET = functools.partial(Nontarget, schedule=WeightSchedule(0.7))


def batch():
    torch.manual_seed(0)
    z = torch.randn(len(LABELS), 5, dtype=torch.float64, requires_grad=True)
    references = [torch.randn(len(LABELS), d, dtype=torch.float64) for d in (3, 4)]
    return z, references


def test_the_term_is_the_mean_over_folds_of_each_fold_alone():
    z, references = batch()
    term = out_of_fold(NONTARGET, 5, [3, 4], 4, FOLDS)(z, references, LABELS, 1.0)
    expected = 0.0
    for f, reference in enumerate(references):
        rows = [i for i, label in enumerate(LABELS.tolist()) if label % 2 == f]
        pairs = [(i, j) for i in rows for j in rows if i < j and LABELS[i] != LABELS[j]]
        cos = [
            torch.stack([torch.cosine_similarity(x[i], x[j], 0) for i, j in pairs])
            for x in (z.detach(), reference)
        ]
        expected += len(rows) / len(LABELS) * 0.7 * float(torch.corrcoef(torch.stack(cos))[0, 1])
    assert float(term.loss.detach()) == pytest.approx(expected, rel=1e-4)


def test_figures_are_means_over_the_folds_that_have_them():
    torch.manual_seed(0)
    kind = functools.partial(ConditionalRedundancy, schedule=WeightSchedule(0.7))
    objective = out_of_fold(kind, 5, [3, 3], 8, torch.arange(8) % 2)

    def logs(labels):
        z, v = torch.randn(len(labels), 5), torch.randn(len(labels), 3)
        return objective(z, [v, v], torch.tensor(labels), 1.0).logs, (z, v)

    # Five of fold 0 with a pair and three of fold 1; then four of fold 1 without a pair.
    for others in ([1, 1, 3], [1, 3, 5, 7]):
        found, (z, v) = logs([0, 0, 2, 4, 6, *others])
        alone = objective.parts[0](z[:5], [v[:5]], torch.tensor([0, 0, 2, 4, 6]), 1.0).logs
        assert {k: float(x) for k, x in found.items()} == pytest.approx(
            {k: float(x) for k, x in alone.items()}, rel=1e-5
        )
    nothing, _ = logs([0, 0, 2, 1, 1, 3])
    assert nothing.keys() == found.keys() and all(map(is_absent, nothing.values()))


def test_what_a_copy_says_of_other_folds_changes_nothing():
    z, references = batch()
    objective = out_of_fold(NONTARGET, 5, [3, 4], 4, FOLDS)
    before = objective(z, references, LABELS, 1.0).loss
    changed = [p.clone() for p in references]
    changed[0][FOLDS[LABELS] == 1] = 99.0
    changed[1][FOLDS[LABELS] == 0] = -7.0
    assert torch.equal(before, objective(z, changed, LABELS, 1.0).loss)


def test_each_fold_has_an_adversary_of_its_own_and_all_learn():
    torch.manual_seed(1)
    z, references = torch.randn(10, 5), [torch.randn(10, 3), torch.randn(10, 3)]
    objective = out_of_fold(functools.partial(Adversarial, hidden=8), 5, [3, 3], 4, FOLDS)
    parameters = list(objective.adversary_parameters())
    assert len(parameters) == 8 and objective.adversary_steps == 1
    assert not list(objective.member_parameters())
    objective.adversary_loss(z, references, LABELS).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)


def test_a_limit_reaches_the_step():
    z, references = batch()
    bounded = functools.partial(Bounded, part=NONTARGET, limit=0.2)
    assert out_of_fold(bounded, 5, [3, 4], 4, FOLDS)(z, references, LABELS, 1.0).limit == 0.2


def test_all_versions_of_a_group_are_in_one_fold():
    folds = deal_folds(7, 3, repeats=2)
    assert torch.equal(folds[:7], folds[7:])
    assert folds.bincount().tolist() == [6, 4, 4]


def test_each_row_is_embedded_by_the_copy_that_never_met_it():
    class Marks(torch.nn.Module):
        embedding_dim = 2

        def __init__(self, mark):
            super().__init__()
            self.mark = mark

        def forward(self, x):
            return x[:, :2] * self.mark

    copies = []
    for mark in (2.0, 3.0):
        ensemble = FrozenEnsemble()
        ensemble.add("a", Marks(mark))
        copies.append(ensemble)
    inputs = torch.rand(len(LABELS), 6) + 1
    first, second = OutOfFoldReferences(copies, FOLDS).embed(inputs, LABELS)
    own = (FOLDS[LABELS] == 0).unsqueeze(1)
    assert torch.equal(first, torch.where(own, 2 * inputs[:, :2], 0.0))
    assert torch.equal(second, torch.where(own, 0.0, 3 * inputs[:, :2]))
