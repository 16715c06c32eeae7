"""Group-balanced sampling: how often each group is drawn, and that training asks for it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from acorl_sb.data.manifest import Utterance
from acorl_sb.training.balance import balance_weights
from acorl_sb.training.loading import make_loader
from acorl_sb.training.members import train_members
from acorl_sb.training.samplers import StepSampler
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils.errors import UserError
from tests import tiny


def spoken(ages, each=3):
    return [
        Utterance(f"s{s}-{u}", 1.0, "x.wav", 0, 16000, f"s{s}", attributes={"age": age})
        for s, age in enumerate(ages)
        for u in range(each)
    ]


def share(weights, utterances, age):
    inside = [u.attribute("age") == age for u in utterances]
    return weights[inside].sum() / weights.sum()


@pytest.mark.parametrize(("strength", "young"), [(0, 0.2), (0.5, 1 / 3), (1, 0.5)])
def test_strength_moves_a_group_from_its_share_to_an_equal_one(strength, young):
    heard = spoken(["9", "30", "30", "30", "30"])  # sqrt(1/5) : sqrt(4/5) is 1 : 2
    weights = balance_weights(heard, {"age": strength})
    assert weights.mean() == pytest.approx(1)
    assert share(weights, heard, "9") == pytest.approx(young)


def test_an_unknown_group_is_drawn_as_often_as_without():
    heard = spoken(["9", "30", "30", ""])
    weights = balance_weights(heard, {"age": 1.0})
    assert share(weights, heard, "") == pytest.approx(0.25)
    assert share(weights, heard, "9") == pytest.approx(0.375)


def test_speakers_without_groups_are_refused_by_the_name_of_the_column():
    with pytest.raises(UserError, match=r"'accent'.*age"):
        balance_weights(spoken(["9", "30"]), {"accent": 1.0})
    with pytest.raises(UserError, match="age"):
        balance_weights(spoken(["40", "30"]), {"age": 1.0})


def test_every_pass_has_each_item_as_often_as_its_weight():
    weights = np.array([0.5, 0.5, 0.25, 0.75, 1.0, 3.0])
    sampler = StepSampler(6, 2, 3, 1, weights=weights)
    passes = [
        [i for step in range(3) for _, i in sampler.indices(3 * n + step)] for n in range(400)
    ]
    for drawn in passes[:20]:
        counts = np.bincount(drawn, minlength=6)
        assert (counts >= np.floor(weights)).all() and (counts <= np.ceil(weights)).all()
    counts = np.bincount(np.concatenate(passes), minlength=6) / 400
    assert np.abs(counts - weights).max() < 0.1
    again = StepSampler(6, 2, 3, 1, weights=weights)
    assert again.indices(7) == sampler.indices(7)  # at any step, without those before it


def test_equal_weights_are_a_permutation_each_pass():
    sampler = StepSampler(5, 5, 1, 1, weights=np.ones(5))
    assert sorted(i for _, i in sampler.indices(3)) == [0, 1, 2, 3, 4]


def test_training_draws_by_the_weights_at_every_speed():
    heard = spoken(["9", "30", "30", "30"], each=1)
    data = TrainingSet(heard, lambda encoder: 0.1, [1.0, 0.9], {"age": 1.0})
    settings = tiny.settings(batch_size=8, epoch_steps=90)
    sampler = make_loader(data, settings, 1).batch_sampler
    drawn = Counter(i % 4 == 0 for step in range(90) for _, i in sampler.indices(step))
    assert drawn[True] / (8 * 90) == pytest.approx(0.5, abs=0.02)


def test_a_member_may_have_a_balance_of_its_own():
    heard = spoken(["9", "30", "30", "30"])
    data = TrainingSet(heard, lambda encoder: 0.1)
    assert data.weights is None
    other = data.adapted(tiny.settings(balance={"age": 1.0}))
    assert share(other.weights, heard, "9") == pytest.approx(0.5)
    assert other.adapted(tiny.settings()).weights is None
    with pytest.raises(UserError, match="balance"):
        tiny.settings(balance={"age": 1.5})


def test_a_column_that_lacks_is_refused_before_any_training(tmp_path):
    data = TrainingSet(tiny.hums(tmp_path / "data"), lambda encoder: 0.1)
    first = {"name": "a", "encoder": tiny.encoder_tree(), "objective": None}
    second = {**first, "name": "b", "training": {"balance": {"accent": 1.0}}}
    out, device = tmp_path / "out", torch.device("cpu")
    with pytest.raises(UserError, match="accent"):
        train_members([first, second], [], data, tiny.settings(), tiny.CPU, device, out)
    assert not out.exists()
