"""Silence before and after speech is cut off; what has too little speech is left out."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from acorl_sb import corpora
from acorl_sb.corpora import trimming
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trials import TrialList
from tests import spoken, tiny


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """An utterance between two seconds of hiss, which begins within its file, and hiss alone."""
    folder = tmp_path_factory.mktemp("trim")
    wave = np.concatenate([spoken.noise(3), spoken.sentence(), spoken.noise(2)])
    soundfile.write(folder / "a.wav", wave, 16000)
    soundfile.write(folder / "b.wav", spoken.noise(1), 16000)
    stop = len(wave)
    speech = Utterance("a", (stop - 16000) / 16000, str(folder / "a.wav"), 16000, stop, "ann")
    hiss = Utterance("b", 1.0, str(folder / "b.wav"), 0, 16000, "bob")
    return speech, hiss, len(wave) - 32000


def test_an_utterance_begins_and_ends_with_its_speech(found):
    speech, hiss, end = found
    (made,) = trimming.trimmed([speech, hiss])
    assert made.id == "a" and made.wav == speech.wav
    assert abs(made.start - 48000) < 4000 and -16000 < made.stop - end < 4000
    assert made.duration == pytest.approx((made.stop - made.start) / 16000)


def test_what_trials_name_is_kept(found):
    trials = TrialList(["a", "b"], np.array([0]), np.array([1]), np.array([False]))
    made = trimming.trim_corpus(corpora.Corpus([found[1]], test=[*found[:2]], test_trials=trials))
    assert made.test[0].start > 16000 and made.test[1] == found[1]


def test_a_preparation_is_of_trimmed_utterances(tmp_path, monkeypatch):
    tiny.hums(tmp_path / "data", speakers=6, each=2, seconds=1.0)
    monkeypatch.setattr(trimming, "speech_spans", lambda x: [(1000, 9000), (10000, 15000)])
    settings = {"dev_speakers": 2, "test_speakers": 2}
    for vad in (False, True):
        splits = corpora.prepare("folder", tmp_path / "data", tmp_path / "out", vad=vad, **settings)
        for u in (u for path in splits[:3] for u in corpora.read_manifest(path)):
            assert (u.start, u.stop) == (1000, 15000) if vad else u.start == 0 and u.stop >= 16000
