"""Kaldi's filter bank against the definition, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acorl_sb.encoders.kaldi_fbank import KaldiFbank
from acorl_sb.utils.errors import UserError

WINDOWS = {
    "hamming": lambda n: 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(n) / (n - 1)),
    "povey": lambda n: (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1))) ** 0.85,
}


def by_definition(wave, window, bands):
    """(T,) at 16 kHz -> (F, bands): frames of 25 ms, offset taken off, pre-emphasis, mel, log."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 400)[::160]
    frames = frames - frames.mean(1, keepdims=True)
    frames = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    power = np.abs(np.fft.rfft(frames * WINDOWS[window](400), 512)) ** 2

    def mel(hertz):
        return 1127 * np.log1p(hertz / 700)

    edges = np.linspace(mel(20), mel(8000), bands + 2)
    at = mel(np.arange(256) * 16000 / 512)[:, None]
    up = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.log(power[:, :256] @ np.clip(np.minimum(up, down), 0, None))


@pytest.mark.parametrize(("window", "scale"), [("hamming", 32768), ("povey", 1)])
def test_features_are_those_of_the_definition(window, scale):
    wave = 0.1 * np.random.default_rng(0).standard_normal((2, 12345))
    found = KaldiFbank(window=window, scale=scale, mean_subtraction=False)(
        torch.from_numpy(wave.astype(np.float32))
    )
    for features, samples in zip(found, wave, strict=True):
        expected = by_definition(scale * samples, window, 80)
        np.testing.assert_allclose(features.numpy(), expected, atol=2e-2)


def test_the_mean_of_each_band_is_subtracted():
    waves = 0.1 * torch.randn(2, 16000)
    plain, subtracted = KaldiFbank(24, mean_subtraction=False)(waves), KaldiFbank(24)(waves)
    torch.testing.assert_close(subtracted, plain - plain.mean(1, keepdim=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_they_are_the_same_under_autocast(dtype):
    waves = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    bank = KaldiFbank()
    plain = bank(waves)
    with torch.autocast("cpu", dtype):
        assert torch.equal(bank(waves), plain)
        assert torch.isfinite(bank(waves.to(dtype))).all()


@pytest.mark.parametrize("values", [{"window": "x"}, {"f_max": 9000}, {"n_mels": 0}])
def test_values_that_make_no_bank_are_refused(values):
    with pytest.raises(UserError):
        KaldiFbank(**values)
