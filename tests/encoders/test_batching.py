"""Batches: which lengths share one, and that nobody's embedding depends on the others in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from acorl_sb.encoders.batching import ANY_LENGTH, batches, free_padding, takes_any_length
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_waves
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.utils.precision import full_precision
from tests import tiny

LENGTHS = [16000, 16001, 16080, 16159, 16160, 8000, 8159, 24000]


class Loudness(nn.Module):
    """An encoder of waves, whose mean any padding would lower."""

    def forward(self, waves):
        return waves.square().mean(1, keepdim=True)


ENCODERS = {
    "ecapa": (lambda: build_encoder(tiny.encoder_tree(), "ecapa"), 160),
    "long windows": (lambda: build_encoder(tiny.encoder_tree(win_length=64, n_fft=1024), ""), 160),
    "resnet": (lambda: build_encoder(tiny.encoder_tree("resnet"), "resnet"), 160),
    "waves": (lambda: SpeakerEncoder(Loudness(), 1), 1),
}


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
@full_precision()
def test_each_gets_in_its_batch_what_it_gets_alone(name, device):
    torch.manual_seed(0)
    make, quantum = ENCODERS[name]
    encoder = make().to(device).eval()
    if device.type == "cuda" and takes_any_length(encoder, device):
        quantum = ANY_LENGTH
    assert free_padding(encoder, device) == quantum
    rng = np.random.default_rng(0)
    waves = [0.1 * rng.standard_normal(n).astype(np.float32) for n in LENGTHS]
    shared = 0
    for rows in batches(LENGTHS, 3, quantum):
        shared += len({LENGTHS[i] for i in rows}) > 1
        together = embed_waves(encoder, [waves[i] for i in rows], device)
        for z, i in zip(together, rows, strict=True):
            alone = encoder(torch.from_numpy(waves[i]).unsqueeze(0).to(device))[0].cpu()
            torch.testing.assert_close(z, alone, rtol=1e-5, atol=1e-5)
    assert (shared > 0) == (quantum > 1)


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
@full_precision()
def test_any_lengths_share_a_batch_where_each_row_ends_on_its_own(name, device):
    torch.manual_seed(0)
    encoder = ENCODERS[name][0]().to(device).eval()
    taken = takes_any_length(encoder, device)
    assert taken == (name in ("ecapa", "long windows"))
    if not taken:
        return
    rng = np.random.default_rng(0)
    lengths = [*LENGTHS, 3200, 40001]
    waves = [0.1 * rng.standard_normal(n).astype(np.float32) for n in lengths]
    together = embed_waves(encoder, waves, device)
    alone = torch.cat([embed_waves(encoder, [wave], device) for wave in waves])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    apart = encoder(
        torch.nn.utils.rnn.pad_sequence([*map(torch.from_numpy, waves)], True).to(device)
    )
    assert (apart.cpu() - alone).abs().max() > 1e-2  # padding counts otherwise
    assert not any("_manage_padding" in vars(m) for m in encoder.modules())


def test_batches_of_any_length_are_full_and_bounded():
    lengths = np.random.default_rng(0).integers(1600, 30_000, 500).tolist()
    made = list(batches(lengths, 8, ANY_LENGTH, most_samples=60_000))
    assert sorted(i for rows in made for i in rows) == list(range(500))
    sizes = [len(rows) * max(lengths[i] for i in rows) for rows in made]
    assert max(map(len, made)) == 8 and max(sizes) <= 60_000
    assert len(made) < 250
    assert list(batches([50_000, 50_000], 8, ANY_LENGTH, 10)) == [[0], [1]]
    assert list(batches([30, 10, 20], 8, ANY_LENGTH)) == [[1, 2, 0]]


@torch.no_grad()
def test_a_front_end_that_mirrors_the_ends_shares_no_padding():
    encoder = build_encoder(tiny.encoder_tree(), "ecapa").eval()
    encoder.compute_features.compute_STFT.pad_mode = "reflect"
    assert free_padding(encoder) == 1


def test_batches_are_of_all_utterances_and_bounded():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1600, 30_000, 500).tolist()
    made = list(batches(lengths, 8, 160, most_samples=60_000))
    assert sorted(i for rows in made for i in rows) == list(range(500))
    for rows in made:
        found = [lengths[i] for i in rows]
        assert len({n // 160 for n in found}) == 1
        assert len(rows) <= 8 and len(rows) * max(found) <= 60_000
    assert list(batches([50_000, 50_000], 8, most_samples=10)) == [[0], [1]]
