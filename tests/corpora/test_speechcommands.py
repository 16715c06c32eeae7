"""Speech Commands' layout: speaker / utterance, no split."""

from __future__ import annotations

import pytest

from acorl_sb.corpora import speechcommands
from acorl_sb.utils.errors import UserError


def test_all_train(audio_tree):
    files = [f"{s}/{k:02d}.wav" for s in ("0c40e715", "ffffffff") for k in range(3)]
    root = audio_tree("SpeechCommands", files)
    found = speechcommands.collect(root)
    assert [u.id for u in found.train[:2]] == ["0c40e715-00", "0c40e715-01"]
    assert len(found.train) == 6 and not found.dev and not found.test
    assert speechcommands.collect(root.parent) == found


@pytest.mark.parametrize("file", ["yes/0c40e715_nohash_0.wav", "0c40e715/more/00.wav", "00.wav"])
def test_other_layouts_are_named(audio_tree, file):
    with pytest.raises(UserError, match=file):
        speechcommands.collect(audio_tree("data", [file]))


def test_the_real_corpus(real_data):
    found = speechcommands.collect(real_data / "SpeechCommands")
    assert len({u.spk_id for u in found.train}) == 194
