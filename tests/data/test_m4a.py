"""AAC in MP4: lengths and crops to the sample, and files that are something else."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from acorl_sb.data import audio
from acorl_sb.data.m4a import M4aFile
from acorl_sb.utils.errors import UserError

RATE = 16000


def write(path, wave, rate=RATE):
    """Write a wave (N,) or (N, channels) as AAC."""
    channels = np.atleast_2d(wave.astype(np.float32).T)
    layout = {1: "mono", 2: "stereo"}[len(channels)]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), "fltp", layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def tones(seconds=1.0, rate=RATE):
    """A rising tone, in which every place sounds different."""
    time = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * 300 * time * (1 + time))


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 2.345])
def test_the_length_is_that_of_the_audio(tmp_path, rate, seconds):
    """Without what the encoder puts in front and behind."""
    path = write(tmp_path / "a.m4a", tones(seconds, rate), rate)
    assert M4aFile(path).samplerate == rate
    assert M4aFile(path).frames == round(seconds * rate)
    assert audio.read_header(path) == (M4aFile(path).frames, rate)


def test_crops_are_parts_of_the_whole(tmp_path):
    wave = tones()
    path = write(tmp_path / "a.m4a", wave)
    whole = audio.read_audio(path)
    assert len(whole) == M4aFile(path).frames and whole.dtype == np.float32
    # In place to the sample: the decoded tone follows the original, and no shift does as well.
    inner = slice(2000, 14000)
    fit = {k: np.corrcoef(np.roll(whole, k)[inner], wave[inner])[0, 1] for k in range(-3, 4)}
    assert max(fit, key=fit.get) == 0 and fit[0] > 0.99
    for start, stop in ((0, 100), (4321, 9876), (15000, 16000), (8000, 8001)):
        np.testing.assert_array_equal(audio.read_audio(path, start, stop), whole[start:stop])


def test_two_channels_are_mixed(tmp_path):
    wave = tones()
    path = write(tmp_path / "a.m4a", np.stack([wave, np.zeros_like(wave)], axis=1))
    assert M4aFile(path).channels == 2
    mixed = audio.read_audio(path)[2000:14000]
    assert np.abs(mixed).max() == pytest.approx(np.abs(wave).max() / 2, rel=0.1)


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an mp4 file, but text",
        b"#EXTM3U\nother.wav\n",
        box(b"moov", box(b"trak")),
        box(b"ftyp", b"M4A ", bytes(4)) + box(b"moov", box(b"mvhd", bytes(100))),
        box(b"moov") + struct.pack(">I4s", 3, b"free"),
    ],
)
def test_other_files_are_named(tmp_path, data):
    (tmp_path / "a.m4a").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.m4a"):
        audio.read_header(tmp_path / "a.m4a")


def test_a_file_that_was_cut_off_is_named(tmp_path):
    data = write(tmp_path / "a.m4a", tones()).read_bytes()
    (tmp_path / "b.m4a").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"b\.m4a"):
        audio.read_audio(tmp_path / "b.m4a")


def test_damaged_samples_are_named_or_read(tmp_path):
    """Whatever is decoded of a file with spoiled bytes has the promised length, or is refused."""
    data = bytearray(write(tmp_path / "a.m4a", tones()).read_bytes())
    at = data.index(b"mdat") + 200
    data[at : at + 400] = b"\xff" * 400
    (tmp_path / "b.m4a").write_bytes(data)
    try:
        assert len(audio.read_audio(tmp_path / "b.m4a")) == M4aFile(tmp_path / "b.m4a").frames
    except UserError as error:
        assert "b.m4a" in str(error)


def test_a_silent_file_is_refused(tmp_path):
    path = write(tmp_path / "a.m4a", np.zeros(RATE))
    with pytest.raises(UserError, match=r"a\.m4a"):
        audio.read_audio(path)
