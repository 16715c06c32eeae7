"""Extraction: order, centre crops, and independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acorl_sb.data.audio import read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.encoders.extraction import centre, embed_utterances
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.utils.precision import full_precision
from tests import tiny


@pytest.mark.parametrize(
    ("seconds", "span"), [(None, (100, 16100)), (0.5, (4100, 12100)), (3.0, (100, 16100))]
)
def test_centre(seconds, span):
    assert centre(Utterance("a", 1.0, "a.wav", 100, 16100, "s"), seconds, 16000) == span


@pytest.mark.parametrize("seconds", [None, 0.5])
@torch.no_grad()
@full_precision()
def test_each_row_is_what_the_utterance_gets_alone(tmp_path, seconds, device):
    utterances = tiny.hums(tmp_path, speakers=2, each=3)[::-1]
    torch.manual_seed(0)
    encoder = build_encoder(tiny.encoder_tree(), "ecapa")
    rows = [embed_utterances(encoder, utterances, seconds, n, device) for n in (1, 4)]
    for i, u in enumerate(utterances):
        wave = read_audio(u.wav, *centre(u, seconds, 16000))
        alone = encoder(torch.from_numpy(wave).unsqueeze(0).to(device))[0].cpu()
        for z in rows:
            assert float(1 - torch.cosine_similarity(z[i], alone, dim=0)) < 1e-6


def test_what_is_heard_is_embedded(tmp_path):
    utterances = tiny.hums(tmp_path, speakers=2, each=2)
    encoder = build_encoder(tiny.encoder_tree(), "ecapa")
    heard = []

    def only_its_end(wave, utterance):
        heard.append(utterance.id)
        return wave * (np.arange(len(wave)) > 4000)

    found = embed_utterances(encoder, utterances, 0.5, hear=only_its_end)
    assert sorted(heard) == sorted(u.id for u in utterances)
    for row, u in zip(found, utterances, strict=True):
        wave = read_audio(u.wav, *centre(u, 0.5, 16000))
        wave[:4001] = 0
        with torch.no_grad():
            alone = encoder(torch.from_numpy(wave).unsqueeze(0))[0]
        torch.testing.assert_close(row, alone, atol=1e-5, rtol=1e-5)
