"""One contract for every encoder: shapes, and no embedding depends on its neighbours."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import ruamel.yaml
import torch
from hyperpyyaml import resolve_references
from torch import nn
from torch.nn import functional as F

from acorl_sb.encoders.encoder import SpeakerEncoder, same_features
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.utils.errors import UserError

ENCODERS = Path(__file__).resolve().parents[2] / "hparams" / "encoders"


def small(name, **overrides):
    text = (ENCODERS / f"{name}.yaml").read_text()
    tree = ruamel.yaml.YAML().load(resolve_references(io.StringIO(text), overrides))
    torch.manual_seed(0)
    encoder = build_encoder(tree, name)
    encoder.train()  # batch statistics that are not 0 and 1
    encoder(torch.randn(8, 16000))
    return encoder.eval()


@pytest.fixture(scope="module", params=["ecapa", "resnet"])
def encoder(request):
    return small(request.param, channels=16, embedding_dim=24)


@torch.no_grad()
def test_waves_or_features_give_the_same_embeddings(encoder):
    waves = torch.randn(3, 12000)
    z = encoder(waves)
    assert z.shape == (3, 24)
    torch.testing.assert_close(encoder(encoder.features(waves)), z)


@torch.no_grad()
def test_batch_size_and_padding_change_nothing(encoder):
    torch.manual_seed(1)
    lengths = [9000, 16000, 12345, 9000]
    waves = [torch.randn(n) for n in lengths]
    alone = torch.cat([encoder(wave.unsqueeze(0)) for wave in waves])
    padded = torch.stack([F.pad(wave, (0, 16000 - len(wave))) for wave in waves])
    batch = encoder(padded, torch.tensor(lengths) / 16000)
    assert float((1 - F.cosine_similarity(alone, batch)).max()) < 1e-6
    garbage = padded.clone()
    garbage[0, 9000:] = 5.0
    again = encoder(garbage, torch.tensor(lengths) / 16000)
    assert float((1 - F.cosine_similarity(alone, again)).max()) < 1e-6


def test_lengths_in_a_training_batch_are_refused():
    encoder = small("ecapa", channels=16, embedding_dim=24).train()
    with pytest.raises(ValueError):
        encoder(torch.randn(2, 16000), torch.tensor([0.5, 1.0]))


@torch.no_grad()
def test_any_module_on_waves():
    class Energy(nn.Module):
        def forward(self, waves):
            return torch.stack([waves.square().mean(1), waves.abs().amax(1)], 1)

    encoder = SpeakerEncoder(Energy(), 2).eval()
    z = encoder(torch.ones(3, 100))
    assert z.tolist() == [[1.0, 1.0]] * 3


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match="'embedding_model'"):
        build_encoder({"embedding_dim": 3}, "mine")


def test_features_are_lent_only_where_they_are_the_same():
    ecapa, resnet = (small(name, channels=8) for name in ("ecapa", "resnet"))
    assert same_features(ecapa, resnet)
    assert not same_features(ecapa, small("ecapa", channels=8, n_mels=30))
    assert not same_features(ecapa, SpeakerEncoder(nn.Linear(8000, 3), 3))
    assert not same_features(ecapa, nn.Linear(3, 3))
    resnet.mean_var_norm.norm_type = "global"
    assert not same_features(ecapa, resnet)
