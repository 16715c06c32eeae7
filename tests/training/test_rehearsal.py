"""A step on noise before any work: it finds what does not fit, and leaves no trace."""

from __future__ import annotations

import contextlib
import functools
import random

import numpy as np
import pytest
import ruamel.yaml
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.utils.run_opts import RunOptions
from torch import nn

from acorl_sb.training.heads import SoftmaxHead
from acorl_sb.training.rehearsal import rehearse
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils.errors import UserError
from tests import tiny

ACORL = """
objective: !name:acorl_sb.complementarity.Adversarial
    schedule: !new:acorl_sb.complementarity.Ramp {weight: 2.0}
    hidden: 16
"""


class Half(nn.Module):
    """An augmentation that loses examples."""

    def forward(self, waves, lengths):
        return waves[1:], lengths[1:]


def lists(objective=ACORL, **encoder):
    """Two members, the second with an objective and changes of its encoder."""
    tree = ruamel.yaml.YAML().load(objective)
    first = {"name": "a", "encoder": tiny.encoder_tree(), "objective": None}
    return [first, {"name": "b", "encoder": tiny.encoder_tree(**encoder), **tree}]


def looking_far():
    """The first member's network looks beyond a crop of 10 frames."""
    members = lists()
    members[0]["encoder"]["embedding_model"]["dilations"] = [1, 1, 1, 30, 1]
    return members


def normalised(*norm_type):
    """The second member's features are normalised in another way; none: by the default."""
    members = lists()
    norm = members[1]["encoder"]["mean_var_norm"]
    del norm["norm_type"]
    norm.update(dict.fromkeys(["norm_type"], *norm_type) if norm_type else {})
    return members


def sgd(**changes):
    return functools.partial(torch.optim.SGD, **changes)


def states():
    return (
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.get_rng_state().tolist(),
    )


def test_random_states_and_settings_stay_as_they_were():
    settings = tiny.settings()
    before = states(), settings.augment.min_augmentations, vars(settings.lr_schedule).copy()
    rehearse(lists(), [], settings, tiny.CPU, TrainingSet.kind)
    assert states() == before[0]
    assert settings.augment.min_augmentations == before[1]
    assert vars(settings.lr_schedule) == before[2]
    with pytest.raises(UserError):
        rehearse(lists(channels=7), [], settings, tiny.CPU, TrainingSet.kind)
    assert states() == before[0]


@pytest.mark.parametrize(
    ("part", "members", "changes"),
    [
        ("members[1].encoder", lists(channels=7), {}),
        ("members[1].encoder", lists(n_mels=0), {}),
        ("members[1].encoder", lists(embedding_dim=0), {}),
        ("members[1].encoder", lists(win_length=50), {}),  # ms, longer than n_fft
        ("members[1].encoder", lists(sample_rate=8000), {}),
        ("members[1].encoder", normalised(), {}),
        ("members[1].encoder", normalised("global"), {}),
        ("members[1].objective", lists(ACORL.replace("16", "x")), {}),
        ("members[1].objective", lists(ACORL.replace("2.0", "-1")), {}),
        ("members[1].objective", lists("objective: !name:torch.nn.Linear"), {}),
        ("members[0].encoder", looking_far(), {"crop_seconds": 0.1}),
        ("members[0].encoder", lists(), {"batch_size": 1}),  # batch-norm of one example
        ("members[0].head", lists(), {"head": nn.Linear}),
        ("members[0].head", lists(), {"head": SoftmaxHead}),  # its classifier cannot be kept
        ("members[0].optimizer", lists(), {"optimizer": sgd(lr=-1.0)}),
        ("members[0].optimizer", lists(), {"optimizer": sgd(lr="abc")}),
        ("members[0].optimizer", lists(), {"optimizer": list}),
        ("members[0].lr_schedule", lists(), {"lr_schedule": lambda optimizer: None}),
        ("members[1].adversary_optimizer", lists(), {"adversary_optimizer": sgd(lr=-1.0)}),
        ("members[0].augment", lists(), {"augment": Half()}),
        (
            "members[0].augment",
            lists(),
            {"augment": Augmenter(False, False, True, 1, 1, augmentations=[nn.Identity()])},
        ),
    ],
)
def test_what_does_not_fit_is_named(part, members, changes):
    with pytest.raises(UserError) as error:
        rehearse(members, [], tiny.settings(**changes), tiny.CPU, TrainingSet.kind)
    assert str(error.value).startswith(part), error.value
    assert "\n" not in str(error.value)


def test_statistics_that_no_folder_keeps_are_refused_and_others_are_not():
    with pytest.raises(UserError, match=r"members\[1\]\.encoder.*norm_type.*sentence"):
        rehearse(normalised("global"), [], tiny.settings(), tiny.CPU, TrainingSet.kind)
    for kept in ("sentence", "batch"):
        rehearse(normalised(kept), [], tiny.settings(), tiny.CPU, TrainingSet.kind)


def test_a_front_end_that_learns_is_refused():
    members = lists()
    members[1]["encoder"]["compute_features"]["requires_grad"] = True
    with pytest.raises(UserError, match=r"members\[1\]\.encoder.*requires_grad"):
        rehearse(members, [], tiny.settings(), tiny.CPU, TrainingSet.kind)


def test_a_rate_that_is_not_a_number_is_found_in_a_schedule():
    def schedule(optimizer, step):
        for group in optimizer.param_groups:
            group["lr"] = float("nan") if step > 1 else 0.1

    with pytest.raises(UserError, match="lr_schedule"):
        rehearse(lists(), [], tiny.settings(lr_schedule=schedule), tiny.CPU, TrainingSet.kind)


def test_a_member_has_the_shapes_of_the_one_that_it_goes_on_from():
    first, second = lists()
    on = {**second, "name": "c", "start": "b"}
    rehearse([first, second, on], [], tiny.settings(), tiny.CPU, TrainingSet.kind)
    for change in ({"channels": 16}, {"win_length": 20}):  # ms: another front end, the same shapes
        other = {**on, "encoder": tiny.encoder_tree(**change)}
        with pytest.raises(UserError, match=r"^members\[2\]\.encoder.*'b'"):
            rehearse([first, second, other], [], tiny.settings(), tiny.CPU, TrainingSet.kind)


class Louder(nn.Module):
    def forward(self, waves, lengths):
        return 2 * waves, lengths


@pytest.mark.parametrize(
    ("augment", "fits"),
    [
        (Augmenter(min_augmentations=1, augmentations=[Louder()]), False),
        (Augmenter(min_augmentations=1, augmentations=[Louder()], augment_prob=0.5), True),
        (Augmenter(min_augmentations=0, augmentations=[Louder()]), True),
        (Louder(), False),
        (None, True),
    ],
)
def test_unaugmented_crops_need_an_augmentation_that_leaves_some(augment, fits):
    settings = tiny.settings(view="unaugmented", augment=augment)
    with (
        contextlib.nullcontext()
        if fits
        else pytest.raises(UserError, match="min_augmentations") as error
    ):
        rehearse(lists(), [], settings, tiny.CPU, TrainingSet.kind)
    if not fits:
        assert str(error.value).startswith("members[1]")
    rehearse(lists()[:1], [], settings, tiny.CPU, TrainingSet.kind)  # without an objective


def test_a_members_own_epochs_are_accumulated_in_full():
    run_opts = RunOptions(grad_accumulation_factor=2, overridden_args={"grad_accumulation_factor"})
    members, constant = lists(), {"lr_schedule": lambda optimizer, step: None}
    settings = tiny.settings(epoch_steps=4, **constant)
    rehearse(members, [], settings, run_opts, TrainingSet.kind)
    members[1]["training"] = {"epoch_steps": 3}
    with pytest.raises(UserError, match=r"^members\[1\]"):
        rehearse(members, [], settings, run_opts, TrainingSet.kind)
    every = [{**m, "training": {"epoch_steps": 4}} for m in members]
    rehearse(every, [], tiny.settings(epoch_steps=3, **constant), run_opts, TrainingSet.kind)


def test_references_are_looked_at_and_complemented():
    reference = {"name": "r", "encoder": tiny.encoder_tree("resnet", channels=4)}
    members = [{**lists()[1], "name": "b"}]
    rehearse(members, [reference], tiny.settings(), tiny.CPU, TrainingSet.kind)
    with pytest.raises(UserError, match="nowhere"):
        rehearse(
            members,
            [{"name": "r", "folder": "nowhere"}],
            tiny.settings(),
            tiny.CPU,
            TrainingSet.kind,
        )
