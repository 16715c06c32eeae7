"""Batches augmented by the loader: the same in any process, and not augmented twice."""

from __future__ import annotations

import contextlib
import types

import pytest
import speechbrain as sb
import torch

from acorl_sb.training.brain import SpeakerBrain
from acorl_sb.training.dataset import collate
from acorl_sb.training.epochs import seed_step
from acorl_sb.training.loading import AugmentedBatches, augments_early, make_loader
from acorl_sb.training.samplers import SpeakerSampler, StepSampler
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils.errors import UserError
from tests import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    utterances = tiny.hums(tmp_path_factory.mktemp("hums"), speakers=2, each=4)
    return TrainingSet(utterances, lambda encoder: 0.1)


def test_batches_do_not_depend_on_who_makes_them(data):
    made = {}
    for workers in (0, 2):
        settings = tiny.settings(workers=workers)
        loader = make_loader(data, settings, 5, augmented=True)
        for epoch in (1, 2):
            loader.batch_sampler.seek(epoch)
            made[workers, epoch] = list(loader)
    settings = tiny.settings()
    plain = make_loader(data, settings, 5)
    changed = 0
    for epoch in (1, 2):
        plain.batch_sampler.seek(epoch)
        for step, batch in enumerate(plain):
            seed_step(5, (epoch - 1) * settings.epoch_steps + step + 1, stream=1)
            wanted, _ = settings.augment(batch.inputs, torch.ones(len(batch.inputs)))
            for workers in (0, 2):
                found = made[workers, epoch][step]
                assert torch.equal(found.inputs, wanted)
                assert torch.equal(found.labels, batch.labels)
                assert torch.equal(found.items, batch.items)
            changed += wanted.shape != batch.inputs.shape or not torch.equal(wanted, batch.inputs)
    assert changed >= 2


def test_several_items_of_every_class(data):
    loader = make_loader(data, tiny.settings(batch_size=6, per_class=3), 5)
    for batch in loader:
        assert torch.equal(batch.labels[0::3], batch.labels[1::3])
        assert torch.equal(batch.labels[0::3], batch.labels[2::3])
    wanted = SpeakerSampler(data.labels, 3, 6, tiny.settings().epoch_steps, 5)
    assert list(loader.batch_sampler) == list(wanted)


def test_several_items_of_every_class_need_labels(data):
    nobody = TrainingSet(data.utterances, lambda encoder: 0.1)
    nobody.labels = [-1, *nobody.labels[1:]]
    with pytest.raises(UserError):
        make_loader(nobody, tiny.settings(batch_size=6, per_class=3), 5)
    with pytest.raises(UserError):
        tiny.settings(batch_size=6, per_class=4)


def test_ranks_draw_differently_and_steps_are_counted_over_ranks():
    ones = {(draw, item): (torch.ones(2), 0, item) for draw in range(24) for item in range(6)}

    def noisy(waves, lengths):
        return waves + torch.rand(waves.shape), lengths

    seen = []
    for rank in (0, 1):
        sampler = StepSampler(6, 3, 4, seed=0, rank=rank, world_size=2)
        batches = AugmentedBatches(ones, noisy, sampler, seed=0)
        for step in range(4):
            found = batches.__getitems__(sampler.indices(step))
            seed_step(0, step + 1, rank, stream=1)
            assert torch.equal(found.inputs, 1 + torch.rand(3, 2))
            seen.append(found.inputs)
    assert len({tuple(inputs.flatten().tolist()) for inputs in seen}) == 8


def test_what_the_loader_augmented_the_step_leaves_alone(data):
    brain = types.SimpleNamespace(device_type="cpu", in_float32=contextlib.nullcontext)
    settings = tiny.settings()
    batch = collate([data.dataset(settings, 0)[draw, draw] for draw in range(3)])
    brain.hparams = types.SimpleNamespace(augment=lambda x, lengths: (x + 1, lengths))
    brain.embed = lambda inputs, mask: inputs
    brain.augmented = lambda inputs: SpeakerBrain.augmented(brain, inputs)
    found = SpeakerBrain.compute_forward(brain, batch, sb.Stage.TRAIN)
    assert torch.equal(found, batch.inputs + 1)
    brain.hparams.augmented = True
    assert torch.equal(SpeakerBrain.compute_forward(brain, batch, sb.Stage.TRAIN), batch.inputs)


def test_an_augmentation_made_for_the_device_runs_in_the_step():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    plain, own = torch.nn.Identity(), torch.nn.Identity()
    own.on_device = True
    assert augments_early(plain, gpu) and not augments_early(own, gpu)
    assert not any(augments_early(made, cpu) for made in (plain, own, None))
    assert not augments_early(None, gpu)
