"""WavLM as a front end, in a random tiny configuration; nothing is downloaded."""

from __future__ import annotations

import copy
import sys

import pytest
import torch

from acorl_sb.encoders.encoder import same_features
from acorl_sb.encoders.member_folder import build_encoder, load_member, save_member
from acorl_sb.encoders.named import load_named
from acorl_sb.encoders.wavlm import AveragedLayers, WavLMLayers
from acorl_sb.training.heads import AAMHead
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.yaml_dump import dump
from tests import tiny

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder as ``save_pretrained`` writes it: two layers of 16 channels."""
    folder = tmp_path_factory.mktemp("wavlm")
    config = transformers.WavLMConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_kernel=(10, 8),
        conv_stride=(20, 16),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        num_buckets=8,
        layerdrop=0.5,
    )
    torch.manual_seed(0)
    transformers.WavLMModel(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    return str(folder)


def keys(source):
    return tiny.encoder_tree("wavlm_ecapa", source=source, layers=3, layer_size=16)


def test_all_layers_one_after_another(source):
    waves = 0.1 * torch.randn(2, 8000)
    model = transformers.WavLMModel.from_pretrained(source).eval()
    with torch.no_grad():
        expected = torch.cat(model(waves, output_hidden_states=True).hidden_states, dim=2)
    front_end = WavLMLayers(source)
    assert (front_end.layers, front_end.channels) == (3, 16)
    torch.testing.assert_close(front_end(waves), expected, atol=1e-5, rtol=1e-4)


def test_the_average_of_layers_is_weighted():
    average = AveragedLayers(lambda x, lengths: x.mean(1), 3)
    x = torch.randn(2, 7, 12)
    layers = x.unflatten(2, (3, 4))
    torch.testing.assert_close(average(x), layers.mean(2).mean(1))
    with torch.no_grad():
        average.weights.copy_(torch.tensor([0.0, 50.0, 0.0]))
    torch.testing.assert_close(average(x), layers[:, :, 1].mean(1))


def test_it_is_frozen_and_the_rest_learns(source):
    encoder = build_encoder(keys(source), "x").train()
    names = {name for name, _ in encoder.named_parameters()}
    assert "embedding_model.weights" in names and not any("wavlm" in name for name in names)
    waves = 0.1 * torch.randn(4, 8000)
    first = encoder.compute_features(waves)
    assert torch.equal(first, encoder.compute_features(waves))  # no dropout, no layers left out
    encoder(waves).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in encoder.parameters() if p.dim())
    other = build_encoder(keys(source), "x")
    assert same_features(encoder, other)  # which is then computed once


def test_it_goes_where_the_encoder_goes(source, device):
    encoder = build_encoder(keys(source), "x").to(device).eval()
    assert encoder(0.1 * torch.randn(2, 8000, device=device)).shape == (2, 12)


def test_a_member_folder_comes_back(source, tmp_path):
    tree = keys(source)
    encoder = build_encoder(copy.deepcopy(tree), "x")
    encoder(0.1 * torch.randn(4, 8000))
    head = AAMHead(12, 3)
    save_member(tmp_path / "m", encoder, tree, head.classifier, ["a", "b", "c"], {})
    again = load_member(tmp_path / "m")
    waves = 0.1 * torch.randn(2, 9000)
    with torch.no_grad():
        assert torch.equal(again(waves), encoder.eval()(waves))


def test_its_yaml_alone_is_no_trained_encoder(source, tmp_path):
    (tmp_path / "theirs.yaml").write_text(dump(keys(source)))
    with pytest.raises(UserError):
        load_named(str(tmp_path / "theirs.yaml"))
    torch.save(build_encoder(keys(source), "x").embedding_model.state_dict(), tmp_path / "a.ckpt")
    encoder = load_named(str(tmp_path / "theirs.yaml"), str(tmp_path / "a.ckpt"))
    assert encoder(0.1 * torch.randn(1, 8000)).shape == (1, 12)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="nothing"):
        WavLMLayers(str(tmp_path / "nothing"))
    for name in [name for name in sys.modules if name.startswith("speechbrain.integrations.hugg")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="transformers"):
        WavLMLayers(str(tmp_path))
