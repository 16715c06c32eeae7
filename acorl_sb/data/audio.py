"""Audio from disk: only the crop that is asked for, one channel, one sample rate.

Reads what soundfile reads, and ``.m4a`` through PyAV; WAV and FLAC in tar shards as well, by the
names of ``acorl_sb.data.tar_audio``.

All start, stop and length figures of this project count samples at the rate that the encoders work
in (16 kHz unless told otherwise), whatever the rate of the file.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile

from acorl_sb.data.resampling import check_rate, period, reach, resampler
from acorl_sb.data.tar_audio import file_of, find_member
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import require_utf8
from acorl_sb.utils.reading import require_regular, shown

if TYPE_CHECKING:
    from acorl_sb.data.m4a import M4aFile

SAMPLE_RATE = 16000

SHORTEST = 0.1
"""Seconds that an utterance must last: an ECAPA-TDNN needs five frames, 40 ms, and a statistic of
its activations over time needs some more to mean anything."""

LONGEST = 24 * 3600
"""Seconds that a file may last; a header that promises more is damaged."""

MOST_CHANNELS = 8

logger = logging.getLogger(__name__)
_rates_told: set[tuple[int, int]] = set()

# How libsndfile's log reports samples that a header promises and the file does not hold, and the
# sizes from which on a header only says that its writer did not know.
_PROMISED = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_SIZE = 0x7FFFF000
_OGG_PAGE = 65_307  # bytes of the longest page

_BLOCK = 4096  # frames


class Header(NamedTuple):
    """What a file's header says: ``frames`` per channel at ``rate`` (Hz)."""

    frames: int
    rate: int

    def length(self, sample_rate: int = SAMPLE_RATE) -> int:
        """Samples after resampling to ``sample_rate``."""
        return -(-self.frames * sample_rate // self.rate)  # rounded up, as the resampler does


def read_header(path: str | os.PathLike, sample_rate: int = SAMPLE_RATE) -> Header:
    """Length and rate of an audio file, which is looked at but not decoded as a whole.

    Raises ``UserError`` for a file that is missing, unreadable, of zero length, cut off, or silent
    (the mean of its channels never changes), for a name that is not UTF-8, and for a header with
    more than ``LONGEST`` seconds, more than ``MOST_CHANNELS`` channels, or a rate that
    ``check_rate`` refuses. ``.m4a`` is only found cut off or silent when it is read.
    """
    try:
        with _open(path) as file:
            header = _header(path, file, sample_rate)
            if isinstance(file, soundfile.SoundFile):
                _require_sound(path, file)
                _require_whole(path, file)
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from None
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

    Raises ``UserError`` for what ``read_header`` refuses (a file that is cut off only where the
    crop, or the whole file with ``stop`` left out, reaches its end), a non-finite file, and a crop
    that is empty or reaches beyond the file's end. A silent crop of a file that is not is fine.
    """
    try:
        with _open(path) as file:
            header = _header(path, file, sample_rate)
            length = header.length(sample_rate)
            if stop is None:
                stop = length
                if isinstance(file, soundfile.SoundFile):
                    _require_whole(path, file)
            if not 0 <= start < stop <= length:
                raise UserError(
                    f"{shown(path)}: asked for samples {start} to {stop}, but the file has "
                    f"{length} at {sample_rate} Hz; mend the list that asks for them"
                )
            first, last, skip = _file_range(start, stop, header, sample_rate)
            file.seek(first)
            # Some files hold less than their header says; read() then returns fewer frames.
            crop = file.read(last - first, dtype="float32", always_2d=True)  # (frames, channels)
            wave = _mixed(crop)
            if len(wave) > 1 and _constant(wave):
                _require_sound(path, file)
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from None
    if len(crop) < last - first:
        raise _cut_off(path, first + len(crop), header.frames)
    if not np.isfinite(crop).all():
        raise UserError(f"{shown(path)}: the audio holds NaN or infinity; repair or remove it")
    if header.rate != sample_rate:
        _tell_once(path, header.rate, sample_rate)
        wave = resampler(header.rate, sample_rate)(wave)
    return np.ascontiguousarray(wave[skip : skip + stop - start])


def _open(path: str | os.PathLike) -> soundfile.SoundFile | M4aFile:
    require_utf8(path)  # soundfile cannot open others
    require_regular(file_of(path), "audio")
    if os.fspath(path).lower().endswith(".m4a"):
        from acorl_sb.data.m4a import M4aFile  # FFmpeg's libraries take a while to load

        return M4aFile(path)
    try:
        member = find_member(path)
        return soundfile.SoundFile(os.fspath(path) if member is None else member.open())
    except TypeError:  # soundfile asks for rate and channels
        raise UserError(
            f"{shown(path)}: raw audio without a header; convert it to WAV or FLAC"
        ) from None


def _header(
    path: str | os.PathLike, file: soundfile.SoundFile | M4aFile, sample_rate: int
) -> Header:
    """Length and rate as the header states them, if they can be."""
    header = Header(file.frames, file.samplerate)
    if header.frames <= 0 or header.rate <= 0:
        raise _empty(path)
    check_rate(shown(path), header.rate, sample_rate)
    if file.channels > MOST_CHANNELS:
        raise UserError(
            f"{shown(path)}: {file.channels} channels; at most {MOST_CHANNELS} are accepted, so "
            "convert the file to one or remove it"
        )
    if header.frames > LONGEST * header.rate:
        raise UserError(
            f"{shown(path)}: its header promises {header.frames / header.rate / 3600:.0f} hours of "
            "audio; it is damaged, copy the file again or cut it into utterances"
        )
    return header


def _require_sound(path: str | os.PathLike, file: soundfile.SoundFile | M4aFile) -> None:
    """Refuse a file whose channels make one of equal samples; mostly its first block tells."""
    file.seek(0)
    # Each read of an m4a opens the file anew.
    size = _BLOCK if isinstance(file, soundfile.SoundFile) else file.frames
    first = None
    while len(block := file.read(size, dtype="float32", always_2d=True)):
        wave = _mixed(block)
        first = wave[0] if first is None else first
        if not (wave == first).all():
            return
    if first is not None:
        of = "all its samples are" if file.channels == 1 else "its channels' mean is always"
        raise UserError(f"{shown(path)}: the audio is silent, {of} {first:g}; remove it")


def _mixed(frames: np.ndarray) -> np.ndarray:
    """(T,) of (T, channels): their mean."""
    return frames.mean(axis=1) if frames.shape[1] > 1 else frames[:, 0]


def _constant(wave: np.ndarray) -> bool:
    return bool(wave[0] == wave[-1] and (wave == wave[0]).all())


def _require_whole(path: str | os.PathLike, file: soundfile.SoundFile) -> None:
    """Refuse a file that ends before its audio does, as far as its format says where that is."""
    bad = False
    if file.format in ("FLAC", "MP3"):
        file.seek(file.frames - 1)
        bad = not len(file.read(1))
    elif file.format == "OGG":  # the last page of a stream is marked as such
        with open(path, "rb") as raw:
            raw.seek(max(0, os.path.getsize(path) - _OGG_PAGE))
            tail = raw.read()
        page = tail.rfind(b"OggS")
        bad = page < 0 or not tail[page + 5 : page + 6] or not tail[page + 5] & 4
    else:
        for promised, held in _PROMISED.findall(file.extra_info):
            bad |= int(held) < int(promised) < _UNKNOWN_SIZE
    if bad:
        raise UserError(
            f"{shown(path)}: the file is cut off, its header promises more audio than it holds; "
            "copy it again or remove it"
        )


def _file_range(start: int, stop: int, header: Header, sample_rate: int) -> tuple[int, int, int]:
    """The file's frames that a crop needs, and how many resampled samples to skip at their start.

    The first frame is a whole number of resampling periods, so that the resampler's phase, and with
    it every sample, is the same as for the whole file.
    """
    if header.rate == sample_rate:
        return start, stop, 0
    frames, samples = period(header.rate, sample_rate)
    margin = reach(header.rate, sample_rate) + frames
    periods = max(0, (start // samples * frames - margin) // frames)
    last = min(header.frames, -(-stop * frames // samples) + margin)
    return periods * frames, last, start - periods * samples


def _tell_once(path: str | os.PathLike, rate: int, sample_rate: int) -> None:
    if (rate, sample_rate) not in _rates_told:
        _rates_told.add((rate, sample_rate))
        logger.info(
            "resampling %d Hz audio to %d Hz (first: %s; said once)", rate, sample_rate, path
        )


def _unreadable(path: str | os.PathLike, error: Exception) -> UserError:
    if not os.path.exists(file_of(path)):
        return UserError(
            f"{shown(path)}: no such audio file; mend its name where it was given, or bring it back"
        )
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return _empty(path)
    reason = " ".join(str(getattr(error, "error_string", error)).split()).rstrip(".")
    return UserError(f"{shown(path)}: not readable as audio ({reason}); convert or remove the file")


def _empty(path: str | os.PathLike) -> UserError:
    return UserError(f"{shown(path)}: the audio has zero length; remove the file")


def _cut_off(path: str | os.PathLike, held: int, promised: int) -> UserError:
    return UserError(
        f"{shown(path)}: the file is cut off, it holds {held} of the {promised} frames that its "
        "header promises; copy it again or remove it"
    )
