"""The student's losses against NumPy and loops; a student that is its teachers has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from acorl_sb.complementarity import Distillation, WeightSchedule
from acorl_sb.complementarity.distillation import (
    agreement_weights,
    normalised_scores,
    posterior_loss,
    score_loss,
)


def vectors(seed, *dims, count=7):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, d, generator=generator, dtype=torch.float64) for d in dims]


def cosines(v):
    v = v.detach().numpy()
    unit = v / np.linalg.norm(v, axis=1, keepdims=True)
    return unit @ unit.T


def z_normal(values):
    return (values - values.mean()) / values.std()


def pairs(scores):
    """The entries off the diagonal, row by row, (B, B - 1)."""
    count = len(scores)
    return np.array([[scores[i, j] for j in range(count) if j != i] for i in range(count)])


def test_scores_are_compared_as_numpy_would():
    z, first, second = vectors(0, 4, 3, 5)
    fused = (z_normal(pairs(cosines(first))) + z_normal(pairs(cosines(second)))) / 2
    expected = ((z_normal(pairs(cosines(z))) - z_normal(fused)) ** 2).mean(1)
    assert score_loss(z, [first, second]).numpy() == pytest.approx(expected)
    assert pairs(normalised_scores(first).numpy()) == pytest.approx(z_normal(pairs(cosines(first))))


def test_a_rotated_teacher_has_the_same_scores():
    (v,) = vectors(1, 4)
    rotation = torch.linalg.qr(vectors(2, 4, count=4)[0]).Q
    assert score_loss(2 * v @ rotation, [v]).abs().max() < 1e-20


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_without_two_different_pairs_teaches_nothing_of_scores(count):
    z, v = vectors(11, 4, 3, count=count)
    z.requires_grad_(True)
    score_loss(z, [v]).mean().backward()
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_posteriors_class_by_class():
    student, teacher = vectors(3, 5, 5)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 2])
    found = posterior_loss(student, teacher, labels, 3.0)
    for i, y in enumerate(labels):
        p, q = (np.exp(x[i].numpy()) / np.exp(x[i].numpy()).sum() for x in (teacher, student))
        wrong = [c for c in range(5) if c != y]
        of_target = p[y] * np.log(p[y] / q[y]) + (1 - p[y]) * np.log((1 - p[y]) / (1 - q[y]))
        hat = [values[wrong] / values[wrong].sum() for values in (p, q)]
        of_wrong = (hat[0] * np.log(hat[0] / hat[1])).sum()
        assert float(found[i]) == pytest.approx(of_target + 3 * of_wrong)


def test_parts_with_their_natural_weight_are_the_plain_divergence():
    student, teacher = vectors(4, 6, 6)
    labels = torch.arange(7) % 6
    sure = F.softmax(teacher, -1)[torch.arange(7), labels]
    of_target = posterior_loss(student, teacher, labels, 0.0)
    of_wrong = posterior_loss(student, teacher, labels, 1.0) - of_target
    plain = F.kl_div(F.log_softmax(student, -1), F.softmax(teacher, -1), reduction="none").sum(-1)
    torch.testing.assert_close(of_target + (1 - sure) * of_wrong, plain)


def test_a_teacher_that_is_sure_still_says_whom_an_item_resembles():
    teacher = torch.tensor([[60.0, 3.0, 0.0]], dtype=torch.float64)
    student = torch.tensor([[60.0, 0.0, 3.0]], dtype=torch.float64)
    label = torch.tensor([0])
    assert float(posterior_loss(student, teacher, label, 1.0)) > 1
    plain = F.kl_div(F.log_softmax(student, -1), F.softmax(teacher, -1), reduction="sum")
    assert float(plain) < 1e-12


def test_agreement_is_the_correlation_of_two_rows_of_scores():
    first, second, third = vectors(5, 3, 4, 2, count=6)
    expected = np.zeros(6)
    for a, b in ((first, second), (first, third), (second, third)):
        rows = zip(pairs(cosines(a)), pairs(cosines(b)), strict=True)
        expected += [max(0.0, np.corrcoef(x, y)[0, 1]) / 3 for x, y in rows]
    found = agreement_weights([first, second, third]).numpy()
    assert found == pytest.approx(expected / expected.mean())
    found = agreement_weights([first, second, third], 2.0).numpy()
    assert found == pytest.approx(expected**2 / (expected**2).mean())


def test_an_item_on_which_one_teacher_errs_counts_less():
    (v,) = vectors(6, 8, count=12)
    other = v.clone()
    other[3] = vectors(7, 8, count=12)[0][3]
    found = agreement_weights([v, other])
    assert int(found.argmin()) == 3
    for alone in ([v], [v[:3], other[:3]]):
        assert torch.equal(agreement_weights(alone), torch.ones(len(alone[0]), dtype=v.dtype))
    assert torch.equal(agreement_weights([v, other], 0.0), torch.ones(12, dtype=v.dtype))


def test_the_parts_add_up_with_their_weights():
    z, first, second = vectors(8, 4, 3, 5)
    labels = torch.arange(7) % 3
    objective = Distillation(
        4, [3, 5], 3, WeightSchedule(0.5), task_weight=0.25, embedding=2, score=3, posterior=4
    ).double()
    objective.eval()  # class means stay empty: no posterior yet
    term = objective(z, [first, second], labels, 0.3)
    weights = agreement_weights([first, second])
    together = torch.cat([F.normalize(first, dim=1), F.normalize(second, dim=1)], 1)
    apart = 1 - F.cosine_similarity(z @ objective.projection.weight.T, together)
    expected = 2 * (weights * apart).mean() + 3 * (weights * score_loss(z, [first, second])).mean()
    assert term.loss.item() == pytest.approx(0.5 * expected.item())
    assert np.isnan(term.logs["posterior_loss"]) and term.task_weight == 0.25
    assert term.total(torch.tensor(8.0)).item() == pytest.approx(2.0 + term.loss.item())


def test_posteriors_are_those_of_earlier_batches_and_of_classes_seen():
    z, first, second = (v.float() for v in vectors(9, 4, 3, 5, count=6))
    objective = Distillation(4, [3, 5], 4, embedding=0, score=0, sharpness=0, scale=5)
    seen = torch.tensor([0, 0, 2, 2, 2, 0])
    assert objective(z, [first, second], seen, 0.0).loss.item() == 0  # nothing seen before
    z2, first2, second2 = (v.float() for v in vectors(10, 4, 3, 5, count=6))
    labels = torch.tensor([0, 2, 3, 2, 0, 3])  # 3 is new
    found = objective(z2, [first2, second2], labels, 0.0).loss.item()
    logits = 0.0
    for old, new in ((first, first2), (second, second2)):
        means = torch.stack([old[seen == c].mean(0) for c in (0, 2)])
        logits = logits + 2.5 * F.normalize(new, dim=1) @ F.normalize(means, dim=1).T
    own = 5 * F.normalize(z2, dim=1) @ F.normalize(objective.classes[[0, 2]], dim=1).T
    known = [0, 1, 3, 4]
    place = torch.tensor([0, 1, 1, 0])
    expected = posterior_loss(own[known], logits[known], place, 4.0).sum() / 6
    assert found == pytest.approx(expected.item(), rel=1e-3)


def test_unlabelled_items_count_in_embeddings_and_scores_alone():
    z, first, second = (v.float() for v in vectors(12, 4, 3, 5, count=6))
    both, alone = (Distillation(4, [3, 5], 3, embedding=2, score=3) for _ in range(2))
    alone.load_state_dict(both.state_dict())
    seen = torch.tensor([0, 1, 0, 1, 2, 2])
    for objective in (both, alone):
        objective(z, [first, second], seen, 0.0)
    # The same two labelled items, beside four others and by themselves.
    labels = torch.tensor([0, 1, -1, -1, -1, -1])
    agreement = agreement_weights([first, second])
    mixed = both.posterior_term(z, [first, second], labels, agreement)
    two = [v[:2] for v in (z, first, second)]
    plain = alone.posterior_term(two[0], two[1:], labels[:2], agreement[:2])
    torch.testing.assert_close(mixed, plain)
    for a, b in zip(both.means, alone.means, strict=True):
        torch.testing.assert_close(a.total, b.total)
        torch.testing.assert_close(a.count, b.count)
    none = both(z, [first, second], torch.full((6,), -1), 0.5)
    assert np.isnan(none.logs["posterior_loss"])  # no item to take it of
    assert float(none.logs["embedding_loss"]) > 0 and float(none.logs["score_loss"]) > 0


def test_a_student_learns_its_teachers_scores_on_new_items():
    """Two teachers that each see a half of the input; the student sees all of it."""
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    maps = [torch.randn(4, 3), torch.randn(4, 3)]
    teachers = [inputs[:, :4] @ maps[0], inputs[:, 4:] @ maps[1]]
    student = torch.nn.Linear(8, 6, bias=False)
    objective = Distillation(6, [3, 3], 4)
    labels = torch.arange(256) % 4
    parameters = [*student.parameters(), *objective.member_parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.02)
    before = float(score_loss(student(inputs[192:]), [t[192:] for t in teachers]).mean())
    for step in range(150):
        rows = torch.arange(32) + 32 * (step % 6)
        term = objective(student(inputs[rows]), [t[rows] for t in teachers], labels[rows], 0.5)
        optimizer.zero_grad()
        term.loss.backward()
        optimizer.step()
    after = float(score_loss(student(inputs[192:]), [t[192:] for t in teachers]).mean())
    assert after < 0.5 * before


@pytest.mark.parametrize(
    "bad", [{"embedding": -1}, {"scale": 0}, {"sharpness": float("nan")}, {"nontarget": -0.1}]
)
def test_settings_that_make_no_sense(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Distillation(4, [3], 2, **bad)
    with pytest.raises(ValueError):
        Distillation(4, [], 2)
