"""LibriSpeech's layout: subset / speaker / chapter."""

from __future__ import annotations

import pytest

from acorl_sb import corpora
from acorl_sb.corpora import librispeech
from acorl_sb.utils.errors import UserError

TRAIN = [
    f"train-clean-100/{s}/{c}/{s}-{c}-{k:04d}.flac"
    for s in (11, 12, 13)
    for c in (5, 6)
    for k in (0, 1)
]
TEST = [f"test-other/{s}/{c}/{s}-{c}-0000.flac" for s in (21, 22) for c in (7, 8)]


def test_subsets_become_splits(audio_tree):
    root = audio_tree("LibriSpeech", [*TRAIN, *TEST, "dev-clean/31/9/31-9-0001.wav"])
    (root / "SPEAKERS.TXT").write_text("; comment | x\n11   | F | train-clean-100 | 25 | A B\n")
    found = librispeech.collect(root)
    assert [len(part) for part in (found.train, found.dev, found.test)] == [12, 1, 4]
    first = found.train[0]
    assert (first.id, first.spk_id, first.session, first.gender) == ("11-5-0000", "11", "5", "f")
    assert found.test[0].gender == ""


def test_the_folder_may_lie_above_or_below(audio_tree):
    root = audio_tree("up/LibriSpeech", [*TRAIN, *TEST])
    assert librispeech.collect(root.parent) == librispeech.collect(root)
    subset = librispeech.collect(root / "train-clean-100")
    assert subset.train == librispeech.collect(root).train and not subset.test


def test_test_subsets_alone_are_split_by_speaker(audio_tree):
    found = librispeech.collect(audio_tree("data", TEST))
    assert len(found.train) == 4 and not found.dev and not found.test


@pytest.mark.parametrize(
    ("files", "where"),
    [
        (["a/b.wav"], None),
        (["train-x/1/2.flac"], "train-x/1/2.flac"),
        (["train-x/1/2/3-2-0000.flac"], None),
    ],
)
def test_other_layouts_are_named(audio_tree, files, where):
    with pytest.raises(UserError, match=where):
        librispeech.collect(audio_tree("data", files))


def test_the_real_corpus(real_data, tmp_path):
    splits = corpora.prepare("librispeech", real_data / "LibriSpeech", tmp_path)
    train, dev, test = (corpora.read_manifest(path) for path in splits[:3])
    assert len({u.spk_id for u in train}) == len(train) == 251
    assert len({u.spk_id for u in dev}) == len({u.spk_id for u in test}) == 5
    assert {u.gender for u in [*train, *dev, *test]} == {"m", "f"}
