"""AAC in MP4: lengths from the boxes, crops through ffmpeg."""

from __future__ import annotations

import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from acorl_sb.data import audio, m4a
from acorl_sb.utils.errors import UserError


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def movie(frames, rate, delay=None, version=0):
    """An MP4 file without audio: only what tells the length."""
    if version:
        header = struct.pack(">B3xQQIQ", 1, 0, 0, rate, frames)
        edit = struct.pack(">B3xIQqI", 1, 1, 0, delay or 0, 0x10000)
    else:
        header = struct.pack(">B3xIIII", 0, 0, 0, rate, frames)
        edit = struct.pack(">B3xIIiI", 0, 1, 0, delay or 0, 0x10000)
    edits = [box(b"edts", box(b"elst", edit))] if delay is not None else []
    track = box(b"trak", box(b"tkhd", bytes(84)), *edits, box(b"mdia", box(b"mdhd", header)))
    return box(b"moov", box(b"mvhd", bytes(100)), track)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(("delay", "frames"), [(None, 20000), (1024, 18976), (-1, 20000)])
def test_the_length_is_read_from_the_boxes(tmp_path, version, delay, frames):
    head = box(b"ftyp", b"M4A ")
    large = struct.pack(">I4sQ", 1, b"mdat", 16 + 100) + bytes(100)  # a 64-bit size
    for data in (head + large + movie(20000, 16000, delay, version),
                 head + movie(20000, 16000, delay, version) + large):  # fmt: skip
        (tmp_path / "a.m4a").write_bytes(data)
        assert audio.read_header(tmp_path / "a.m4a") == (frames, 16000)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "zero length"),
        (b"not an mp4 file, but text", "no MP4 track"),
        (box(b"moov", box(b"trak")), "no MP4 track"),
        (movie(0, 16000), "zero length"),
        (movie(9, 16000)[:-6], "damaged MP4 file"),
        (box(b"moov") + struct.pack(">I4s", 3, b"free"), "no MP4 track"),
    ],
)
def test_other_files_are_named(tmp_path, data, sentence):
    (tmp_path / "a.m4a").write_bytes(data)
    with pytest.raises(UserError, match=f"a.m4a: .*{sentence}"):
        audio.read_header(tmp_path / "a.m4a")


def test_without_ffmpeg_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(movie(20000, 16000))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"a.m4a: .* takes the program ffmpeg"):
        audio.read_audio(tmp_path / "a.m4a")


@pytest.fixture
def real(tmp_path):
    """A second of tones as m4a, and the same as an array."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg here")
    time = np.arange(16000) / 16000
    wave = 0.3 * np.sin(2 * np.pi * 300 * time * (1 + time))
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-b:a", "96k", tmp_path / "a.m4a"],
        check=True,
    )
    return tmp_path / "a.m4a", wave


def test_audio_and_crops(real):
    path, wave = real
    whole = audio.read_audio(path)
    assert whole.shape == (16000,) and whole.dtype == np.float32
    assert m4a.read_track(path) == (16000, 16000)
    # In place to the sample: the decoded tone follows the original.
    assert np.corrcoef(whole[2000:14000], wave[2000:14000])[0, 1] > 0.99
    np.testing.assert_array_equal(audio.read_audio(path, 4321, 9876), whole[4321:9876])
    np.testing.assert_array_equal(audio.read_audio(path, 15000), whole[15000:])


def test_ffmpegs_complaint_is_passed_on(tmp_path, real):
    (tmp_path / "b.m4a").write_bytes(movie(20000, 16000))
    with pytest.raises(UserError, match=r"b.m4a: ffmpeg cannot decode it \("):
        audio.read_audio(tmp_path / "b.m4a")
