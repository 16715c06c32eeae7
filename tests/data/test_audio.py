"""Crops from disk equal crops of the whole file; what cannot be read ends in one sentence."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample

from acorl_sb.data import audio
from acorl_sb.utils.errors import UserError


def write(path, wave, rate=16000, **options):
    soundfile.write(path, wave, rate, **options)
    return path


def noise(length, channels=1, seed=0):
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, (length, channels))
    return (wave if channels > 1 else wave[:, 0]).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.wav", {"subtype": "FLOAT"}), ("a.flac", {"subtype": "PCM_24"}), ("a.ogg", {})],
)
def test_a_crop_is_the_crop_of_the_whole(tmp_path, name, options):
    path = write(tmp_path / name, noise(20000), **options)
    whole = audio.read_audio(path)
    assert whole.shape == (20000,) and whole.dtype == np.float32
    np.testing.assert_array_equal(audio.read_audio(path, 3210, 9876), whole[3210:9876])


def test_values_are_those_of_the_file(tmp_path):
    wave = noise(1000)
    path = write(tmp_path / "a.wav", wave, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read_audio(path), wave)


def test_channels_are_averaged(tmp_path):
    wave = noise(500, channels=3)
    path = write(tmp_path / "a.wav", wave, subtype="FLOAT")
    np.testing.assert_allclose(audio.read_audio(path), wave.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_resampled_crops_equal_the_resampled_file(tmp_path, rate):
    wave = noise(rate // 2 + 7)
    path = write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    expected = resample(torch.from_numpy(wave).double(), rate, 16000).numpy()
    assert audio.read_header(path).length() == len(expected)
    whole = audio.read_audio(path)
    np.testing.assert_allclose(whole, expected, atol=3e-5)
    rng = np.random.default_rng(rate)
    spans = [sorted(rng.choice(len(whole) + 1, 2, replace=False)) for _ in range(20)]
    for start, stop in [*spans, (0, 1), (len(whole) - 1, len(whole))]:
        crop = audio.read_audio(path, int(start), int(stop))
        np.testing.assert_allclose(crop, whole[start:stop], atol=1e-6)


def test_only_the_crop_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(480000), 48000)
    read = []
    original = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, **k: read.append(frames) or original(self, frames, **k),
    )
    assert len(audio.read_audio(path, 80000, 81600)) == 1600
    assert len(read) == 1 and 4800 <= read[0] < 5000


def test_another_rate_is_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(audio, "_rates_told", set())
    paths = [write(tmp_path / f"{i}.wav", noise(4410), 44100) for i in range(3)]
    with caplog.at_level(logging.INFO, "acorl_sb.data.audio"):
        for path in paths:
            audio.read_audio(path)
        audio.read_audio(write(tmp_path / "b.wav", noise(100), 16000))
    (record,) = caplog.records
    assert all(word in record.getMessage() for word in ("44100", "16000", str(paths[0])))


@pytest.mark.parametrize("read", [audio.read_audio, audio.read_header])
def test_what_is_no_audio_is_named(tmp_path, read):
    (tmp_path / "text.wav").write_text("not audio at all")
    (tmp_path / "nothing.wav").touch()
    write(tmp_path / "empty.wav", noise(0))
    for file in ("text.wav", "nothing.wav", "empty.wav", "absent.wav"):
        with pytest.raises(UserError, match=file):
            read(tmp_path / file)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_audio_is_refused_where_it_is_read(tmp_path, bad):
    wave = noise(1000)
    wave[700] = bad
    path = write(tmp_path / "a.wav", wave, subtype="FLOAT")
    assert np.isfinite(audio.read_audio(path, 0, 600)).all()
    with pytest.raises(UserError, match=r"a.wav"):
        audio.read_audio(path)


@pytest.mark.parametrize("span", [(0, 1001), (500, 500), (-1, 5), (2000, 3000)])
def test_a_crop_beyond_the_file_is_refused(tmp_path, span):
    path = write(tmp_path / "a.wav", noise(1000))
    with pytest.raises(UserError, match=r"a.wav"):
        audio.read_audio(path, *span)


def test_a_file_shorter_than_its_header_is_refused(tmp_path):
    path = write(tmp_path / "a.flac", noise(160000))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"a.flac: "):
        audio.read_audio(path)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_channels_that_cancel_are_silent(tmp_path, name):
    one = noise(20000)
    path, values = tmp_path / name, np.round(one * 20000).astype(np.int16)
    soundfile.write(path, np.stack([values, -values], axis=1), 16000, subtype="PCM_16")
    for read in (audio.read_header, audio.read_audio):
        with pytest.raises(UserError, match=name):
            read(path)
    late = np.stack([values, -values], axis=1)
    late[15000:, 1] = 0
    soundfile.write(path, late, 16000, subtype="PCM_16")
    assert audio.read_header(path).frames == 20000
    assert not audio.read_audio(path, 0, 10000).any()


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "x\udcff.wav"
    path.write_bytes(write(tmp_path / "a.wav", noise(2000)).read_bytes())
    for read in (audio.read_header, audio.read_audio):
        with pytest.raises(UserError, match=r"x\\udcff\.wav"):
            read(path)
