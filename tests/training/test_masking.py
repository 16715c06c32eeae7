"""What is hidden from a member: the reference's attribution by hand, other grids, equal areas."""

from __future__ import annotations

import pytest
import torch
from speechbrain.lobes.features import Fbank
from torch import nn

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.training import masking
from acorl_sb.training.masking import AttributionMask, hide, on_grid, stripes

WAVES, LABELS = 0.1 * torch.randn(3, 4800, generator=torch.Generator().manual_seed(0)), [2, 0, 1]


class MeanBands(nn.Module):
    """A linear network: its embedding is a product of the mean over frames and a matrix."""

    def __init__(self, bands):
        super().__init__()
        torch.manual_seed(bands)
        self.matrix = nn.Parameter(torch.randn(bands, 4))

    def forward(self, x):
        return (x * torch.linspace(0.5, 1.5, x.shape[1]).unsqueeze(1)).mean(1) @ self.matrix


def encoder(bands, **front_end):
    return SpeakerEncoder(MeanBands(bands), 4, Fbank(n_mels=bands, **front_end))


def mask(bands=24, **options):
    torch.manual_seed(0)
    return AttributionMask(encoder(bands), torch.randn(3, 4), **options)


def test_the_map_is_the_change_of_the_score_by_finite_differences():
    made, labels = mask(window=(1, 1)), torch.tensor(LABELS)
    found = made.attribution(WAVES, labels).double()
    x = made.reference.encoder.features(WAVES).double()
    reference = made.double().reference.encoder

    def score(x):
        return torch.cosine_similarity(reference(x), made.class_vectors[labels].double(), dim=1)

    for frame, band in ((0, 0), (7, 20), (30, 3)):
        step = torch.zeros_like(x)
        step[:, frame, band] = 1e-4
        slope = (score(x + step) - score(x - step)) / 2e-4
        centred = x[:, frame, band] - x[:, :, band].mean(1)
        torch.testing.assert_close(found[:, frame, band], slope * centred, rtol=1e-3, atol=1e-7)


def test_a_map_is_a_mean_over_its_window():
    fine, made, labels = mask(window=(1, 1)), mask(window=(5, 3)), torch.tensor(LABELS)
    fine, coarse = (m.attribution(WAVES, labels) for m in (fine, made))
    torch.testing.assert_close(coarse[:, 10, 5], fine[:, 8:13, 4:7].mean((1, 2)))
    torch.testing.assert_close(coarse[:, 0, 0], fine[:, :3, :2].mean((1, 2)))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_the_map_is_the_same_under_autocast(precision):
    made, labels = mask(), torch.tensor(LABELS)
    plain = made.attribution(WAVES, labels)
    with torch.autocast("cpu", precision):
        found = made.attribution(WAVES, labels)
    assert torch.equal(found, plain)


def test_bins_are_met_by_centre_frequency_and_time():
    maps = torch.arange(5.0).view(1, 5, 1) * 10 + torch.tensor([0.0, 1.0, 2.0])
    features = torch.zeros(1, 9, 4)
    found = on_grid(maps, features, [100.0, 1000.0, 4000.0], [90.0, 700.0, 3000.0, 7000.0])
    assert found[0, 0].tolist() == [0, 1, 2, 2]
    assert found[0, :, 0].tolist()[::2] == [0, 10, 20, 30, 40]
    assert torch.equal(on_grid(maps, maps, None, None), maps)
    with pytest.raises(ValueError):
        on_grid(maps, features, None, [1.0, 2.0, 3.0, 4.0])


def test_what_is_hidden_is_the_share_of_the_highest_ranks():
    torch.manual_seed(0)
    x, ranks = torch.randn(2, 10, 6), torch.randn(2, 10, 6)
    hidden = hide(x, ranks, 0.25)
    for before, after, rank in zip(x, hidden, ranks, strict=True):
        changed = before != after
        assert changed.sum() == 15
        assert rank[changed].min() > rank[~changed].max()
        torch.testing.assert_close(after[changed], before.mean(0).expand(10, 6)[changed])


@pytest.mark.parametrize("of", masking.OF)
def test_every_control_hides_the_same_area_on_the_members_own_front_end(of):
    torch.manual_seed(1)
    member, made = encoder(40, win_length=64, n_fft=1024), mask(share=0.1, of=of)
    features = member.features(WAVES)
    shown = made.train()(features, member, WAVES, torch.tensor(LABELS))
    assert ((shown != features).sum((1, 2)) == round(0.1 * features[0].numel())).all()
    assert not made.reference.encoder.training


def test_the_control_is_another_utterances_map():
    own, other, labels = mask(), mask(of="other"), torch.tensor(LABELS)
    member = encoder(24)
    features = member.features(WAVES)
    shown = [m(features, member, WAVES, labels) != features for m in (own, other)]
    assert torch.equal(shown[1], shown[0].roll(1, 0)) and not torch.equal(*shown)


def test_stripes_are_frames_and_bands_side_by_side():
    torch.manual_seed(2)
    hidden = hide(torch.randn(4, 50, 20), stripes(torch.zeros(4, 50, 20)), 0.3)
    torch.manual_seed(2)
    hidden = hidden != torch.randn(4, 50, 20)
    for one in hidden:
        frames, bands = one.all(1), one.all(0)
        assert frames.any() and bands.any()
        for whole in (frames, bands):  # in one piece
            assert whole.int().diff().clamp(min=0).sum() + whole[0].int() == 1


@pytest.mark.parametrize("options", [{"share": 1.0}, {"of": "all"}, {"window": (2, 3)}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError):
        mask(**options)
