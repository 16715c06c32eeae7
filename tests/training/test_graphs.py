"""A network replayed as a CUDA graph gives what its calls give, and is asked where it may be."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import pytest
import torch

from acorl_sb.complementarity import Bounded, Nontarget, Ramp, deal_folds, out_of_fold
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.training import one_member
from acorl_sb.training.batchnorm import fixed_batch_statistics
from acorl_sb.training.graphs import replay_network
from acorl_sb.training.members import train_members
from acorl_sb.training.settings import check_graphs
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils.errors import UserError
from tests import tiny
from tests.conftest import NO_CUDA


@pytest.fixture(params=["cuda"])
def pair(request):
    """An encoder as it is, and a copy that replays a graph for batches of six."""
    if not torch.cuda.is_available():
        pytest.skip(NO_CUDA)
    device = torch.device(request.param)
    torch.manual_seed(0)
    encoder = build_encoder(tiny.encoder_tree(), "encoder").to(device).train()
    replayed = copy.deepcopy(encoder)
    replay_network(replayed, 0.1 * torch.randn(6, 6400, device=device))
    return encoder, replayed


def step(encoder, inputs):
    encoder.zero_grad()
    z = encoder(encoder.features(inputs))
    z.square().mean().backward()
    return z.detach().clone()


def test_steps_of_training_are_those_without(pair):
    encoder, replayed = pair
    for _ in range(3):
        inputs = 0.1 * torch.randn(6, 6400, device="cuda")
        torch.testing.assert_close(step(replayed, inputs), step(encoder, inputs))
        for (name, a), b in zip(encoder.named_parameters(), replayed.parameters(), strict=True):
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-5, msg=name)
        with torch.no_grad():  # as an optimizer would
            for a, b in zip(encoder.parameters(), replayed.parameters(), strict=True):
                a.sub_(a.grad, alpha=0.1)
                b.sub_(b.grad, alpha=0.1)
    for (name, a), b in zip(encoder.named_buffers(), replayed.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-5, msg=name)


def test_recording_leaves_the_encoder_as_it_was(pair):
    encoder, replayed = pair
    assert replayed.training
    for name, value in encoder.state_dict().items():
        assert torch.equal(replayed.state_dict()[name], value), name


def test_other_batches_are_computed_as_before(pair):
    encoder, replayed = pair
    inputs = 0.1 * torch.randn(6, 6400, device="cuda")
    with fixed_batch_statistics(encoder), fixed_batch_statistics(replayed):
        torch.testing.assert_close(step(replayed, inputs), step(encoder, inputs))
    shorter = inputs[:4, :5000]
    torch.testing.assert_close(step(replayed, shorter), step(encoder, shorter))
    with torch.no_grad():
        torch.testing.assert_close(replayed.eval()(inputs), encoder.eval()(inputs))


@pytest.mark.parametrize("seconds", [0.4, 5.5])
def test_what_is_recorded_has_the_shape_of_what_trains(tmp_path, monkeypatch, seconds):
    recorded, trained = [], []

    def look(network, inputs):
        if network.training:
            trained.append(inputs[0].shape)

    def record(encoder, inputs):
        recorded.append(encoder.features(inputs).shape)
        encoder.embedding_model.register_forward_pre_hook(look)

    monkeypatch.setattr(one_member, "check_graphs", lambda *args: True)
    monkeypatch.setattr(one_member, "replay_network", record)
    data = TrainingSet(tiny.hums(tmp_path / "data"), lambda encoder: 0.1)
    settings = tiny.settings(crop_seconds=seconds, augment=None, epochs=1, epoch_steps=1)
    spec = {"name": "a", "encoder": tiny.encoder_tree(), "objective": None}
    train_members([spec], [], data, settings, tiny.CPU, torch.device("cpu"), tmp_path / "out")
    assert recorded == trained and len(trained) == 1


def test_on_a_cpu_nothing_is_recorded():
    assert not check_graphs(tiny.settings(cuda_graphs=True), tiny.CPU, None)


@pytest.mark.parametrize(
    "options",
    [{"precision": "bf16"}, {"compile": True}, {"grad_accumulation_factor": 2}],
)
def test_refused_where_it_would_be_wrong(options):
    gpu = replace(tiny.CPU, device="cuda")
    settings = tiny.settings(cuda_graphs=True)
    assert check_graphs(settings, gpu, None)
    assert not check_graphs(tiny.settings(), replace(gpu, **options), None)
    with pytest.raises(UserError):
        check_graphs(settings, replace(gpu, **options), None)


def test_a_bounded_term_goes_backward_twice_and_is_not_recorded():
    schedule = Ramp(weight=1.0)
    plain = Nontarget(12, [12], 6, schedule=schedule)
    bounded = functools.partial(Bounded, part=functools.partial(Nontarget, schedule=schedule))
    settings, gpu = tiny.settings(cuda_graphs=True), replace(tiny.CPU, device="cuda")
    assert check_graphs(settings, gpu, plain)
    assert not check_graphs(settings, gpu, bounded(12, [12], 6))
    honest = out_of_fold(bounded, 12, [12, 12], 6, deal_folds(6, 2))  # a part of another objective
    assert not check_graphs(settings, gpu, honest)
