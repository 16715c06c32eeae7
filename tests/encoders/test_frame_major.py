"""Against SpeechBrain's own class: embeddings, gradients and statistics, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from torch import nn

from acorl_sb.encoders.encoder import SpeakerEncoder, skip_empty_padding
from acorl_sb.encoders.frame_major import FrameMajorECAPA, _Moments, frame_major

SMALL = {
    "input_size": 12,
    "channels": [16, 16, 16, 24],
    "kernel_sizes": [5, 3, 3, 1],
    "dilations": [1, 2, 3, 1],
    "groups": [1, 1, 1, 1],
    "attention_channels": 6,
    "se_channels": 5,
    "lin_neurons": 9,
    "res2net_scale": 4,
}
OTHERS = {
    "default": {},
    "shortcuts": {"channels": [16, 24, 24, 24]},
    "no global context": {"global_context": False},
    "dropout": {"dropout": 0.3},
    "leaky": {"activation": nn.LeakyReLU},
    "wide last layer": {"kernel_sizes": [3, 5, 3, 3], "dilations": [2, 1, 4, 2]},
    "undivided": {"res2net_scale": 1},
}


# SpeechBrain's pooling divides by the number of frames in float32, whatever the features are in.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def both(**changed):
    torch.manual_seed(3)
    theirs = ECAPA_TDNN(**(SMALL | changed)).double()
    ours = copy.deepcopy(theirs)
    frame_major(ours)
    assert type(ours) is FrameMajorECAPA
    return ours, theirs


def assert_alike(ours, theirs, x):
    found = []
    for network in (ours, theirs):
        torch.manual_seed(11)  # of dropout
        x = x.detach().requires_grad_()
        z = network(x)
        weights = torch.linspace(-1, 2, z.numel(), dtype=z.dtype).view(z.shape)
        z.sin().mul(weights).sum().backward()
        gradients = {name: p.grad for name, p in network.named_parameters()}
        found.append((z, x.grad, gradients, dict(network.named_buffers())))
    torch.testing.assert_close(found[0], found[1], **CLOSE)


@pytest.mark.parametrize("skipped", [True, False])
@pytest.mark.parametrize("changed", OTHERS.values(), ids=OTHERS)
def test_training_and_use_are_speechbrains(changed, skipped):
    ours, theirs = both(**changed)
    if skipped:
        skip_empty_padding(ours)
    x = torch.randn(6, 37, 12, dtype=torch.float64)
    assert_alike(ours, theirs, x)  # statistics of the batch, which also move those kept
    assert_alike(ours.eval(), theirs.eval(), x[:2])
    with torch.inference_mode():
        torch.testing.assert_close(ours(x[:1, :9]), theirs(x[:1, :9]), **CLOSE)


def test_float32_and_bfloat16_agree_as_far_as_they_reach():
    ours, theirs = both()
    ours.float().eval(), theirs.float().eval()
    x = torch.randn(4, 50, 12)
    exact = copy.deepcopy(theirs).double()(x.double()).float()
    torch.testing.assert_close(ours(x), exact, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = ours(x)
    assert float(nn.functional.cosine_similarity(half.float(), exact, 2).min()) > 0.999


def test_padded_batches_are_speechbrains_to_the_bit():
    ours, theirs = both()
    x, lengths = torch.randn(3, 30, 12, dtype=torch.float64), torch.tensor([1.0, 0.5, 0.8])
    assert torch.equal(ours.eval()(x, lengths), theirs.eval()(x, lengths))


def test_weights_and_copies_are_exchanged_with_speechbrain():
    ours, _ = both()
    theirs = ECAPA_TDNN(**SMALL).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 20, 12, dtype=torch.float64)
    expected = theirs.eval()(x)
    torch.testing.assert_close(copy.deepcopy(ours).eval()(x), expected, **CLOSE)


class Own(ECAPA_TDNN):
    def forward(self, x, lengths=None):
        return super().forward(x, lengths) + 1


@pytest.mark.parametrize(
    "network",
    [
        ECAPA_TDNN(**(SMALL | {"groups": [1, 1, 2, 1]})),
        ECAPA_TDNN(**(SMALL | {"activation": nn.PReLU})),
        Own(**SMALL),
    ],
    ids=["groups", "an activation with channels", "a subclass"],
)
def test_what_it_does_not_know_stays_as_it_is(network):
    kind = type(network)
    frame_major(network)
    assert type(network) is kind


def test_an_encoder_computes_so_inside_other_modules_too():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = ECAPA_TDNN(**SMALL)

        def forward(self, x, lengths=None):
            return self.network(x, lengths)

    encoder = SpeakerEncoder(Around(), 9)
    assert type(encoder.embedding_model.network) is FrameMajorECAPA
    assert not encoder.needs_lengths and encoder.takes_lengths


def test_an_encoder_that_insists_on_lengths_gets_ones():
    class Insists(nn.Module):
        def forward(self, x, lengths):
            assert lengths.tolist() == [1.0, 1.0]
            return x.mean(1)

    assert SpeakerEncoder(Insists(), 4)(torch.ones(2, 7, 4)).shape == (2, 4)


@pytest.mark.parametrize("weighted", [True, False])
def test_moments_are_those_of_the_definition(weighted):
    torch.manual_seed(0)
    x = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    uniform = torch.full((2, 7, 3), 1 / 7, dtype=torch.float64)

    def moments(x, logits):
        return _Moments.apply(x, logits.softmax(1) if weighted else None, 1e-12)

    mean, std = moments(x, logits)
    weights = logits.softmax(1) if weighted else uniform
    expected = (weights * x).sum(1)
    variance = (weights * (x - expected.unsqueeze(1)) ** 2).sum(1)
    torch.testing.assert_close((mean, std), (expected, variance.sqrt()))
    assert torch.autograd.gradcheck(moments, (x, logits))


def test_a_channel_that_does_not_move_has_no_gradient_through_its_deviation():
    x = torch.ones(1, 5, 2, dtype=torch.float64, requires_grad=True)
    mean, std = _Moments.apply(x, None, 1e-12)
    torch.testing.assert_close(std, torch.full((1, 2), 1e-6, dtype=torch.float64))
    (mean + std).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((1, 5, 2), 0.2, dtype=torch.float64))
