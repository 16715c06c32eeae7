"""``HardClasses`` against equation (7), written out with loops."""

from __future__ import annotations

import math

import pytest
import torch

from acorl_sb.complementarity import HardClasses, WeightSchedule
from acorl_sb.complementarity.class_means import ClassMeans
from acorl_sb.complementarity.hard_classes import class_similarity
from acorl_sb.training.heads import AAMHead, SoftmaxHead
from acorl_sb.utils.precision import full_precision

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


@full_precision()
def test_the_loss_is_equation_7(device):
    torch.manual_seed(0)
    earlier, v, z = torch.randn(6, 3), torch.randn(6, 3), torch.randn(6, 4)
    objective = HardClasses(
        4,
        [3],
        3,
        head=lambda **sizes: AAMHead(**sizes, margin=0.2, scale=30.0),
        schedule=WeightSchedule(0.7),
    ).to(device)
    objective(torch.randn(6, 4, device=device), [earlier.to(device)], LABELS.to(device), 0.0)
    term = objective(z.to(device), [v.to(device)], LABELS.to(device), 0.0)

    means = [(earlier[j] + earlier[j + 3]) / 2 for j in range(3)]
    weight = objective.head.classifier.weight.detach().cpu()
    wanted = 0.0
    for i, y in enumerate(LABELS.tolist()):
        kappa = [cosine(v[i], mean) for mean in means]
        average = sum(kappa[j] for j in range(3) if j != y) / 2
        logits = [
            math.cos(math.acos(cosine(z[i], weight[j])) + 0.2)
            if j == y
            else cosine(z[i], weight[j]) + 0.7 * (kappa[j] - average)
            for j in range(3)
        ]
        wanted -= math.log(math.exp(30 * logits[y]) / sum(math.exp(30 * x) for x in logits)) / 6
    own = torch.tensor(1.3, device=device)
    assert float(term.total(own)) == pytest.approx(0.5 * 1.3 + 0.5 * wanted, rel=1e-4)


def test_a_head_that_is_raised_by_nothing_is_the_plain_head():
    torch.manual_seed(1)
    z, nothing = torch.randn(6, 4), torch.zeros(6, 3)
    for head in (AAMHead(4, 3), SoftmaxHead(4, 3)):
        torch.testing.assert_close(head(z, LABELS, raised=nothing), head(z, LABELS))


def test_raising_the_right_class_changes_nothing_and_a_wrong_one_costs():
    torch.manual_seed(2)
    z = torch.randn(6, 4)
    right = torch.nn.functional.one_hot(LABELS, 3).float()
    for head in (AAMHead(4, 3), SoftmaxHead(4, 3)):
        torch.testing.assert_close(head(z, LABELS, raised=right), head(z, LABELS))
        assert float(head(z, LABELS, raised=1 - right)) > float(head(z, LABELS))


def test_classes_not_seen_yet_are_not_raised_and_do_not_count():
    means = ClassMeans(2, 4)
    means.count_in(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    means.eval()  # counts nothing more in
    v = torch.tensor([[1.0, 1.0]])
    found = class_similarity(v, means, torch.tensor([3]))
    torch.testing.assert_close(found, torch.zeros(1, 4))  # alike to both: neither is raised
    found = class_similarity(torch.tensor([[1.0, 0.0]]), means, torch.tensor([2]))
    torch.testing.assert_close(found[0, :2], torch.tensor([0.5, -0.5]))
    assert found[0, 2:].tolist()[0] == 0.0


def test_the_priors_mean_is_taken_and_only_the_head_learns_beside_the_encoder():
    torch.manual_seed(3)
    objective = HardClasses(4, [3, 3], 3, head=SoftmaxHead, schedule=WeightSchedule(1.0))
    alone = HardClasses(4, [3], 3, head=SoftmaxHead, schedule=WeightSchedule(1.0))
    alone.head.load_state_dict(objective.head.state_dict())
    z, v = torch.randn(6, 4), torch.randn(6, 3)
    for _ in range(2):
        twice, once = objective(z, [v, v], LABELS, 0.5), alone(z, [v], LABELS, 0.5)
    torch.testing.assert_close(twice.loss, once.loss)
    assert len(list(objective.member_parameters())) == 2
    assert not list(objective.adversary_parameters())


def test_a_share_of_nothing_or_all_is_refused():
    with pytest.raises(ValueError, match="share"):
        HardClasses(4, [3], 3, head=SoftmaxHead, share=1.0)
