"""AAC in MP4 (``.m4a``), the form that VoxCeleb2 comes in, read by PyAV (FFmpeg's libraries).

soundfile reads no AAC, and torchcodec needs FFmpeg's shared libraries installed beside it, which
PyAV brings. Opening a file takes about a millisecond; for long training the files should still be
turned into FLAC once.
"""

from __future__ import annotations

import os

import av
import numpy as np

from acorl_sb.utils.errors import UserError

_RUN_IN = 4096  # samples decoded ahead of a crop: an AAC frame (1,024) overlaps the one before


class M4aFile:
    """What :func:`acorl_sb.data.audio.read_audio` needs of ``soundfile.SoundFile``, for ``.m4a``.

    ``frames`` samples per channel, without the encoder's padding, at ``samplerate`` Hz. Raises
    ``UserError`` for a file without an audio track and ``OSError`` for a missing one.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        self.frames = self.samplerate = self.channels = self._at = 0
        if os.path.getsize(path) == 0:
            return
        try:
            with self._opened() as container:
                stream = container.streams.audio[0]
                self.samplerate = stream.rate
                self.channels = stream.codec_context.channels
                self.frames = round(stream.duration * stream.time_base * stream.rate)
        except (av.error.FFmpegError, IndexError, TypeError, ValueError):
            raise UserError(
                f"{self.path}: not readable as audio (no AAC track in MP4); convert or remove it"
            ) from None

    def __enter__(self) -> M4aFile:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def _opened(self) -> av.container.InputContainer:
        # Naming the format keeps FFmpeg from taking the file for, say, a playlist of others.
        return av.open(f"file:{self.path}", format="mp4")

    def seek(self, frame: int) -> None:
        """Go on reading at ``frame``."""
        self._at = frame

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """Samples of shape (frames, channels) from the current place; fewer at the end."""
        start, stop = self._at, min(self._at + frames, self.frames)
        wave = np.zeros((max(0, stop - start), self.channels), dtype=dtype)
        reached = start
        try:
            # Opened anew: only then does FFmpeg drop the samples that the encoder put in front.
            with self._opened() as container:
                stream = container.streams.audio[0]
                tick = stream.time_base * stream.rate  # samples in a unit of the file's clock
                container.seek(int(max(0, start - _RUN_IN) / tick), stream=stream)
                for decoded in container.decode(stream):
                    first = round(decoded.pts * tick)
                    if first >= stop:
                        break
                    last = min(first + decoded.samples, stop)
                    if last > start:
                        block = decoded.to_ndarray().reshape(self.channels, -1)
                        here = max(first, start)
                        wave[here - start : last - start] = block[:, here - first : last - first].T
                        reached = last
        except av.error.FFmpegError as error:
            raise UserError(f"{self.path}: FFmpeg cannot decode it ({error.strerror})") from None
        self._at = reached
        return wave[: reached - start]
