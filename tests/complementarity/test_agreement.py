"""Agreement of two views of the same items, pair by pair, and out of fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acorl_sb.complementarity import Agreement, WeightSchedule, out_of_fold

LABELS = torch.tensor([0, 1, 2, 0, 1, 0, 1, 2, 0, 1])


def by_hand(z, pairs):
    z = z.detach().double().numpy()
    return np.mean(
        [1 - z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j]) for i, j in pairs]
    )


def test_agreement_recomputed_pair_by_pair():
    torch.manual_seed(0)
    z = torch.randn(10, 4)
    term = Agreement(4, [], 3, WeightSchedule(0.3))(z, [], LABELS, 1.0)
    assert float(term.loss) == pytest.approx(0.3 * by_hand(z, [(i, i + 5) for i in range(5)]))
    assert term.task_weight == 1


@pytest.mark.parametrize("fixed", [True, False])
def test_the_noisy_view_is_drawn_to_the_clean_one(fixed):
    torch.manual_seed(0)
    z = torch.randn(10, 4, requires_grad=True)
    objective = Agreement(4, [], 3, WeightSchedule(1.0), fixed_first=fixed)
    objective(z, [], LABELS, 1.0).loss.backward()
    assert (z.grad[:5].abs().sum() == 0) == fixed
    # What is left of 1 - cos falls along the step.
    assert by_hand(z - 0.1 * z.grad, [(2, 7)]) < by_hand(z, [(2, 7)])


def test_both_views_of_an_item_are_in_one_fold():
    torch.manual_seed(0)
    z, folds = torch.randn(10, 4), torch.tensor([0, 1, 0])
    references = [torch.randn(10, 2), torch.randn(10, 2)]

    def factory(**sizes):
        return Agreement(**sizes, schedule=WeightSchedule(1.0))

    made = out_of_fold(factory, 4, [2, 2], 3, folds)
    found = float(made(z, references, LABELS, 1.0).loss)
    assert found == pytest.approx(by_hand(z, [(i, i + 5) for i in range(5)]))


@pytest.mark.parametrize("labels", [torch.arange(10), LABELS[:9]])
def test_a_batch_of_one_view_is_refused(labels):
    with pytest.raises(ValueError):
        Agreement(4, [], 10)(torch.randn(len(labels), 4), [], labels, 1.0)
