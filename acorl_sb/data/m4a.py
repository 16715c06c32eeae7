"""AAC in MP4 (``.m4a``), the form that VoxCeleb2 comes in: length from the file, audio from ffmpeg.

soundfile reads no AAC. The length is read here from the MP4 boxes (ISO/IEC 14496-12), which takes
some microseconds; decoding starts an ffmpeg, which takes some ten milliseconds for each crop, so
that for long training the files should be turned into FLAC once.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from acorl_sb.utils.errors import UserError

_CONTAINERS = (b"moov", b"trak", b"mdia", b"edts")
_DEEPEST = 8  # boxes in boxes that are looked into


class Track(NamedTuple):
    """Length (samples per channel, without the encoder's padding) and rate (Hz) of a track."""

    frames: int
    rate: int


def read_track(path: str | os.PathLike) -> Track:
    """The first track of an MP4 file; only box headers are read, wherever they are in the file.

    An empty file is a track without length. Raises ``UserError`` where there is no track and
    ``OSError`` for a missing file.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        found: dict[bytes, bytes] = {}
        _walk(file, 0, size, found, _DEEPEST)
    if size == 0:
        return Track(0, 0)
    if b"mdhd" not in found:
        raise UserError(f"{path}: not readable as audio (no MP4 track); convert or remove the file")
    try:
        header = found[b"mdhd"]  # version, flags, times of creation and change, rate, duration
        form, at = (">IQ", 20) if header[0] == 1 else (">II", 12)
        rate, duration = struct.unpack_from(form, header, at)
        delay = 0  # samples that the encoder put before the audio
        if b"elst" in found and struct.unpack_from(">I", found[b"elst"], 4)[0]:
            edit = found[b"elst"]
            form, at = (">q", 16) if edit[0] == 1 else (">i", 12)
            (delay,) = struct.unpack_from(form, edit, at)
    except (struct.error, IndexError):
        raise UserError(f"{path}: damaged MP4 file; copy it again or remove it") from None
    return Track(duration - max(0, delay), rate)


def _walk(file: BinaryIO, start: int, stop: int, found: dict[bytes, bytes], deep: int) -> None:
    """Collect the first media header and edit list between two places of the file."""
    while start + 8 <= stop and b"mdhd" not in found:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        body = 8
        if size == 1 and len(head) == 16:
            (size,), body = struct.unpack_from(">Q", head, 8), 16
        elif size == 0:
            size = stop - start
        if size < body:
            return
        if kind in _CONTAINERS and deep:
            _walk(file, start + body, min(start + size, stop), found, deep - 1)
        elif kind in (b"mdhd", b"elst"):
            file.seek(start + body)
            found[kind] = file.read(min(size - body, 64))
        start += size


class M4aFile:
    """What :func:`acorl_sb.data.audio.read_audio` needs of ``soundfile.SoundFile``, for ``.m4a``."""

    channels = 1  # of how many ffmpeg finds, the mean is taken

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        self.frames, self.samplerate = read_track(path)
        self._at = 0

    def __enter__(self) -> M4aFile:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def seek(self, frame: int) -> None:
        self._at = frame

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """``frames`` frames from the current place, (frames, channels); fewer at the end.

        Decoding starts at the beginning, since AAC frames overlap, and ends with the crop.
        """
        stop = self._at + frames
        program = shutil.which("ffmpeg")
        if program is None:
            raise UserError(
                f"{self.path}: reading m4a takes the program ffmpeg, which is not installed; "
                "install it or convert the files to FLAC or WAV"
            )
        length = ["-t", f"{(stop + 1) / self.samplerate:.6f}"]
        # Naming the form keeps ffmpeg from taking the file for, say, a playlist of other files.
        source = ["-f", "mp4", "-i", f"file:{self.path}"]
        command = [program, "-v", "error", "-nostdin", *source, *length]
        process = subprocess.run(
            [*command, "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"], capture_output=True
        )
        if process.returncode != 0:
            message = process.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise UserError(f"{self.path}: ffmpeg cannot decode it ({message[-1]})")
        wave, _ = soundfile.read(io.BytesIO(process.stdout), dtype=dtype, always_2d=always_2d)
        wave = wave[self._at : stop]
        self._at += len(wave)
        return wave
