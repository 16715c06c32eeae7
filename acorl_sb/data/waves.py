"""What an application hands over as a wave: a file, or samples with their rate."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from acorl_sb.data.audio import SAMPLE_RATE, SHORTEST, read_audio, read_header
from acorl_sb.data.resampling import check_rate, resampler
from acorl_sb.utils.errors import UserError

_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}

Samples = np.ndarray | torch.Tensor
Wave = Samples | tuple[Samples, int] | str | os.PathLike


def read_wave(
    wave: Wave,
    seconds: float | None = None,
    rate: int | None = None,
    keep: Callable[[np.ndarray, str], np.ndarray] | None = None,
) -> tuple[np.ndarray, str]:
    """The centre of a wave at 16 kHz, and what to call the wave in messages.

    Arguments
    ---------
    wave : file, or (samples, rate) with samples (T,) of full scale [-1, 1], or int16 or int32 as
        in a WAV file, and their rate in Hz; or samples alone, whose rate is then the argument
        ``rate``
    seconds : float or None
        Of the centre; a shorter wave, and every wave when None, is taken whole.
    rate : int or None
        Of samples that come alone; None refuses them, since nothing in them tells it.
    keep : callable(samples at 16 kHz, name) -> samples, or None
        What becomes of the whole wave before its centre is taken, such as ``keep_speech``.

    Returns
    -------
    samples : (T,) float32
    where : str

    Raises
    ------
    UserError
        For what ``read_audio`` refuses, and for a wave that is not (T,), shorter than ``SHORTEST``,
        without a usable rate, constant (so silent), or not finite.

    Example
    -------
    >>> tone = np.sin(np.arange(8000))
    >>> len(read_wave((tone, 8000), seconds=0.5)[0])
    8000
    """
    if isinstance(wave, str | os.PathLike):
        where = os.fspath(wave)
        span: tuple[int, int | None] = (0, None)
        if keep is None:
            span = centre_of(0, read_header(wave).length(), seconds, SAMPLE_RATE)
        samples = read_audio(wave, *span)
    else:
        where = "the wave"
        samples = _resampled(*_array(wave, rate))
    if keep is not None:
        samples = keep(samples, where)
    start, stop = centre_of(0, len(samples), seconds, SAMPLE_RATE)
    samples = samples[start:stop]
    if len(samples) < SHORTEST * SAMPLE_RATE:
        raise UserError(
            f"{where}: {len(samples) / SAMPLE_RATE:.3f} s of audio are too short, "
            f"{SHORTEST:g} s at least are needed"
        )
    _require_sound(samples, where)
    return samples, where


def centre_of(start: int, stop: int, seconds: float | None, sample_rate: int) -> tuple[int, int]:
    """Start and stop of the centre ``seconds`` of the samples [start, stop); None: all of them."""
    if seconds is None:
        return start, stop
    spare = stop - start - round(seconds * sample_rate)
    if spare <= 0:
        return start, stop
    return start + spare // 2, start + spare // 2 + round(seconds * sample_rate)


def _array(wave: Any, rate: Any) -> tuple[np.ndarray, Any]:
    """Samples (T,) float32 and their rate, as the caller gives it."""
    if isinstance(wave, tuple):
        if len(wave) != 2:
            raise UserError("a wave is a file, or a pair (samples, sample rate)")
        wave, rate = wave
    elif rate is None:
        raise UserError(
            "samples without their rate: give a pair (samples, sample rate), or say once for all "
            "with the argument sample_rate"
        )
    try:
        if hasattr(wave, "detach"):
            wave = wave.detach().cpu().numpy()
        samples = np.asarray(wave)
        kind = samples.dtype.newbyteorder("=")
        if kind in _FULL_SCALE:  # what scipy.io.wavfile reads
            samples = samples / np.float32(_FULL_SCALE[kind])
        elif samples.dtype.kind in "iu" and samples.any():
            raise UserError(
                f"the wave is {samples.dtype}, whose full scale is not known; give float samples "
                "in [-1, 1], or int16 or int32"
            )
        samples = samples.astype(np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"the wave is not one of numbers ({error})") from None
    if samples.ndim != 1 or not len(samples):
        raise UserError(f"a wave has one dimension and some samples, not {samples.shape}")
    if not np.isfinite(samples).all():
        raise UserError("the wave holds NaN or infinity")
    _require_sound(samples, "the wave")  # resampled, a constant is one no more at its ends
    # What is resampled and embedded must not be a view backwards, which torch cannot take.
    return np.ascontiguousarray(samples), rate


def _require_sound(samples: np.ndarray, where: str) -> None:
    if bool((samples == samples[0]).all()):
        raise UserError(f"{where}: the audio is silent, all its samples are equal")


def _resampled(samples: np.ndarray, rate: Any) -> np.ndarray:
    """Samples (T,) at ``rate`` Hz brought to 16 kHz."""
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        raise UserError(f"a sample rate is a whole number of Hz, not {rate!r}")
    rate = int(rate)
    check_rate("the wave", rate, SAMPLE_RATE)
    return samples if rate == SAMPLE_RATE else resampler(rate, SAMPLE_RATE)(samples)
