"""Member folders: written whole, loaded back to the bit, faults named."""

from __future__ import annotations

import hashlib
import json

import huggingface_hub
import pytest
import torch
from speechbrain.lobes.models.ECAPA_TDNN import Classifier

from acorl_sb.encoders.member_folder import (
    build_encoder,
    load_member,
    load_reference,
    read_record,
    save_member,
)
from acorl_sb.encoders.start import load_start
from acorl_sb.encoders.weights import load_weights
from acorl_sb.utils.errors import UserError
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
    with pytest.raises(UserError):
        load_member(folder)


def test_an_unfinished_member_has_no_record(tmp_path):
    assert read_record(tmp_path) is None
    (tmp_path / "member.json").write_text("{")
    with pytest.raises(UserError):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": []}, {"settings": None}, {"dev_eer": "0.1"}, {"dev_eer": None},
        {"dev_eer": float("nan")}, {"seconds": [1]}, {"seconds": True}, {"dev_eer": float("inf")},
    ],
)  # fmt: skip
def test_a_record_of_wrong_kinds_is_named(tmp_path, change):
    (tmp_path / "member.json").write_text(json.dumps({**RECORD, **change}))
    with pytest.raises(UserError, match=r"member.json"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "content", [b"[]", b"3", b"\xff", b"[" * 100_000, b"", b'{"settings": {}}']
)
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "member.json").write_bytes(content)
    with pytest.raises(UserError, match=r"member.json"):
        read_record(tmp_path)


def test_an_embedding_dim_that_is_not_the_encoders_is_refused(member):
    folder, _ = member
    path = folder / "hyperparams.yaml"
    path.write_text(path.read_text().replace("embedding_dim: 12", "embedding_dim: 13"))
    with pytest.raises(UserError, match="embedding_dim"):
        load_member(folder)


def test_a_folder_of_another_rate_is_no_reference(member):
    folder, _ = member
    path = folder / "hyperparams.yaml"
    path.write_text(path.read_text().replace("sample_rate: 16000", "sample_rate: 8000", 1))
    with pytest.raises(UserError, match=r"references\[0\].*16000"):
        load_reference({"folder": folder}, "references[0]")


@pytest.mark.parametrize("key", ["folder", "source"])
def test_the_hash_of_a_priors_weights_is_checked(member, key):
    folder, _ = member
    digest = hashlib.sha256((folder / "embedding_model.ckpt").read_bytes()).hexdigest()
    assert load_reference({key: folder, "sha256": digest}, "x").embedding_dim == 12
    with pytest.raises(UserError, match="sha256"):
        load_reference({key: folder, "sha256": "0" * 64}, "x")


@torch.no_grad()
def test_a_source_of_the_hub_is_its_folder_at_the_revision(member, monkeypatch):
    folder, encoder = member
    asked = []

    def snapshot(source, revision, allow_patterns):
        asked.append((source, revision))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    loaded = load_reference({"source": "somebody/encoder", "revision": "abc"}, "x")
    waves = torch.randn(2, 8000)
    assert torch.equal(loaded(waves), encoder(waves)) and asked == [("somebody/encoder", "abc")]


@pytest.mark.parametrize("trust", ["yes", 1, None, "true"])
def test_trust_is_said_as_true_or_not_at_all(member, trust):
    with pytest.raises(UserError, match="trust"):
        load_reference({"folder": member[0], "trust": trust}, "x")


@pytest.mark.parametrize(
    "content", ["x", "'a' => b", "a => 1", "os.system('ls') => 0", "\udcff", "'x' => 0\n'y' => 7"]
)
def test_a_damaged_label_encoder_is_named(member, content):
    folder, encoder = member
    (folder / "label_encoder.ckpt").write_text(content, errors="surrogateescape")
    with pytest.raises(UserError, match="label_encoder"):
        load_start(folder, encoder, Classifier(input_size=12, out_neurons=3), ["x"])


def test_a_safetensors_file_that_is_none_is_named(tmp_path, member):
    (tmp_path / "w.safetensors").write_text("nothing")
    with pytest.raises(UserError, match=r"w.safetensors"):
        load_weights(member[1].embedding_model, tmp_path / "w.safetensors")
