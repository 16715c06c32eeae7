"""Integrated gradients, occlusion and deletion on encoders whose attribution is known."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from acorl_sb.analysis import attribution
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.precision import full_precision

pytest.importorskip("captum")
FRAMES, BANDS = 24, 6


class Readout(nn.Module):
    """Its cosine with (1, 0) is <weight, x>: the score is linear in the input, by construction."""

    def __init__(self, power=1):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(0.01 * torch.randn(FRAMES, BANDS, generator=generator))
        self.power = power

    def forward(self, x):
        value = (self.weight * x**self.power).sum((1, 2))
        return torch.stack([value, (1 - value**2).sqrt()], 1)


def linear(device, power=1):
    return SpeakerEncoder(Readout(power), 2).to(device).eval()


def inputs(count, device, seed=0):
    x = torch.randn(count, FRAMES, BANDS, generator=torch.Generator().manual_seed(seed))
    return x.to(device), torch.tensor([[1.0, 0.0]]).expand(count, 2).to(device)


def ecapa(device):
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    torch.manual_seed(0)
    network = ECAPA_TDNN(
        input_size=BANDS,
        channels=[16, 16, 16, 16, 48],
        attention_channels=8,
        se_channels=8,
        lin_neurons=8,
    )
    return SpeakerEncoder(network, 8).to(device).eval()


def test_neutral_is_each_bands_mean(device):
    x, _ = inputs(2, device)
    made = attribution.neutral(x)
    torch.testing.assert_close(made[:, 5], x.mean(1))
    assert made.shape == x.shape


def test_integrated_gradients_of_a_linear_score(device):
    """The closed form: weight x (input - neutral)."""
    encoder, (x, v) = linear(device), inputs(5, device)
    made = attribution.integrated_gradients(encoder, x, v, steps=2)
    expected = encoder.embedding_model.weight * (x - attribution.neutral(x))
    torch.testing.assert_close(made.maps, expected.detach().cpu(), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(made.score, encoder(x)[:, 0].detach().cpu())
    assert made.gap.abs().max() < 1e-5


def test_integrated_gradients_of_a_square(device):
    """d/dx of w x^2 along the straight line from b: w (x - b) (x + b)."""
    encoder, (x, v) = linear(device, power=2), inputs(4, device)
    x = 0.5 * x + 0.3
    made = attribution.integrated_gradients(encoder, x, v, steps=8)
    base = attribution.neutral(x)
    expected = encoder.embedding_model.weight * (x - base) * (x + base)
    torch.testing.assert_close(made.maps, expected.detach().cpu(), atol=1e-5, rtol=1e-3)


@full_precision()
def test_maps_of_an_ecapa_are_complete(device):
    """They add up to the score's rise over neutral; the encoder is left as it was."""
    encoder, (x, _) = ecapa(device), inputs(6, device)
    before = [p.clone() for p in encoder.parameters()]
    v = encoder(inputs(6, device, seed=1)[0]).detach()
    done = []
    made = attribution.integrated_gradients(
        encoder, 3 * x, v, steps=4, tolerance=1e-3, max_steps=256, tick=done.append
    )
    assert made.gap.abs().max() <= 1e-3
    rise = attribution.score(encoder, 3 * x, v) - attribution.score(
        encoder, attribution.neutral(3 * x), v
    )
    torch.testing.assert_close(made.maps.sum((1, 2)), rise.detach().cpu(), atol=2e-3, rtol=0)
    assert sum(done) == 6
    assert all(p.requires_grad and p.grad is None for p in encoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))


def test_too_few_points_are_reported_not_hidden(device):
    encoder, (x, _) = ecapa(device), inputs(4, device)
    v = encoder(inputs(4, device, seed=1)[0]).detach()
    coarse = attribution.integrated_gradients(encoder, 3 * x, v, steps=1, max_steps=1)
    fine = attribution.integrated_gradients(
        encoder, 3 * x, v, steps=1, max_steps=256, tolerance=1e-4
    )
    assert coarse.gap.abs().max() > 10 * fine.gap.abs().max()


def test_batches_do_not_matter(device):
    encoder, (x, _) = ecapa(device), inputs(5, device)
    v = encoder(inputs(5, device, seed=1)[0]).detach()
    made = [
        attribution.integrated_gradients(encoder, x, v, steps=4, batch_size=size).maps
        for size in (1, 5)
    ]
    torch.testing.assert_close(*made, atol=1e-5, rtol=1e-3)


def test_occlusion_of_a_linear_score(device):
    """A block's loss is the sum of the block's attributions; 24 x 6 cells, blocks of 10 x 4."""
    encoder, (x, v) = linear(device), inputs(3, device)
    lost = attribution.occlusion(encoder, x, v, window=(10, 4))
    cells = attribution.integrated_gradients(encoder, x, v, steps=2).maps.numpy()
    blocks = attribution.block_sums(cells, (10, 4))
    assert blocks.shape == (3, 3, 2)
    expected = blocks.repeat(10, 1)[:, :FRAMES].repeat(4, 2)[:, :, :BANDS]
    np.testing.assert_allclose(lost.numpy(), expected, atol=1e-5)


def test_deletion_curve_of_a_linear_score(device):
    """By the closed form: the score less the attributions of the cells that are gone."""
    encoder, (x, v) = linear(device), inputs(3, device)
    cells = attribution.integrated_gradients(encoder, x, v, steps=2).maps
    shares = (0.0, 0.25, 1.0)
    curves = attribution.deletion_curve(encoder, x, v, cells, shares)
    whole = attribution.score(encoder, x, v).detach().cpu()
    ranked = cells.flatten(1).sort(1, descending=True).values
    expected = torch.stack([whole, whole - ranked[:, :36].sum(1), whole - cells.sum((1, 2))], dim=1)
    torch.testing.assert_close(curves, expected, atol=1e-5, rtol=1e-4)


def test_marked_cells_hurt_more_than_random_ones_and_a_random_map_does_not(device):
    encoder, (x, v) = linear(device), inputs(40, device)
    cells = attribution.integrated_gradients(encoder, x, v, steps=2).maps
    generator = torch.Generator().manual_seed(5)
    shares, whole = (0.1, 0.2), attribution.score(encoder, x, v).detach().cpu()
    drops = {
        name: attribution.mean_drop(
            whole, attribution.deletion_curve(encoder, x, v, ranking, shares, batch_size=7)
        )
        for name, ranking in (
            ("map", cells),
            ("random", torch.rand(cells.shape, generator=generator)),
            ("another random", torch.rand(cells.shape, generator=generator)),
        )
    }
    assert (drops["map"] > drops["random"]).all()
    gap = drops["another random"] - drops["random"]
    assert abs(gap.mean()) < 3 * gap.std() / 40**0.5


def test_without_captum_one_clear_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UserError):
        attribution.occlusion(linear("cpu"), *inputs(1, "cpu"))
