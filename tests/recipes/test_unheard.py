"""A member's error on its own training speakers at other speeds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from acorl_sb.data.audio import read_audio
from acorl_sb.encoders.extraction import centre
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.utils.errors import UserError
from tests import tiny

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "recipes" / "speechocean762"))

from unheard import at_speed, few


def test_trials_are_of_the_speakers_with_enough_utterances(tmp_path):
    utterances = tiny.hums(tmp_path, speakers=3, each=4)[:-2]  # the last speaker has two left
    side = few(utterances, each=3, seconds=0.7)
    assert [u.id for u in side.utterances] == [f"s{s}-u{u}" for s in range(2) for u in range(3)]
    speaker = np.array([u.spk_id for u in side.utterances])
    same = speaker[side.enrol] == speaker[side.test]
    np.testing.assert_array_equal(same, side.trials.labels)
    with pytest.raises(UserError):
        few(utterances, each=5, seconds=0.7)


@torch.no_grad()
def test_a_faster_voice_is_shorter_and_higher(tmp_path):
    side = few(tiny.hums(tmp_path, speakers=2, each=2), each=2, seconds=0.7)
    encoder = build_encoder(tiny.encoder_tree(), "x").eval()
    natural, faster = (at_speed(encoder, side, speed, 0.5) for speed in (1.0, 1.25))
    for row, u in enumerate(side.utterances):
        plain = read_audio(u.wav, *centre(u, 0.5, 16000))
        quick = resample_poly(read_audio(u.wav, *centre(u, 0.625, 16000)), 4, 5)
        assert len(quick) == len(plain) == 8000
        for found, wave in ((natural, plain), (faster, quick.astype(np.float32))):
            alone = encoder(torch.from_numpy(wave)[None])[0]
            cosine = torch.cosine_similarity(torch.from_numpy(found[row]), alone, dim=0)
            assert float(cosine) > 0.999  # two resamplers differ in their filters
    assert np.abs(natural - faster).max() > 0.01
