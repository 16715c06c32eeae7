"""Encoders by name: folders, YAMLs of the package, and what is refused."""

from __future__ import annotations

import pytest
import torch

from acorl_sb.encoders.ge2e import GE2E
from acorl_sb.encoders.member_folder import WEIGHTS
from acorl_sb.encoders.named import load_named
from acorl_sb.utils.errors import UserError
from tests import folders, tiny
from tests.encoders.test_onnx_encoder import FEATURES, graph

WAVES = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))


def test_a_folder_and_its_yaml_with_weights_are_the_same_encoder(tmp_path):
    folder = folders.published(tmp_path / "published")
    wave = 0.1 * torch.randn(1, 8000)
    weights = str(tmp_path / "w.ckpt")
    torch.save(torch.load(folder / WEIGHTS, weights_only=True), weights)
    yaml = tmp_path / "encoder.yaml"
    yaml.write_text((folder / "hyperparams.yaml").read_text() + "embedding_dim: 16\n")
    with torch.no_grad():
        one, other = (e(wave) for e in (load_named(str(folder)), load_named(str(yaml), weights)))
    assert one.shape == (1, 16)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_random_weights_and_weights_too_many_are_refused(tmp_path):
    with pytest.raises(UserError, match="--weights"):
        load_named(str(tiny.ENCODERS / "ecapa.yaml"))
    folder = folders.published(tmp_path / "published")
    with pytest.raises(UserError, match="published"):
        load_named(str(folder), weights=str(folder / WEIGHTS))
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_named("nowhere.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folders.published(tmp_path_factory.mktemp("encoders") / "mine")


def test_a_hub_id_is_downloaded(folder, monkeypatch):
    asked = []

    def hub(source, **options):
        asked.append(source)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    assert load_named("speechbrain/spkrec").embedding_dim == 16
    assert asked == ["speechbrain/spkrec"]


def test_ge2e_by_its_name_and_by_its_yaml():
    with torch.no_grad():
        wanted = GE2E().eval()(WAVES)
        for name in ("ge2e", "encoders/ge2e.yaml", "hparams/encoders/ge2e.yaml"):
            torch.testing.assert_close(load_named(name)(WAVES), wanted)


def test_a_yaml_that_names_other_code_needs_trust(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("embedding_dim: 3\nembedding_model: !new:tests.encoders.sums.Sums {}\n")
    with pytest.raises(UserError):
        load_named(str(path))
    assert load_named(str(path), trust=True)(WAVES).shape == (2, 3)


@pytest.mark.parametrize(
    "source", ["nowhere", "./a/b", "../a/b", "/a/b", "a/b/c", "~/a", "x.onnx", "x.yaml", "a/", ""]
)
def test_what_is_no_encoder_is_refused_without_asking_anybody(source, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", pytest.fail)
    with pytest.raises(UserError):
        load_named(source)


def test_onnx_files_by_their_path_and_by_a_yaml_with_a_front_end(tmp_path, monkeypatch):
    waves = graph(tmp_path / "waves.onnx")
    mean = WAVES.square().mean(1, keepdim=True)
    wanted = (mean + 1) * torch.tensor([[1.0, 2, 3, 4]])
    torch.testing.assert_close(load_named(str(waves))(WAVES), wanted)
    features = graph(tmp_path / "encoder.onnx", "batch, frames, 80", FEATURES)
    with pytest.raises(UserError, match="onnx_fbank"):
        load_named(str(features))
    monkeypatch.chdir(tmp_path)
    assert load_named("encoders/onnx_fbank.yaml")(WAVES).shape == (2, 5)
