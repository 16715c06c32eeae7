"""Member folders: written whole, loaded back to the bit, faults named."""

from __future__ import annotations

import pytest
import torch
from speechbrain.lobes.models.ECAPA_TDNN import Classifier

from acorl_sb.errors import UserError
from acorl_sb.members import build_encoder, load_member, load_weights, read_record, save_member
from tests import tiny

RECORD = {"name": "m", "settings": {"member": {}}, "dev_eer": 0.1, "seconds": 2}


@pytest.fixture()
def member(tmp_path):
    torch.manual_seed(0)
    tree = tiny.encoder_tree("resnet")
    encoder = build_encoder(tree, "resnet").eval()
    classifier = Classifier(input_size=12, out_neurons=3)
    save_member(tmp_path, encoder, tree, classifier, ["x", "y", "z"], RECORD)
    return tmp_path, encoder


@torch.no_grad()
def test_loaded_member_gives_the_same_embeddings(member):
    folder, encoder = member
    waves = torch.randn(2, 8000)
    loaded = load_member(folder)
    assert not loaded.training and loaded.embedding_dim == 12
    assert torch.equal(loaded(waves), encoder(waves))
    assert read_record(folder) == RECORD


@torch.no_grad()
def test_a_speechbrain_folder_need_not_name_its_dimension(member):
    folder, _ = member
    path = folder / "hyperparams.yaml"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("embedding_dim")]
    path.write_text("\n".join(kept))
    assert load_member(folder).embedding_dim == 12


def test_weights_are_plain(member):
    folder, _ = member
    for name in ("embedding_model.ckpt", "classifier.ckpt"):
        state = torch.load(folder / name, weights_only=True)
        assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_safetensors_are_taken_too(member, tmp_path):
    from safetensors.torch import save_file

    folder, encoder = member
    save_file(encoder.embedding_model.state_dict(), folder / "w.safetensors")
    other = build_encoder(tiny.encoder_tree("resnet"), "resnet")
    load_weights(other.embedding_model, folder / "w.safetensors")
    assert torch.equal(other.embedding_model.conv1.weight, encoder.embedding_model.conv1.weight)


@pytest.mark.parametrize("missing", ["hyperparams.yaml", "embedding_model.ckpt"])
def test_what_is_missing_is_named(member, missing):
    folder, _ = member
    (folder / missing).unlink()
    with pytest.raises(UserError, match=missing):
        load_member(folder)


def test_weights_of_another_encoder_are_refused(member):
    folder, _ = member
    torch.save({"a": torch.zeros(1)}, folder / "embedding_model.ckpt")
    with pytest.raises(UserError, match="not the weights of this encoder"):
        load_member(folder)


def test_an_unfinished_member_has_no_record(tmp_path):
    assert read_record(tmp_path) is None
    (tmp_path / "member.json").write_text("{")
    with pytest.raises(UserError, match="not readable as JSON"):
        read_record(tmp_path)
