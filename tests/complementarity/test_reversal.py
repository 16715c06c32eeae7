"""Gradient reversal against gradients worked out by hand."""

from __future__ import annotations

import pytest
import torch

from acorl_sb.complementarity import reverse_gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_forward_is_the_identity(device, dtype):
    x = torch.randn(3, 4, device=device, dtype=dtype)
    assert torch.equal(reverse_gradient(x, 2.0), x)


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_gradient_by_hand(device, weight):
    # L = sum_i w_i (2 x_i)^2, so dL/dx_i = 8 w_i x_i without reversal.
    x = torch.tensor([1.0, -2.0, 0.5], device=device, requires_grad=True)
    w = torch.tensor([1.0, 3.0, -1.0], device=device)
    (w * (2 * reverse_gradient(x, weight)).square()).sum().backward()
    by_hand = -weight * torch.tensor([8.0, -48.0, -4.0], device=device)
    torch.testing.assert_close(x.grad, by_hand)


def test_what_comes_after_the_reversal_learns_as_usual():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    a = torch.tensor([3.0, 4.0], requires_grad=True)
    (a * reverse_gradient(x, 5.0)).sum().backward()
    assert a.grad.tolist() == [1.0, 2.0]
    assert x.grad.tolist() == [-15.0, -20.0]
