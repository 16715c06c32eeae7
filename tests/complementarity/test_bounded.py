"""A bounded schedule: no component against the task, no more than its share of the task's norm."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from acorl_sb.complementarity import Bounded, Nontarget, WeightSchedule
from acorl_sb.complementarity.bounded import bound, bounded_loss


def vector(pieces):
    return torch.cat([p.reshape(-1) for p in pieces])


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ([0.0, 0.5], [0.0, 0.5]),  # short and at right angles: as it is
        ([0.4, 0.3], [0.4, 0.3]),  # along the task: as it is, never scaled up
        ([-5.0, 0.5], [0.0, 0.5]),  # what goes against the task is taken out
        ([-1.0, 8.0], [0.0, 0.6]),  # and the rest cut to 0.3 of the task's norm, 2
        ([6.0, 8.0], [0.36, 0.48]),
    ],
)
def test_closed_form(term, expected):
    task = [torch.tensor([2.0]), torch.tensor([0.0])]
    found = vector(bound(task, [torch.tensor([x]) for x in term], 0.3))
    torch.testing.assert_close(found, torch.tensor(expected))


def test_no_task_no_push():
    found = bound([torch.zeros(3)], [torch.ones(3)], 0.3)
    assert torch.equal(found[0], torch.zeros(3))


@pytest.mark.parametrize("weight", [0.01, 50.0])
def test_the_step_has_the_bounded_gradient_and_the_value_of_the_sum(weight):
    torch.manual_seed(0)
    encoder, head, adversary = nn.Linear(6, 4).double(), nn.Linear(4, 3).double(), nn.Linear(4, 2)
    adversary.double()
    x, labels = torch.randn(9, 6, dtype=torch.float64), torch.arange(9) % 3
    weights = list(encoder.parameters())

    def losses():
        z = encoder(x)
        return nn.functional.cross_entropy(head(z), labels), weight * adversary(z).square().mean()

    task, term = (torch.autograd.grad(losses()[i], weights) for i in (0, 1))
    t, p = vector(task), vector(term)
    p = p - min(0.0, float(p @ t / (t @ t))) * t
    p = p * min(1.0, 0.3 * float(t.norm() / p.norm()))
    others = [*head.parameters(), *adversary.parameters()]
    plain = torch.autograd.grad(sum(losses()), others)
    loss = bounded_loss(*losses(), weights, others, 0.3)
    assert float(loss) == pytest.approx(float(sum(losses())), rel=1e-12)
    loss.backward()
    torch.testing.assert_close(vector([w.grad for w in weights]), t + p)
    torch.testing.assert_close(vector([w.grad for w in others]), vector(plain))


@pytest.mark.parametrize("limit", [0.3, 10.0])
def test_small_gradients_of_fp16_layers_are_kept_by_scaling_the_loss(limit):
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 64), torch.randn(32, 64)

    def losses(half):
        with torch.autocast("cpu", torch.float16, enabled=half):
            h = layer(torch.relu(layer(x))).float()
        return 1e-7 * h.square().mean(), 1e-7 * (h - 1).square().mean()

    def gradient(half, scale):
        loss = bounded_loss(*losses(half), list(layer.parameters()), [], limit, scale)
        return torch.autograd.grad(loss, layer.weight)[0]

    exact, scaled = gradient(False, 1.0), gradient(True, 2.0**16)
    assert float((scaled - exact).norm() / exact.norm()) < 0.01
    # Without it they are lost, as those of any loss that is not scaled.
    assert float((gradient(True, 1.0) - exact).norm() / exact.norm()) > 0.5
    plain = torch.autograd.grad(sum(losses(True)), layer.weight)[0]
    assert plain.norm() < 0.5 * exact.norm()


def test_gradients_beyond_fp16_are_for_the_scaler_to_find():
    torch.manual_seed(0)
    layer, x = nn.Linear(8, 8), torch.randn(4, 8)
    with torch.autocast("cpu", torch.float16):
        h = layer(torch.relu(layer(x)))
    losses = h.float().square().mean(), h.float().sum()
    loss = bounded_loss(*losses, list(layer.parameters()), [], 0.3, 2.0**24)
    assert float(loss) == pytest.approx(float(sum(losses)))
    scaler = torch.GradScaler("cpu", init_scale=2.0**24)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.detach().clone()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(layer.weight, before) and scaler.get_scale() == 2.0**23


def test_a_gradient_that_is_no_number_shows_in_the_loss_where_no_scaler_looks():
    weight = torch.zeros(3, requires_grad=True)
    for term, finite in ((weight.square().sum(), True), (weight.square().sum().sqrt(), False)):
        loss = bounded_loss((weight - 1).square().sum(), term, [weight], [], 0.3)
        assert bool(torch.isfinite(loss)) == finite


def test_the_objective_is_its_part_with_a_limit():
    part = functools.partial(Nontarget, schedule=WeightSchedule(1.0))
    z, v, labels = torch.randn(6, 4), torch.randn(6, 3), torch.arange(6)
    term = Bounded(4, [3], 6, part, limit=0.3)(z, [v], labels, 0.5)
    assert torch.equal(term.loss, part(4, [3], 6)(z, [v], labels, 0.5).loss)
    assert term.limit == 0.3
    with pytest.raises(ValueError, match="limit"):
        Bounded(4, [3], 6, part, limit=0.0)
