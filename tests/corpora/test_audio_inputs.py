"""What names audio on a command line: files, folders, lists and tables."""

from __future__ import annotations

import pytest

from acorl_sb.corpora.audio_inputs import read_inputs
from acorl_sb.utils.errors import UserError


@pytest.fixture
def root(audio_tree, monkeypatch):
    root = audio_tree("data", ["a/1.wav", "a/2 x.flac", "b/1.wav"])
    (root / "wav.scp").write_text("k1 a/1.wav\nk2 b/1.wav\n")
    (root / "kaldi").mkdir()
    (root / "kaldi/wav.scp").write_text(f"r {root}/a/1.wav\n")
    (root / "kaldi/segments").write_text("s1 r 0 0.1\n")
    (root / "table.csv").write_text("wav,id\na/1.wav,t1\n")
    (root / "some.txt").write_text("b/1.wav\na/1.wav\n\n")
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(
    ("inputs", "ids"),
    [
        (["a/1.wav", "b/1.wav"], ["a/1", "b/1"]),
        (["a", "kaldi"], ["1", "2_x", "s1"]),
        (["table.csv", "kaldi", "b/1.wav"], ["t1", "s1", "b/1"]),
        (["some.txt"], ["b/1", "a/1"]),
        (["wav.scp"], ["k1", "k2"]),
        (["."], ["k1", "k2"]),  # it holds wav.scp
    ],
)
def test_each_form_gives_its_utterances_in_order(root, inputs, ids):
    found = read_inputs(inputs)
    assert [u.id for u in found] == ids
    assert all(u.start == 0 and u.stop == 1600 for u in found)


@pytest.mark.parametrize(
    "inputs",
    [
        ["nowhere"],
        ["a", "b"],
        ["a/1.wav", "a/1.wav"],
        ["empty"],
        ["e.txt"],
        ["x.bin"],
        ["no"],
        ["a", "empty"],
    ],
)
def test_what_is_wrong_is_said(root, inputs):
    for folder in ("empty", "no"):
        (root / folder).mkdir()
    (root / "no/readme").touch()
    (root / "e.txt").write_text("\n")
    (root / "x.bin").touch()
    with pytest.raises(UserError) as error:
        read_inputs(inputs)
    assert inputs[-1] in str(error.value) or "'1'" in str(error.value) or "a/1" in str(error.value)
