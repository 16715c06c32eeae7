"""Frozen means frozen: bits, mode, gradients, optimizers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble, goes_on_from, standing


class Encoder(nn.Module):
    embedding_dim = 3

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))

    def forward(self, x):
        return self.net(x)


def test_a_member_never_leaves_eval_mode_nor_changes_a_bit(device):
    torch.manual_seed(0)
    ensemble = FrozenEnsemble()
    member = ensemble.add("a", Encoder()).to(device)
    before = {k: v.clone() for k, v in member.state_dict().items()}
    holder = nn.ModuleDict({"reference": member, "other": nn.BatchNorm1d(2)})
    holder.train()
    assert holder["other"].training and not member.encoder.training
    for _ in range(3):
        (v,) = ensemble.embed(torch.randn(8, 5, device=device))
    assert not v.requires_grad and not any(p.requires_grad for p in member.parameters())
    assert all(torch.equal(before[k], v) for k, v in member.state_dict().items())


def test_order_dims_and_names():
    ensemble = FrozenEnsemble()
    ensemble.add("a", Encoder())
    wide = Encoder()
    wide.embedding_dim = 7
    ensemble.add("b", wide)
    assert ensemble.names == ["a", "b"] and ensemble.dims == [3, 7] and len(ensemble) == 2
    with pytest.raises(ValueError, match="'a'"):
        ensemble.add("a", Encoder())


def test_a_member_takes_the_place_of_the_one_that_it_replaces():
    ensemble, encoders = FrozenEnsemble(), {name: Encoder() for name in "abc"}
    ensemble.add("a", encoders["a"])
    ensemble.add("b", encoders["b"])
    others = ensemble.without("a")
    ensemble.add("c", encoders["c"], replaces="a")
    assert ensemble.names == ["c", "b"] and others.names == ["b"]
    assert [member.encoder for member in ensemble.members] == [encoders["c"], encoders["b"]]
    assert ensemble.without(None).names == ensemble.names
    with pytest.raises(ValueError, match="'b'"):
        ensemble.add("b", Encoder(), replaces="c")


def test_a_folder_to_go_on_from_replaces_nobody():
    specs = [
        {"name": "a", "start": "b"},  # b comes later: it is a folder
        {"name": "b", "start": "runs/a"},
        {"name": "c", "start": "a"},
        {"name": "d", "start": "c"},
    ]
    assert [goes_on_from(specs, i) for i in range(4)] == [None, None, "a", "c"]
    assert standing(specs[:3]) == ["c", "b"] and standing(specs) == ["d", "b"]


def test_an_ensemble_hides_from_modules():
    brain = nn.Module()
    brain.references = FrozenEnsemble()
    brain.references.add("a", Encoder())
    assert list(brain.parameters()) == []


def test_table_gives_the_rows_of_the_items(device):
    tables = [torch.arange(8.0).reshape(4, 2), torch.arange(4.0).reshape(4, 1)]
    a, b = EmbeddingTable(tables).to(device).embed(torch.tensor([2, 0], device=device))
    assert a.tolist() == [[4.0, 5.0], [0.0, 1.0]] and b.tolist() == [[2.0], [0.0]]
