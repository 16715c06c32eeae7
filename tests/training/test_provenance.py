"""What a member was trained with is told apart from everything else."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.member_folder import build_encoder, load_member, load_reference, save_member
from acorl_sb.training import provenance
from acorl_sb.utils.errors import UserError
from tests import tiny


def test_the_hash_is_of_names_types_shapes_and_bytes():
    module = nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 2.0]]))
        module.bias.copy_(torch.tensor([0.5]))
    said = b"bias torch.float32 (1,)\n" + b"\x00\x00\x00\x3f"
    said += b"weight torch.float32 (1, 2)\n" + b"\x00\x00\x80\x3f\x00\x00\x00\x40"
    assert provenance.weights_hash(module) == hashlib.sha256(said).hexdigest()


def test_every_change_of_weights_changes_the_hash():
    first = nn.BatchNorm1d(3)  # its counter has no dimension
    hashes = {provenance.weights_hash(first)}
    first(torch.randn(4, 3))
    hashes.add(provenance.weights_hash(first))
    hashes.add(provenance.weights_hash(first.double()))
    hashes.add(provenance.weights_hash(nn.Sequential(first)))
    hashes.add(provenance.weights_hash(first.to(torch.bfloat16)))
    assert len(hashes) == 5
    with torch.no_grad():
        first.weight[1] += 1
    assert provenance.weights_hash(first) not in hashes


def test_a_member_on_disk_has_the_hash_of_the_one_in_memory(tmp_path):
    tree = tiny.encoder_tree()
    encoder = build_encoder(tree, "x")
    record = {"name": "m", "settings": {}, "dev_eer": 0.1, "seconds": 1}
    save_member(tmp_path, encoder, tree, tiny.AAMHead(12, 2).classifier, ["a", "b"], record)
    ensemble = FrozenEnsemble()
    ensemble.add("m", load_member(tmp_path))
    assert provenance.reference_weights(ensemble) == {"m": provenance.weights_hash(encoder)}


def test_an_encoder_without_weights_of_its_own_is_the_same_every_time():
    spec = {"name": "p", "encoder": tiny.encoder_tree()}
    state = torch.get_rng_state()
    hashes = []
    for _ in range(2):
        hashes.append(provenance.weights_hash(load_reference(spec, "references[0]")))
        torch.manual_seed(3)
    assert hashes[0] == hashes[1]
    torch.set_rng_state(state)
    load_reference(spec, "references[0]")
    assert torch.equal(torch.get_rng_state(), state), "members' random numbers have moved"


def settings(objective, **references):
    spec = {"name": "b", "encoder": {"channels": 8}, "objective": objective}
    return provenance.member_settings(spec, 1, {"lr": 0.1}, references)


def test_what_is_not_known_on_both_sides_is_not_compared(tmp_path):
    full = settings("x", a="1" * 64)
    for other in (settings("x", a=None), {**full, "reference_weights": {}}):
        provenance.refuse_changes(tmp_path, full, other)
        provenance.refuse_changes(tmp_path, other, full)
    with pytest.raises(UserError, match=r"'a'"):
        provenance.refuse_changes(tmp_path, full, settings("x", a="2" * 64))
    assert settings(None, a="1" * 64) == settings(None, a="2" * 64), "it has no references"


def test_an_interrupted_training_is_compared_with_what_it_was_started_with(tmp_path):
    now = {**settings("x", a="1" * 64), "run": {"ranks": 1}}
    provenance.note_start(tmp_path, now)
    provenance.note_start(tmp_path, {**now, "index": 2})  # there is no checkpoint yet
    (tmp_path / "save" / "CKPT+1").mkdir()
    with pytest.raises(UserError, match="index"):
        provenance.note_start(tmp_path, now)
    provenance.note_start(tmp_path, {**now, "index": 2})
    with pytest.raises(UserError, match=r"run\.ranks"):
        provenance.refuse_other_start(tmp_path, {**now, "index": 2, "run": {"ranks": 2}})
    for damage in ("{", "[]", "\xff", "[" * 100_000):
        (tmp_path / "save" / "settings.json").write_bytes(damage.encode("latin1"))
        with pytest.raises(UserError, match=r"settings\.json"):
            provenance.note_start(tmp_path, now)


def test_a_key_that_older_records_do_not_have_is_compared_where_both_do(tmp_path):
    older, now = ({"training": keys} for keys in ({"seed": 1}, {"seed": 1, "dev_seconds": 2.0}))
    provenance.refuse_changes(tmp_path, older, now)
    provenance.refuse_changes(tmp_path, now, now)
    for other in (3.0, None):
        with pytest.raises(UserError, match="dev_seconds"):
            provenance.refuse_changes(
                tmp_path, now, {"training": {"seed": 1, "dev_seconds": other}}
            )
