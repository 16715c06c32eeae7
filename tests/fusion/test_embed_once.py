"""Embeddings that are kept are those of the encoder that is asked for."""

from __future__ import annotations

import numpy as np
import torch

from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.fusion.embed_once import embed_once
from tests import tiny


def test_another_front_end_before_the_same_weights_is_another_encoder(tmp_path):
    speech = tiny.hums(tmp_path / "speech", speakers=2, each=1, seconds=0.3)
    for f_min in (0.0, 40.0):
        torch.manual_seed(0)
        encoder = build_encoder(tiny.encoder_tree(f_min=f_min), "ecapa").eval()
        for _ in range(2):
            made = embed_once(encoder, "mine.yaml", speech, tmp_path / "kept", None, "cpu", "embed")
            expected = embed_utterances(encoder, speech).numpy()
            np.testing.assert_allclose(made.vectors, expected, rtol=1e-5, atol=1e-5)
