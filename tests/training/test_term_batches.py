"""A term on its own batches and with out-of-fold references, trained to a member folder."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import ruamel.yaml
import torch
from torch import nn

from acorl_sb.complementarity import deal_folds
from acorl_sb.encoders.ensemble import FrozenEnsemble, OutOfFoldReferences
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.training import one_member
from acorl_sb.training.batchnorm import fixed_batch_statistics
from acorl_sb.training.dataset import StepBatches
from acorl_sb.training.loading import make_loader
from acorl_sb.training.members import train_members
from acorl_sb.training.one_member import train_member
from acorl_sb.training.speech import TrainingSet
from acorl_sb.training.term_settings import TermSettings
from acorl_sb.utils.errors import UserError
from tests import tiny

OBJECTIVE = """
objective: !name:acorl_sb.complementarity.Bounded
    part: !name:acorl_sb.complementarity.Adversarial
        hidden: 8
        adversary_steps: 2
    limit: 0.3
"""


def test_statistics_are_held_and_gradients_flow():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    x = torch.randn(8, 3)
    net(x)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with fixed_batch_statistics(net):
        assert net.training and net[2].training and not net[1].training
        torch.manual_seed(0)
        one = net(x[:1])
        torch.manual_seed(0)
        assert torch.equal(one, net(x[:1]))
        one.sum().backward()
    assert net[1].training and net[0].weight.grad.abs().sum() > 0
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    hums = tiny.hums(tmp_path_factory.mktemp("hums"), speakers=8)
    utterances = [replace(u, gender="fm"[int(u.spk_id[1:]) % 2]) for u in hums]
    return TrainingSet(utterances, lambda encoder: 0.1, [1.0, 0.9])


def ensemble(seed):
    torch.manual_seed(seed)
    made = FrozenEnsemble()
    made.add("a", build_encoder(tiny.encoder_tree(), "test"))
    return made


def term(data, own, honest):
    made = TermSettings()
    if own:
        made.data = TrainingSet(data.utterances, data.dev_error, [0.8])
        made.batch_size, made.each = 8, 2
    if honest:
        repeats = len((made.data or data).speeds)
        made.copies = OutOfFoldReferences([ensemble(1), ensemble(2)], deal_folds(8, 2, repeats))
    return made


def train(data, folder, changes, objective=OBJECTIVE, **more):
    tree = ruamel.yaml.YAML().load(objective or "objective: null")
    train_member(
        {"name": "b", "encoder": tiny.encoder_tree(), **tree},
        1,
        ensemble(0),
        [0.1],
        data,
        tiny.settings(batch_size=10, speeds=data.speeds, **more),
        tiny.RunOptions(
            device="cpu", ckpt_interval_steps=1, overridden_args={"device", "ckpt_interval_steps"}
        ),
        torch.device("cpu"),
        folder,
        changes,
    )
    return torch.load(folder / "embedding_model.ckpt", weights_only=True)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("honest", [False, True])
def test_an_interrupted_training_ends_with_the_same_weights(data, tmp_path, own, honest):
    whole = train(data, tmp_path / "whole", term(data, own, honest))
    plain = train(data, tmp_path / "plain", None)
    assert not all(torch.equal(plain[k], v) for k, v in whole.items()) or not (own or honest)
    again, steps = tiny.cut_and_resumed(
        one_member.ComplementaryBrain,
        lambda: train(data, tmp_path / "cut", term(data, own, honest)),
        at=4,
    )
    assert steps[4] > 1  # it went on, and did not begin anew
    assert all(torch.equal(again[k], v) for k, v in whole.items())


def test_only_the_copies_are_asked_and_each_about_its_own_fold(data, tmp_path):
    made = term(data, False, True)
    asked = {0: set(), 1: set()}
    for f, copy in enumerate(made.copies.copies):
        member = copy.members[0]
        member.forward = functools.partial(
            lambda f, forward, x: (asked[f].add(len(x)), forward(x))[1], f, member.forward
        )
    train(data, tmp_path / "b", made)
    assert asked[0] and asked[1] and max(asked[0] | asked[1]) < 10


def test_the_term_sees_its_batch_as_it_is_and_under_the_second_view(data, tmp_path, monkeypatch):
    made = term(data, True, False)
    made.second_view = lambda inputs, lengths: (-2 * inputs, lengths)
    seen = []
    original = one_member.ComplementaryBrain.embed_references

    def noting(self, inputs, features, batch):
        seen.append((inputs, batch.labels, batch.items))
        return original(self, inputs, features, batch)

    monkeypatch.setattr(one_member.ComplementaryBrain, "embed_references", noting)
    train(data, tmp_path / "b", made)
    batches = made.batches(tiny.settings(speeds=data.speeds), 1001)
    for step, (inputs, *names) in enumerate(seen, 1):
        wanted = batches(step).inputs
        assert torch.equal(inputs, torch.cat([wanted, -2 * wanted]))
        assert all(torch.equal(*name.chunk(2)) for name in names)
    assert len(seen) == 6


@pytest.mark.parametrize("own", [None, "once", "twice"])
def test_in_the_clean_view_references_see_crops_before_augmentation(
    data, tmp_path, monkeypatch, own
):
    made = term(data, own is not None, honest=True)
    if own == "twice":
        made.second_view = lambda inputs, lengths: (-2 * inputs, lengths)
    seen = []
    original = one_member.ComplementaryBrain.embed_references

    def noting(self, inputs, features, batch):
        seen.append((inputs, features))
        return original(self, inputs, features, batch)

    monkeypatch.setattr(one_member.ComplementaryBrain, "embed_references", noting)
    train(data, tmp_path / "b", made, view="clean")
    settings = tiny.settings(speeds=data.speeds, batch_size=10)
    loader = make_loader(data, settings, 1001)
    batches = made.batches(settings, 1001) or StepBatches(loader.dataset, loader.batch_sampler)
    for step, (inputs, features) in enumerate(seen, 1):
        wanted = batches(step).inputs
        assert torch.equal(inputs, torch.cat([wanted, wanted]) if own == "twice" else wanted)
        assert features is None
    assert len(seen) == 6


class Louder(nn.Module):
    """Changes each batch, or each second one."""

    def __init__(self, every=1):
        super().__init__()
        self.every, self.calls = every, 0

    def forward(self, inputs, lengths):
        self.calls += 1
        return (inputs if self.calls % self.every else 2 * inputs), lengths


def test_an_objective_on_unaugmented_crops_acts_on_no_others(data, tmp_path):
    plain = train(data, tmp_path / "plain", None, objective=None, augment=Louder())
    left = train(data, tmp_path / "left", None, view="unaugmented", augment=Louder())
    assert all(torch.equal(left[k], v) for k, v in plain.items())
    crop = train(data, tmp_path / "crop", None, augment=None)
    clean = train(data, tmp_path / "clean", None, view="unaugmented", augment=None)
    assert all(torch.equal(clean[k], v) for k, v in crop.items())
    kinds = [{}, {"view": "unaugmented"}, {"objective": None}]
    mixed = [
        train(data, tmp_path / f"mixed{i}", None, augment=Louder(2), **more)
        for i, more in enumerate(kinds)
    ]
    for one, other in ((0, 1), (1, 2)):
        assert not all(torch.equal(mixed[one][k], v) for k, v in mixed[other].items())


def test_own_batches_of_an_objective_on_unaugmented_crops_are_not_augmented(
    data, tmp_path, monkeypatch
):
    seen = []
    original = one_member.ComplementaryBrain.embed_references

    def noting(self, inputs, features, batch):
        seen.append(inputs)
        return original(self, inputs, features, batch)

    monkeypatch.setattr(one_member.ComplementaryBrain, "embed_references", noting)
    made = term(data, True, False)
    weights = train(data, tmp_path / "b", made, view="unaugmented", augment=Louder())
    batches = made.batches(tiny.settings(speeds=data.speeds), 1001)
    assert len(seen) == 6
    assert all(torch.equal(inputs, batches(i).inputs) for i, inputs in enumerate(seen, 1))
    plain = train(data, tmp_path / "plain", None, objective=None, augment=Louder())
    assert not all(torch.equal(plain[k], v) for k, v in weights.items())


def test_a_mask_hides_from_the_member_and_not_from_the_references(data, tmp_path, monkeypatch):
    hidden, asked = [], []

    def mask(features, encoder, inputs, labels):
        hidden.append((features.clone(), labels))
        return 0.5 * features

    brain = one_member.ComplementaryBrain
    original = brain.embed_references

    def noting(self, inputs, features, batch):
        asked.append((features, batch.labels))
        return original(self, inputs, features, batch)

    monkeypatch.setattr(brain, "embed_references", noting)
    made = TermSettings(mask=nn.Module())
    made.mask.forward = mask
    weights = train(data, tmp_path / "b", made)
    plain = train(data, tmp_path / "plain", TermSettings())
    assert not all(torch.equal(plain[k], v) for k, v in weights.items())
    assert len(hidden) == 6 and len(asked) == 12
    for one, other in zip(hidden, asked[:6], strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


PAIRS = """
objective: !name:acorl_sb.complementarity.FusedDPrime {}
"""


def test_the_keys_give_the_objective_batches_of_its_own(data, tmp_path, monkeypatch):
    """As the same settings given by hand do, and pairs of one group alone are in each."""
    seen = []
    brain = one_member.ComplementaryBrain
    original = brain.embed_references

    def noting(self, inputs, features, batch):
        seen.append(batch.labels.tolist())
        return original(self, inputs, features, batch)

    monkeypatch.setattr(brain, "embed_references", noting)
    keys = {"objective_per_class": 5, "objective_within": "gender"}
    by_key = train(data, tmp_path / "key", None, PAIRS, **keys)
    gender = [u.gender for u in data.utterances] * 2
    groups = dict(zip(data.labels, gender, strict=True))
    assert len(seen) == 6 and set(groups.values()) == {"f", "m"}
    for labels in seen:
        assert len({groups[label] for label in labels}) == 1
        assert sorted(labels.count(label) for label in set(labels)) == [5, 5]
    given = TermSettings(data=data, batch_size=10, each=5, groups=gender)
    by_hand = train(data, tmp_path / "hand", given, PAIRS)
    assert all(torch.equal(by_key[k], v) for k, v in by_hand.items())
    without = train(data, tmp_path / "without", None, PAIRS, objective_per_class=5)
    assert not all(torch.equal(by_key[k], v) for k, v in without.items())


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"objective_per_class": 3}, "objective_per_class"),  # of 10
        ({"objective_within": "gender"}, "objective_per_class"),
    ],
)
def test_keys_that_do_not_go_together(keys, named):
    with pytest.raises(UserError, match=named):
        tiny.settings(batch_size=10, **keys)


@pytest.mark.parametrize("column", ["nothing", "age"])
def test_groups_that_nobody_has_are_refused_before_any_training(data, tmp_path, column):
    tree = ruamel.yaml.YAML().load(PAIRS)
    specs = [{"name": "a", "encoder": tiny.encoder_tree(), "objective": None}]
    specs.append({"name": "b", "encoder": tiny.encoder_tree(), **tree})
    settings = tiny.settings(
        batch_size=10, speeds=data.speeds, objective_per_class=5, objective_within=column
    )
    with pytest.raises(UserError, match=column):
        train_members(*(specs, [], data, settings, tiny.CPU, torch.device("cpu"), tmp_path / "run"))
    assert not (tmp_path / "run").exists()
