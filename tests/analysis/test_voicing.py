"""Frame classes of signals that are voiced, unvoiced or silent by construction."""

import numpy as np
import pytest
from scipy.signal import lfilter, sawtooth

from acorl_sb.analysis.voicing import SILENCE, UNVOICED, VOICED, frame_classes

RATE = 16000
TIME = np.arange(RATE) / RATE


def share(wave, code, frames=101):
    return np.mean(frame_classes(wave, frames, RATE)[3:-3] == code)


@pytest.mark.parametrize("pitch", [70, 120, 220, 440])
def test_periodic_sounds_are_voiced(pitch):
    noise = np.random.default_rng(0).normal(size=RATE)
    assert share(sawtooth(2 * np.pi * pitch * TIME) + 0.2 * noise, VOICED) > 0.95


def test_noise_is_unvoiced():
    noise = np.random.default_rng(0).normal(size=RATE)
    assert share(noise, UNVOICED) > 0.95
    hiss = lfilter([1, -0.9], [1], noise)
    assert share(hiss, UNVOICED) > 0.95


def test_rumble_is_not_voice():
    assert share(np.sin(2 * np.pi * 10 * TIME), VOICED) < 0.05


def test_silence_is_relative_to_the_loud_part():
    noise = np.random.default_rng(0).normal(size=RATE)
    wave = np.where(TIME < 0.5, sawtooth(2 * np.pi * 120 * TIME), 0.003 * noise)
    classes = frame_classes(wave, 101, RATE)
    assert (classes[2:46] == VOICED).mean() > 0.95
    assert (classes[56:] == SILENCE).all()
    np.testing.assert_array_equal(classes, frame_classes(0.01 * wave, 101, RATE))
    assert (frame_classes(np.zeros(RATE), 101, RATE) == SILENCE).all()


def test_other_rates_and_short_waves():
    time = np.arange(8000) / 8000
    classes = frame_classes(sawtooth(2 * np.pi * 150 * time), 51, 8000)
    assert (classes[3:-3] == VOICED).all()
    assert frame_classes(np.ones(10), 1, RATE).shape == (1,)


def test_pauses_over_background_noise_and_hum_are_silence():
    """Hum 18 dB below the voice: not silence to a plain energy threshold, nor a voice."""
    noise = np.random.default_rng(0).normal(size=RATE)
    wave = np.where(TIME < 0.5, sawtooth(2 * np.pi * 120 * TIME), 0.0)
    wave = wave + 0.006 * noise + 0.1 * np.sin(2 * np.pi * 50 * TIME)
    classes = frame_classes(wave, 101, RATE)
    assert (classes[2:46] == VOICED).mean() > 0.95
    assert (classes[56:] == SILENCE).mean() > 0.95


def test_a_crop_without_pauses_has_no_silence():
    swell = 0.3 + 0.7 * np.sin(np.pi * TIME * 5) ** 2
    assert share(swell * sawtooth(2 * np.pi * 120 * TIME), SILENCE) == 0
