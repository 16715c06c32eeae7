"""The penalties of the baselines, against independent computations and known answers."""

from __future__ import annotations

import pytest
import torch

from acorl_sb.complementarity import CKA, Nontarget, Ramp, WeightSchedule
from acorl_sb.complementarity.similarity import nontarget_correlation, unbiased_linear_cka


def test_cka_of_a_rotation_is_one_and_of_noise_about_zero(device):
    torch.manual_seed(0)
    x = torch.randn(60, 40, device=device, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(40, 40, device=device, dtype=torch.float64))[0]
    assert float(unbiased_linear_cka(x, 3 * x @ rotation)) == pytest.approx(1, abs=1e-9)
    noise = [
        float(unbiased_linear_cka(x, torch.randn(60, 40, device=device, dtype=torch.float64)))
        for _ in range(20)
    ]
    assert abs(sum(noise) / 20) < 0.05


def test_unbiased_hsic_against_its_definition_over_quadruples():
    """HSIC_1 is the mean over ordered quadruples of k_ij m_ij + k_ij m_qr - 2 k_ij m_iq."""
    from itertools import permutations

    torch.manual_seed(1)
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    k, m = x @ x.T, y @ y.T

    def hsic(a, b):
        terms = [
            a[i, j] * b[i, j] + a[i, j] * b[q, r] - 2 * a[i, j] * b[i, q]
            for i, j, q, r in permutations(range(6), 4)
        ]
        return float(torch.stack(terms).mean())

    wanted = hsic(k, m) / (hsic(k, k) * hsic(m, m)) ** 0.5
    assert float(unbiased_linear_cka(x, y)) == pytest.approx(wanted, rel=1e-9)


def test_cka_needs_four_rows():
    with pytest.raises(ValueError):
        unbiased_linear_cka(torch.randn(3, 2), torch.randn(3, 2))


@pytest.mark.parametrize("spread", [0.0, 1e-7])
def test_cka_of_rows_that_are_all_alike_is_none(spread):
    torch.manual_seed(0)
    x = (torch.ones(32, 8) + spread * torch.randn(32, 8)).requires_grad_()
    y = torch.randn(32, 5)
    for first, second in ((x, y), (y, x), (x, x)):
        alignment = unbiased_linear_cka(first, second)
        alignment.backward()
        assert alignment.item() == 0
    assert bool(torch.isfinite(x.grad).all()) and float(x.grad.abs().max()) < 1


def test_cka_sees_a_structure_that_is_small_beside_what_rows_have_in_common():
    torch.manual_seed(0)
    z = torch.randn(64, 8)
    near = 1 + 0.01 * z
    assert float(unbiased_linear_cka(near, z)) == pytest.approx(1, abs=1e-3)


def test_nontarget_correlation_pair_by_pair():
    torch.manual_seed(2)
    x, y = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    pairs = [(i, j) for i in range(7) for j in range(i) if labels[i] != labels[j]]

    def cosines(e):
        return torch.stack([e[i] @ e[j] / e[i].norm() / e[j].norm() for i, j in pairs])

    wanted = torch.corrcoef(torch.stack([cosines(x), cosines(y)]))[0, 1]
    assert float(nontarget_correlation(x, y, labels)) == pytest.approx(float(wanted), rel=1e-9)
    assert float(nontarget_correlation(x, x, labels)) == pytest.approx(1)
    assert float(nontarget_correlation(x, y, torch.zeros(7))) == 0.0


@pytest.mark.parametrize("kind", [CKA, Nontarget])
def test_penalty_goes_down_when_followed(kind):
    torch.manual_seed(3)
    v = torch.randn(24, 6)
    labels = torch.arange(24) % 8
    z = v.clone().requires_grad_()
    objective = kind(6, [6], 8, WeightSchedule(1.0))
    start = objective(z, [v], labels, 1.0).loss
    assert float(start) == pytest.approx(1.0, abs=1e-3)
    optimizer = torch.optim.Adam([z], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss = objective(z, [v], labels, 1.0).loss
        loss.backward()
        optimizer.step()
    assert float(loss) < 0.3


def test_the_gradient_is_the_same_to_the_bit_with_several_threads():
    torch.manual_seed(0)
    x, y, labels = torch.randn(48, 128), torch.randn(48, 128), torch.randint(0, 40, (48,))
    before, gradients = torch.get_num_threads(), set()
    try:
        for threads in [1] + 100 * [4]:
            torch.set_num_threads(threads)
            z = x.clone().requires_grad_()
            nontarget_correlation(z, y, labels).backward()
            gradients.add(z.grad.numpy().tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(gradients) == 1


def test_a_schedule_is_an_object_and_by_default_the_ramp_of_equation_5():
    assert CKA(4, [4], 3).schedule(1.0) == Nontarget(4, [4], 3).schedule(1.0) == Ramp()(1.0)
    for other in (5.0, "ramp", Ramp):
        with pytest.raises(ValueError, match="schedule"):
            Nontarget(4, [4], 3, schedule=other)
