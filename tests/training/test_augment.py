"""Noise from a folder: the level that was asked for, the same for the same random state."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from acorl_sb.training.augment import FolderNoise, FolderReverb, convolve
from acorl_sb.training.dataset import KeptAudio
from acorl_sb.utils.errors import UserError


@pytest.fixture()
def noises(tmp_path):
    for i, n in enumerate((4000, 40000)):
        wave = np.random.default_rng(i).standard_normal(n) * 0.1
        (tmp_path / str(i)).mkdir()
        soundfile.write(tmp_path / str(i) / "n.wav", wave, 16000)
    return tmp_path


def test_signal_to_noise_ratio(noises):
    torch.manual_seed(0)
    waves = torch.sin(torch.arange(8000) * 0.1).repeat(4, 1)
    noisy = FolderNoise(noises, snr_low=10, snr_high=10)(waves, torch.ones(4))
    # AddNoise keeps the level of the mixture: noisy = (1 - f) clean + noise of rms f * rms.
    factor = 1 / (10 ** (10 / 20) + 1)
    noise = noisy - (1 - factor) * waves
    snr = 20 * torch.log10(((1 - factor) * waves).std(1) / noise.std(1))
    torch.testing.assert_close(snr, torch.full((4,), 10.0), atol=0.05, rtol=0)


def test_repeats_with_the_random_state_whatever_came_before(noises):
    waves = torch.randn(3, 6000)
    torch.manual_seed(7)
    first = FolderNoise(noises)(waves, torch.ones(3))
    used = FolderNoise(noises)
    used(waves, torch.ones(3))
    torch.manual_seed(7)
    assert torch.equal(first, used(waves, torch.ones(3)))
    assert not torch.equal(first, used(waves, torch.ones(3)))


@pytest.mark.parametrize("cache_mb", [0, 0.05, 200])  # nothing, the shorter noise, all
def test_what_is_kept_in_memory_changes_nothing(noises, cache_mb):
    waves = torch.randn(8, 6000)
    torch.manual_seed(7)
    wanted = FolderNoise(noises)(waves, torch.ones(8))
    kept = FolderNoise(noises, cache_mb=cache_mb)
    for _ in range(2):
        torch.manual_seed(7)
        assert torch.equal(kept(waves, torch.ones(8)), wanted)


def test_kept_audio_is_read_from_disk_once(noises):
    path = noises / "0" / "n.wav"
    audio = KeptAudio(1, 16000)
    first = audio.read(path, (0, 4000), 100, 300)
    path.unlink()
    again = audio.read(path, (0, 4000), 100, 300)
    assert np.array_equal(first, again) and len(first) == 200
    again[:] = 0  # what is handed out is a copy
    assert np.array_equal(first, audio.read(path, (0, 4000), 100, 300))


def test_no_folder_no_noise():
    waves = torch.randn(2, 100)
    assert FolderNoise(None)(waves, torch.ones(2)) is waves


def test_a_folder_without_audio(tmp_path):
    with pytest.raises(UserError):
        FolderNoise(tmp_path)


def test_reverberation_is_a_convolution_without_delay(tmp_path):
    response = np.zeros(3000)
    response[[200, 700, 1500]] = 0.8, 0.4, -0.2  # 200 samples until the direct sound
    soundfile.write(tmp_path / "room.wav", response, 16000, subtype="FLOAT")
    waves = torch.randn(2, 5000)
    wet = FolderReverb(tmp_path)(waves, torch.ones(2))
    for wave, got in zip(waves.numpy(), wet.numpy(), strict=True):
        expected = np.convolve(wave, response[200:])[:5000]
        expected *= np.abs(wave).mean() / np.abs(expected).mean()
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_rooms_follow_from_the_random_state(noises):
    waves = torch.randn(6, 6000)
    torch.manual_seed(7)
    first = FolderReverb(noises)(waves, torch.ones(6))
    torch.manual_seed(7)
    assert torch.equal(FolderReverb(noises)(waves, torch.ones(6)), first)
    assert torch.equal(FolderReverb(None)(waves, torch.ones(6)), waves)
    with pytest.raises(UserError):
        FolderReverb(noises / "none")


def test_convolution_at_a_length_for_which_the_transform_is_slow():
    rng = np.random.default_rng(0)
    waves, responses = rng.standard_normal((2, 3000)), rng.standard_normal((2, 1010))  # 4009: prime
    found = convolve(torch.from_numpy(waves), torch.from_numpy(responses))
    wanted = [np.convolve(wave, response) for wave, response in zip(waves, responses, strict=True)]
    assert found.numpy() == pytest.approx(np.stack(wanted), abs=1e-9)
