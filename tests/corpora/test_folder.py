"""Anybody's recordings: speaker/[session/]utterance, in any format that soundfile reads."""

from __future__ import annotations

import pytest

from acorl_sb.corpora import folder
from acorl_sb.utils.errors import UserError


def test_speakers_sessions_and_ids_come_from_the_path(audio_tree):
    root = audio_tree(
        "data",
        ["anna/1.wav", "anna/at home/2.flac", "bob/a/b/3.OGG", "my friend/4.aiff"],
        rate=8000,
    )
    (root / "anna" / "notes.txt").touch()
    (root / "anna" / "._1.wav").write_text("left by a Mac")
    found = folder.collect(root).train
    assert [(u.id, u.spk_id, u.session) for u in found] == [
        ("anna/1", "anna", ""),
        ("anna/at_home/2", "anna", "at home"),
        ("bob/a/b/3", "bob", "a/b"),
        ("my_friend/4", "my friend", ""),
    ]
    assert found[1].wav == str(root / "anna" / "at home" / "2.flac")
    # 0.1 s at 8 kHz, counted at 16 kHz.
    assert [(u.duration, u.start, u.stop) for u in found] == [(0.1, 0, 1600)] * 4


@pytest.mark.parametrize(
    ("files", "where"),
    [
        (["1.wav", "a/2.wav"], "1.wav"),
        (["a/1.wav", "a/2.wav"], None),
    ],
)
def test_other_layouts_are_named(audio_tree, files, where):
    with pytest.raises(UserError, match=where):
        folder.collect(audio_tree("data", files))


def test_a_folder_without_audio_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "readme.txt").touch()
    with pytest.raises(UserError):
        folder.collect(tmp_path)


def test_audio_that_cannot_be_read_is_named(audio_tree):
    root = audio_tree("data", ["a/1.wav", "b/2.wav"])
    (root / "b" / "3.wav").touch()
    with pytest.raises(UserError, match=r"b/3.wav"):
        folder.collect(root)
