"""From one sample rate to another: which rates that goes with, and the filter."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from acorl_sb.utils.errors import UserError

RATES = (4000, 192_000)
"""Lowest and highest sample rate (Hz) that is accepted."""

# The width of torchaudio's windowed-sinc kernel in zero crossings and its roll-off (its defaults);
# they say how far beyond a crop the resampler looks.
_ZERO_CROSSINGS = 6
_ROLLOFF = 0.99

# Values in the resampler's kernels. Rates that have almost no common divisor, such as 15,999 and
# 16,000 Hz, would take gigabytes.
_LARGEST_KERNEL = 1 << 25


def check_rate(where: str, rate: int, sample_rate: int) -> None:
    """``UserError``, beginning with ``where``, for a rate that cannot be made ``sample_rate`` (Hz).

    That is one beyond ``RATES``, or with almost no common divisor.
    """
    low, high = RATES
    if not low <= rate <= high:
        raise UserError(
            f"{where}: a sample rate of {rate} Hz; from {low} to {high} Hz are accepted, so "
            f"convert the audio to {sample_rate} Hz or leave it out"
        )
    frames, samples = period(rate, sample_rate)
    # A kernel for each sample of the period.
    if samples * (2 * reach(rate, sample_rate) + frames) > _LARGEST_KERNEL:
        raise UserError(
            f"{where}: its sample rate of {rate} Hz has almost no common divisor with "
            f"{sample_rate} Hz; convert the audio to {sample_rate} Hz"
        )


def period(rate: int, sample_rate: int) -> tuple[int, int]:
    """The shortest time that is a whole number of samples at both rates, in samples of each.

    >>> period(44100, 16000)
    (441, 160)
    """
    divisor = math.gcd(rate, sample_rate)
    return rate // divisor, sample_rate // divisor


def reach(rate: int, sample_rate: int) -> int:
    """How many samples at ``rate`` the resampler looks at on each side of a period."""
    frames, samples = period(rate, sample_rate)
    return math.ceil(_ZERO_CROSSINGS * frames / (min(frames, samples) * _ROLLOFF))


@lru_cache(maxsize=16)
def resampler(rate: int, sample_rate: int) -> Callable[[np.ndarray], np.ndarray]:
    """What brings samples (T,) float32 from ``rate`` to ``sample_rate``, which differ."""
    # Kept, since making the filter takes longer than using it. Imported here, since preparing a
    # corpus, which reads headers alone, then starts in a fraction of the time.
    import torch
    from torchaudio.transforms import Resample

    transform = Resample(rate, sample_rate)
    return lambda wave: transform(torch.from_numpy(wave)).numpy()
