"""Folders and headers: read in order, read once, faults by name."""

from __future__ import annotations

import pytest
import soundfile

from acorl_sb.corpora import listing
from acorl_sb.data.audio import Header
from acorl_sb.utils.errors import UserError


def test_audio_is_told_by_its_extension():
    for name in ("a.wav", "a.WAV", "x/a.flac", "a.b.ogg", "a.m4a", "a.opus", "a.mp3"):
        assert listing.is_audio(name)
    for name in ("a.txt", "wav", "._a.wav", ".wav", "a.wav.part"):
        assert not listing.is_audio(name)


def test_files_are_listed_in_order_without_hidden_folders(audio_tree):
    root = audio_tree("data", ["b/2.wav", "a/1.flac", "b/1.wav", ".trash/3.wav"])
    assert [p.relative_to(root).as_posix() for p in listing.audio_files(root)] == [
        "a/1.flac",
        "b/1.wav",
        "b/2.wav",
    ]


def test_headers_are_in_the_order_of_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "_BLOCK", 3)
    paths = [str(tmp_path / f"{i}.wav") for i in range(40)]
    for i, path in enumerate(paths):
        soundfile.write(path, [0.1, -0.1] * (5 + i), 8000)
    expected = [Header(10 + 2 * i, 8000) for i in range(40)]
    assert listing.read_headers(paths, threads=4) == expected
    assert listing.read_headers(paths, tmp_path / "new" / "headers.tsv") == expected
    assert listing.read_headers(paths[::-1], tmp_path / "new" / "headers.tsv") == expected[::-1]


def test_the_first_bad_file_is_named(tmp_path):
    good = str(tmp_path / "good.wav")
    soundfile.write(good, [0.1, -0.1] * 5, 8000)
    (tmp_path / "bad.wav").write_text("no audio")
    for journal in (None, tmp_path / "headers.tsv"):
        with pytest.raises(UserError, match=r"bad.wav"):
            listing.read_headers([good, str(tmp_path / "bad.wav")], journal)
        with pytest.raises(UserError, match=r"none.wav"):
            listing.read_headers([str(tmp_path / "none.wav")], journal)
