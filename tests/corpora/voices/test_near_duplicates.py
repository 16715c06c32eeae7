"""The measure of how close two synthetic voices are, in closed form and on known twins."""

from __future__ import annotations

import numpy as np
from scipy import fft, signal

from acorl_sb.corpora.voices import corpus as voices
from acorl_sb.corpora.voices import near_duplicates


def test_distance_is_that_of_mahalanobis():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((3, 3))
    means = np.array([[0, 0, 0], [3, 0, 0], [3, 4, 0]], dtype=float)
    features = (means[:, None] + rng.standard_normal((3, 4000, 3))) @ mixing
    expected = [[0, 3, 5], [3, 0, 4], [5, 4, 0]]
    np.testing.assert_allclose(near_duplicates.distances(features), expected, atol=0.15)


def test_a_rendering_is_summed_up_by_its_mel_cepstrum():
    wave = np.random.default_rng(0).standard_normal(16000)
    wave[4000:8000] = 0
    _, _, spectrum = signal.stft(wave, 16000, nperseg=400, noverlap=240, nfft=512)
    edges = 700 * 10 ** (np.linspace(*2595 * np.log10(1 + np.array([60, 7600]) / 700), 42) / 2595)
    hertz = np.linspace(0, 8000, 257)
    bands = [np.interp(hertz, edges[k : k + 3] - 700, [0, 1, 0]) for k in range(40)]
    mel = np.abs(spectrum.T) ** 2 @ np.stack(bands, axis=1)
    energy = mel.sum(1)
    logs = np.log(mel[energy > 1e-3 * energy.max()] + 1e-8 * energy.max())
    cepstrum = fft.dct(logs, norm="ortho")[:, :20]
    expected = np.concatenate([cepstrum.mean(0)[1:], cepstrum.std(0)])
    np.testing.assert_allclose(near_duplicates._summary(wave), expected, atol=1e-4)


def test_later_duplicates_are_dropped():
    distance = np.array([[0, 1, 9, 2], [1, 0, 1, 9], [9, 1, 0, 9], [2, 9, 9, 0]])
    # b is near a; c is near b alone, which is gone; d is near a.
    assert near_duplicates.duplicates("abcd", distance, 3) == ["b", "d"]


def test_the_measure_finds_twins_and_leaves_others():
    names = ["klatt6", "adam", "steph", "steph3", "f1", "m1", "belinda", "boris", "zac"]
    features = np.stack([near_duplicates.renderings(n, 8, voices.LANGUAGES) for n in names])
    dropped = near_duplicates.duplicates(names, near_duplicates.distances(features), 5.5)
    assert dropped == ["adam", "steph3"]
    assert {"klatt6", *dropped} <= voices.NEAR_DUPLICATES
