"""Speech is found between what is none, and too little of it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acorl_sb.data.vad import keep_speech, speech_spans
from acorl_sb.utils.errors import UserError
from tests import spoken


def test_speech_is_found_where_it_is():
    speech, noise = spoken.sentence(), spoken.noise(3)
    alone = speech_spans(speech)
    spans = speech_spans(np.concatenate([noise, speech, noise]))
    assert sum(b - a for a, b in alone) > 0.6 * len(speech)
    assert spans[0][0] > len(noise) - 4000 and spans[-1][1] < len(noise) + len(speech) + 4000
    lengths = [sum(b - a for a, b in found) for found in (alone, spans)]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.3)


def test_what_is_kept_are_the_spans():
    wave = np.concatenate([spoken.sentence(), spoken.noise(1)])
    kept = np.concatenate([wave[a:b] for a, b in speech_spans(wave)])
    np.testing.assert_array_equal(keep_speech(wave), kept)


@pytest.mark.parametrize("wave", [spoken.noise(2), np.zeros(100, np.float32)])
def test_without_speech_the_recording_is_refused(wave):
    assert speech_spans(wave) == []
    with pytest.raises(UserError, match=r"a\.wav"):
        keep_speech(wave, "a.wav")


def test_the_least_speech_can_be_chosen():
    with pytest.raises(UserError):
        keep_speech(spoken.sentence(), least=60)


def test_detection_leaves_threads_and_random_numbers_as_they_were():
    torch.set_num_threads(2)
    before = torch.random.get_rng_state()
    speech_spans(spoken.noise(1))
    assert torch.get_num_threads() == 2
    assert torch.equal(before, torch.random.get_rng_state())
