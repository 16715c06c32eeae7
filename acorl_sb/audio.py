"""Audio from disk: only the crop that is asked for, one channel, one sample rate.

Reads what soundfile reads, and ``.m4a`` where ffmpeg is installed.

All start, stop and length figures of this project count samples at the rate that the encoders work
in (16 kHz unless told otherwise), whatever the rate of the file.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import soundfile

from acorl_sb.errors import UserError
from acorl_sb.m4a import M4aFile

SAMPLE_RATE = 16000

logger = logging.getLogger(__name__)
_rates_told: set[tuple[int, int]] = set()

# The width of torchaudio's windowed-sinc kernel in zero crossings and its roll-off (its defaults);
# they say how far beyond a crop the resampler looks.
_ZERO_CROSSINGS = 6
_ROLLOFF = 0.99


class Header(NamedTuple):
    """What a file's header says: ``frames`` per channel at ``rate`` (Hz)."""

    frames: int
    rate: int

    def length(self, sample_rate: int = SAMPLE_RATE) -> int:
        """Samples after resampling to ``sample_rate``."""
        return -(-self.frames * sample_rate // self.rate)  # rounded up, as the resampler does


def read_header(path: str | os.PathLike) -> Header:
    """Length and rate of an audio file from its header, without decoding it.

    Raises ``UserError`` for a missing, unreadable or zero-length file.
    """
    try:
        with _open(path) as file:
            header = Header(file.frames, file.samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from None
    if header.frames <= 0 or header.rate <= 0:
        raise _empty(path)
    return header


def read_audio(
    path: str | os.PathLike,
    start: int = 0,
    stop: int | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> np.ndarray:
    """The samples ``[start, stop)`` of a file as float32 of shape (stop - start,).

    Channels are mixed to one by their mean. ``start`` and ``stop`` count samples at
    ``sample_rate``; a file of another rate is resampled, which the log says once for each rate.
    Only the crop (and the resampler's few neighbouring samples) is read from disk; the result is
    what cropping the whole resampled file would give.

    Raises ``UserError`` for a missing, unreadable, zero-length or non-finite file and for a crop
    that is empty or reaches beyond the file's end.
    """
    try:
        with _open(path) as file:
            header = Header(file.frames, file.samplerate)
            if header.frames <= 0:
                raise _empty(path)
            length = header.length(sample_rate)
            stop = length if stop is None else stop
            if not 0 <= start < stop <= length:
                raise UserError(
                    f"{path}: asked for samples {start} to {stop}, but the file has {length} at "
                    f"{sample_rate} Hz; prepare the manifest again"
                )
            first, last, skip = _file_range(start, stop, header, sample_rate)
            file.seek(first)
            # Some files hold less than their header says; read() then returns fewer frames.
            crop = file.read(last - first, dtype="float32", always_2d=True)  # (frames, channels)
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from None
    if len(crop) < last - first:
        raise UserError(
            f"{path}: the audio ends after {first + len(crop)} frames although its header "
            f"promises {header.frames}; copy the file again or remove it"
        )
    if not np.isfinite(crop).all():
        raise UserError(f"{path}: the audio holds NaN or infinity; repair or remove the file")
    wave = crop.mean(axis=1) if crop.shape[1] > 1 else crop[:, 0]
    if header.rate != sample_rate:
        _tell_once(path, header.rate, sample_rate)
        wave = _resampler(header.rate, sample_rate)(wave)
    return np.ascontiguousarray(wave[skip : skip + stop - start])


def _open(path: str | os.PathLike) -> soundfile.SoundFile | M4aFile:
    if os.fspath(path).lower().endswith(".m4a"):
        return M4aFile(path)
    return soundfile.SoundFile(os.fspath(path))


def _file_range(start: int, stop: int, header: Header, sample_rate: int) -> tuple[int, int, int]:
    """The file's frames that a crop needs, and how many resampled samples to skip at their start.

    The first frame is a whole number of resampling periods, so that the resampler's phase, and with
    it every sample, is the same as for the whole file.
    """
    if header.rate == sample_rate:
        return start, stop, 0
    divisor = math.gcd(header.rate, sample_rate)
    frames, samples = header.rate // divisor, sample_rate // divisor  # one period of each side
    reach = math.ceil(_ZERO_CROSSINGS * frames / (min(frames, samples) * _ROLLOFF)) + frames
    periods = max(0, (start // samples * frames - reach) // frames)
    last = min(header.frames, -(-stop * frames // samples) + reach)
    return periods * frames, last, start - periods * samples


@lru_cache(maxsize=16)
def _resampler(rate: int, sample_rate: int) -> Callable[[np.ndarray], np.ndarray]:
    # Kept, since making the filter takes longer than using it. Imported here, since preparing a
    # corpus, which reads headers alone, then starts in a fraction of the time.
    import torch
    from torchaudio.transforms import Resample

    transform = Resample(rate, sample_rate)
    return lambda wave: transform(torch.from_numpy(wave)).numpy()


def _tell_once(path: str | os.PathLike, rate: int, sample_rate: int) -> None:
    if (rate, sample_rate) not in _rates_told:
        _rates_told.add((rate, sample_rate))
        logger.info(
            "resampling %d Hz audio to %d Hz (first: %s; said once)", rate, sample_rate, path
        )


def _unreadable(path: str | os.PathLike, error: Exception) -> UserError:
    if not os.path.exists(path):
        return UserError(f"{path}: no such audio file; prepare the manifest again")
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return _empty(path)
    reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return UserError(f"{path}: not readable as audio ({reason}); convert or remove the file")


def _empty(path: str | os.PathLike) -> UserError:
    return UserError(f"{path}: the audio has zero length; remove the file")
