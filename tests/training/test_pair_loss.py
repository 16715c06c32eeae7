"""The task loss on pairs: against its closed form, and in the training of a member."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import ruamel.yaml
import torch

from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.training import one_member
from acorl_sb.training.loading import pair_groups
from acorl_sb.training.members import train_members
from acorl_sb.training.one_member import train_member
from acorl_sb.training.pair_loss import DLoss
from acorl_sb.training.speech import TrainingSet
from acorl_sb.training.term_settings import TermSettings
from acorl_sb.utils.errors import UserError
from tests import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    hums = tiny.hums(tmp_path_factory.mktemp("hums"), speakers=8)
    utterances = [replace(u, gender="fm"[int(u.spk_id[1:]) % 2]) for u in hums]
    return TrainingSet(utterances, lambda encoder: 0.1)


def train(data, folder, objective=None, **more):
    ensemble = FrozenEnsemble()
    if objective is not None:
        torch.manual_seed(0)
        ensemble.add("a", build_encoder(tiny.encoder_tree(), "test"))
    tree = ruamel.yaml.YAML().load(f"objective: {objective or 'null'}")
    train_member(
        {"name": "b", "encoder": tiny.encoder_tree(), **tree},
        1,
        ensemble,
        [0.1] * len(ensemble),
        data,
        tiny.settings(batch_size=10, **more),
        tiny.RunOptions(
            device="cpu", ckpt_interval_steps=1, overridden_args={"device", "ckpt_interval_steps"}
        ),
        torch.device("cpu"),
        folder,
    )
    return torch.load(folder / "embedding_model.ckpt", weights_only=True)


def same(a, b):
    return all(torch.allclose(a[k].float(), b[k].float(), rtol=1e-4, atol=1e-5) for k in a)


def test_it_is_the_closed_form():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(12, 5)), np.repeat(np.arange(4), 3)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    i, j = np.triu_indices(12, 1)
    scores, target = np.sum(unit[i] * unit[j], axis=1), labels[i] == labels[j]
    t, n = scores[target], scores[~target]
    d = (t.mean() - n.mean()) / np.sqrt((t.var() + n.var()) / 2)
    # c of (5) at p = 0.3
    c = 2.0 * (2 / (1 + np.exp(-3.0)) - 1)
    given = torch.tensor(np.where(d > 0, 1, -1) * z), torch.tensor(labels)
    loss, told = DLoss(weight=2.0)(*given, 0.3)
    assert told.item() == pytest.approx(d, rel=1e-5)
    assert loss.item() == pytest.approx(-2 * c * np.log(max(d, 0.05)), rel=1e-5)
    assert not told.requires_grad


def test_a_first_member_learns_what_the_objective_of_that_loss_teaches(data, tmp_path):
    """Its batches, their augmentation and its gradient are those of ``OwnDPrime`` with the keys."""
    by_key = train(data, tmp_path / "key", pair_loss=DLoss(3.0, per_class=5, within="gender"))
    objective = (
        "!name:acorl_sb.complementarity.OwnDPrime\n"
        "    schedule: !new:acorl_sb.complementarity.Ramp {weight: 3.0}"
    )
    keys = {"objective_per_class": 5, "objective_within": "gender"}
    assert same(by_key, train(data, tmp_path / "objective", objective, **keys))
    assert not same(by_key, train(data, tmp_path / "without"))
    assert not same(by_key, train(data, tmp_path / "all", pair_loss=DLoss(3.0, per_class=5)))


def test_an_objective_keeps_its_own_view_beside_it(data, tmp_path, monkeypatch):
    """The objective is asked about the task's batches, the pairs are of one group each."""
    asked, paired = [], []
    brain, call = one_member.ComplementaryBrain, DLoss.__call__
    original = brain.embed_references

    def noting(self, inputs, features, batch):
        asked.append(batch.labels.tolist())
        return original(self, inputs, features, batch)

    def pairing(self, z, labels, progress):
        paired.append(labels.tolist())
        return call(self, z, labels, progress)

    monkeypatch.setattr(brain, "embed_references", noting)
    monkeypatch.setattr(DLoss, "__call__", pairing)
    objective = "!name:acorl_sb.complementarity.Nontarget"
    train(data, tmp_path / "b", objective, pair_loss=DLoss(per_class=5, within="gender"))
    gender = {label: u.gender for label, u in zip(data.labels, data.utterances, strict=True)}
    assert len(asked) == len(paired) == 6
    for labels in paired:
        assert len({gender[label] for label in labels}) == 1
        assert sorted(labels.count(label) for label in set(labels)) == [5, 5]
    assert any(len({gender[label] for label in labels}) == 2 for labels in asked)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_training_ends_with_the_same_weights(data, tmp_path, workers):
    """Also where the step that goes on begins the processes that make batches."""
    given = {"pair_loss": DLoss(per_class=5), "workers": workers}
    whole = train(data, tmp_path / "whole", **given)
    again, steps = tiny.cut_and_resumed(
        one_member.SpeakerBrain, lambda: train(data, tmp_path / "cut", **given), at=4
    )
    assert steps[4] > 1  # it went on, and did not begin anew
    assert all(torch.equal(again[k], v) for k, v in whole.items())


def test_processes_that_make_batches_ahead_change_nothing(data, tmp_path):
    given = {"pair_loss": DLoss(per_class=5, within="gender")}
    alone = train(data, tmp_path / "alone", **given)
    ahead = train(data, tmp_path / "ahead", workers=2, **given)
    assert all(torch.equal(alone[k], v) for k, v in ahead.items())


def test_what_the_loader_augmented_is_not_augmented_again(data, tmp_path, monkeypatch):
    """As beside a GPU, where the step would wait for it; this augmentation draws nothing."""

    class Squared(torch.nn.Module):
        def forward(self, x, lengths):
            return x * x.abs(), lengths

    given = {"pair_loss": DLoss(per_class=5), "augment": Squared()}
    in_step = train(data, tmp_path / "step", **given)
    monkeypatch.setattr(one_member, "augments_early", lambda augment, device: True)
    assert same(in_step, train(data, tmp_path / "loader", **given))
    # An own batch that is made in a step leaves the step's random numbers as they were.
    given["augment"] = tiny.settings().augment
    in_process = train(data, tmp_path / "process", **given)
    assert same(in_process, train(data, tmp_path / "worker", workers=1, **given))
    monkeypatch.setattr(one_member, "augments_early", lambda augment, device: False)
    given["augment"] = Squared()
    assert not same(in_step, train(data, tmp_path / "none", **{**given, "augment": None}))


@pytest.mark.parametrize(
    "arguments",
    [{"per_class": 1}, {"per_class": 2.5}, {"per_class": True}, {"within": 3}, {"weight": -1.0}],
)
def test_values_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError):
        DLoss(**arguments)


def test_a_batch_that_the_classes_do_not_divide_is_refused():
    with pytest.raises(UserError, match="pair_loss"):
        tiny.settings(batch_size=10, pair_loss=DLoss(per_class=4))


@pytest.mark.parametrize("column", ["nothing", "age"])
def test_groups_that_nobody_has_are_refused_before_any_training(data, tmp_path, column):
    train_on = functools.partial(train_members, run_opts=tiny.CPU, device=torch.device("cpu"))
    training = ruamel.yaml.YAML().load(
        f"pair_loss: !new:acorl_sb.training.pair_loss.DLoss\n    per_class: 5\n    within: {column}"
    )
    tree = {"encoder": tiny.encoder_tree(), "objective": None}
    specs = [{"name": "a", **tree}, {"name": "b", **tree, "training": training}]
    settings = tiny.settings(batch_size=10)
    with pytest.raises(UserError, match=column):
        train_on(specs, [], data, settings, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "keys",
    [{"objective_per_class": 6}, {"pair_loss": DLoss(per_class=6)}],
    ids=["objective_per_class", "pair_loss"],
)
def test_a_batch_has_room_for_two_speakers(keys):
    tiny.settings(batch_size=12, **keys)
    with pytest.raises(UserError, match="batch_size"):
        tiny.settings(batch_size=6, **keys)


@pytest.mark.parametrize("key", ["pair_loss", "objective_within"])
def test_groups_without_a_pair_of_speakers_give_no_batches(data, key):
    def groups(of_speaker):
        utterances = [replace(u, gender=of_speaker[int(u.spk_id[1:])]) for u in data.utterances]
        found = TrainingSet(utterances, data.dev_error)
        settings = tiny.settings(
            **{"batch_size": 10, "objective_per_class": 5, "objective_within": "gender"},
            pair_loss=DLoss(per_class=5, within="gender"),
        )
        if key == "pair_loss":
            return pair_groups(found, settings)
        return TermSettings().with_batches(found, settings).groups

    known = groups("aabbbbcd")
    assert {*known} == {"a", "b", ""}
    assert [not group for group in known] == [u.spk_id in ("s6", "s7") for u in data.utterances]
    with pytest.raises(UserError, match=key):
        groups("abcdefgh")
