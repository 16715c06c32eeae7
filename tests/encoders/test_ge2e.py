"""GE2E behind our contract: the embeddings of resemblyzer, on batches of waves."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from acorl_sb.encoders import ge2e
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.training.members import train_members
from acorl_sb.training.speech import TrainingSet
from acorl_sb.training.train_options import TrainOptions
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.options import read
from acorl_sb.utils.precision import full_precision
from tests import tiny

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A checkpoint of resemblyzer's form with random weights: CI has no trained ones."""
    torch.manual_seed(0)
    state = {
        **{f"lstm.{k}": v for k, v in torch.nn.LSTM(40, 256, 3).state_dict().items()},
        **{f"linear.{k}": v for k, v in torch.nn.Linear(256, 256).state_dict().items()},
        "similarity_weight": torch.tensor([1.0]),  # theirs has more than the encoder
    }
    path = tmp_path_factory.mktemp("ge2e") / "pretrained.pt"
    torch.save({"step": 1, "model_state": state}, path)
    return path


@pytest.fixture(scope="module")
def theirs():
    """resemblyzer itself, where it is installed."""
    pytest.importorskip("resemblyzer", reason="the optional package resemblyzer is not here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder, audio
    return VoiceEncoder("cpu", verbose=False), audio


@pytest.mark.parametrize("samples", [3000, 16000, 25600, 41234, 80000, 130001])
@pytest.mark.parametrize("scale", [0.003, 0.3])
def test_embeddings_are_resemblyzers(theirs, samples, scale):
    encoder, audio = theirs
    generator = np.random.default_rng(samples)
    wave = (scale * generator.standard_normal(samples).cumsum() / 50).clip(-1, 1)
    wave = wave.astype(np.float32)
    loud = audio.normalize_volume(wave, -30, increase_only=True).astype(np.float32)
    expected = encoder.embed_utterance(loud)
    with torch.no_grad():
        ours = ge2e.GE2E().eval()(torch.from_numpy(wave)[None])[0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_windows_are_resemblyzers(theirs, untrained):
    encoder, _ = theirs
    ours = ge2e.GE2E(untrained)
    for samples in range(1, 120_000, 617):
        _, mel_slices = encoder.compute_partial_slices(samples, 1.3, 0.75)
        assert ours.window_starts(samples) == [s.start for s in mel_slices]


def test_a_wave_is_covered_but_for_a_quarter_of_a_window(untrained):
    encoder = ge2e.GE2E(untrained)
    for samples in (1, 8000, 25600, 25601, 50000, 333_333):
        starts = encoder.window_starts(samples)
        assert starts[0] == 0 and set(np.diff(starts)) <= {encoder.frame_step}
        left = samples - (starts[-1] + ge2e.PARTIAL) * ge2e.HOP
        assert left < encoder.frame_step * ge2e.HOP


@full_precision()
def test_batch_neighbours_and_loudness_do_not_matter(untrained, device):
    model = ge2e.GE2E(untrained)
    encoder = SpeakerEncoder(model, model.embedding_dim).to(device).eval()
    torch.manual_seed(0)
    waves = 0.005 * torch.randn(3, 30000, device=device)
    with torch.no_grad():
        together = encoder(waves)
        alone = torch.cat([encoder(w[None]) for w in waves])
        quieter = encoder(waves / 10)
    assert together.shape == (3, 256) and bool((together >= 0).all())
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3, device=device))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together, quieter, atol=1e-5, rtol=0)


def test_silence_is_no_nan(untrained):
    with torch.no_grad():
        assert torch.isfinite(ge2e.GE2E(untrained)(torch.zeros(1, 20000))).all()


def test_its_yaml_trains_a_member_against_it(untrained, tmp_path):
    lists = read(TrainOptions, [str(ROOT / "hparams" / "acorl_ge2e.yaml")]).lazy
    lists["references"][0]["encoder"]["embedding_model"]["weights"] = str(untrained)
    lists["members"][0]["encoder"] = tiny.encoder_tree()
    data = TrainingSet(tiny.hums(tmp_path / "hums"), lambda encoder: 0.1)
    frozen = torch.load(untrained, weights_only=True)["model_state"]
    ensemble = train_members(
        lists["members"],
        lists["references"],
        data,
        tiny.settings(epochs=1),
        tiny.CPU,
        torch.device("cpu"),
        tmp_path / "members",
    )
    assert ensemble.names == ["ge2e", "complement"] and ensemble.dims == [256, 12]
    kept = ensemble.members[0].encoder.embedding_model.state_dict()
    assert all(torch.equal(value, frozen[key]) for key, value in kept.items())
    line = json.loads((tmp_path / "members" / "complement" / "train_log.jsonl").read_text())
    assert 0 < line["adversary_loss"] < 2


def test_a_missing_package_and_other_weights_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'acorl_sb\[ge2e\]'"):
        ge2e.GE2E()
    with pytest.raises(UserError):
        ge2e.GE2E(tmp_path / "none.pt")
    torch.save({"model_state": {}}, tmp_path / "other.pt")
    with pytest.raises(UserError):
        ge2e.GE2E(tmp_path / "other.pt")
