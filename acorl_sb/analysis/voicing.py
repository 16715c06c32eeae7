"""Which frames of a wave are voiced, unvoiced or silent, by energy and autocorrelation."""

from __future__ import annotations

import numpy as np

SILENCE, UNVOICED, VOICED = 0, 1, 2
NAMES = ("silence", "unvoiced", "voiced")

WINDOW_SECONDS = 0.04  # two periods of the lowest pitch fit in
SILENCE_DB = (20.0, 30.0)
PITCH_HZ = (60.0, 500.0)  # children included
PERIODICITY = 0.5


def frame_classes(
    wave: np.ndarray,
    frames: int,
    rate: int,
    periodicity: float = PERIODICITY,
) -> np.ndarray:
    """Class of each of ``frames`` frames of a wave (T,): (F,) int8, see ``NAMES``.

    Frames are spread evenly from the first to the last sample, as a centred short-time Fourier
    transform has them, and looked at through a window of 40 ms.

    - silence: the energy of the pre-emphasised wave (so that hum does not count and hiss does) is
      below a threshold 6 dB above the 10th percentile, but never nearer than 20 nor further than
      30 dB from the 95th: noisy recordings have pauses too, and some crops have none;
    - voiced: the normalised autocorrelation has a peak of at least ``periodicity`` at a lag of a
      pitch between 60 and 500 Hz (a peak, not a slope: rumble falls off from lag 0 on);
    - unvoiced: all others.

    Simple, without smoothing over frames; meant for averages over many frames.
    """
    wave = np.asarray(wave, dtype=np.float64)
    shortest, longest = (int(rate / hertz) for hertz in PITCH_HZ[::-1])
    width = int(WINDOW_SECONDS * rate)
    sharp = np.append(wave[:1], wave[1:] - 0.97 * wave[:-1])
    energy = np.square(_windows(sharp, frames, width)).mean(1)  # (F,)
    quiet, loud = np.percentile(energy, [10, 95])
    nearest, furthest = (loud * 10 ** (-db / 10) for db in SILENCE_DB)
    silent = (energy <= 0) | (energy < np.clip(4 * quiet, furthest, nearest))
    window = _windows(wave, frames, width + longest)  # (F, W)
    kept = width
    correlation = _autocorrelation(window, kept, shortest - 1, longest)  # (F, lags)
    inner = correlation[:, 1:-1]
    peak = (inner >= correlation[:, :-2]) & (inner >= correlation[:, 2:])
    periodic = np.where(peak, inner, -1.0).max(1) >= periodicity
    return np.where(silent, SILENCE, np.where(periodic, VOICED, UNVOICED)).astype(np.int8)


def _windows(wave: np.ndarray, frames: int, width: int) -> np.ndarray:
    """(F, width) stretches around evenly spread centres; zeros beyond the ends."""
    padded = np.pad(wave, width)
    centres = np.linspace(0, len(wave), frames).round().astype(np.int64) + width
    return np.lib.stride_tricks.sliding_window_view(padded, width)[centres - width // 2]


def _autocorrelation(window: np.ndarray, kept: int, first: int, last: int) -> np.ndarray:
    """sum_t x_t x_{t+l} / sqrt(sum_t x_t^2 sum_t x_{t+l}^2) over ``kept`` samples.

    Lags first .. last: (F, last - first + 1), in [-1, 1], 0 where there is no energy.
    """
    window = window - window.mean(1, keepdims=True)
    head = window[:, :kept]
    size = 1 << (window.shape[1] + kept - 1).bit_length()
    spectrum = np.fft.rfft(window, size) * np.conj(np.fft.rfft(head, size))
    products = np.fft.irfft(spectrum, size)[:, first : last + 1]
    sums = np.cumsum(np.pad(np.square(window), ((0, 0), (1, 0))), 1)
    energy = (sums[:, kept:] - sums[:, : sums.shape[1] - kept])[:, first : last + 1]
    scale = np.sqrt(np.maximum(np.square(head).sum(1, keepdims=True) * energy, 0))
    return np.divide(products, scale, out=np.zeros_like(products), where=scale > 1e-12)
