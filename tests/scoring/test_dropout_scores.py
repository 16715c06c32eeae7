"""Monte-Carlo dropout against a network whose scores can be counted out by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from torch import nn

from acorl_sb.data.trial_set import TrialSet
from acorl_sb.data.trials import TrialList
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.scoring.dropout_scores import dropout_on, dropout_scores
from acorl_sb.utils.errors import UserError
from tests.tiny import hums


class Two(nn.Module):
    """Embeds everything as (1, 1), of which the second may be dropped: (1, 0) or (1, 2)."""

    sample_rate, embedding_dim = 16000, 2

    def __init__(self, p: float):
        super().__init__()
        self.dropout, self.norm = nn.Dropout(p), nn.BatchNorm1d(1)

    def forward(self, waves):
        assert not self.norm.training
        ones = torch.ones(len(waves), 1)
        return torch.cat([ones, self.dropout(ones)], 1)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    utterances = hums(tmp_path_factory.mktemp("speech"), 3, 1, 0.3)
    pairs = TrialList([u.id for u in utterances], np.array([0, 1]), np.array([1, 2]))
    return TrialSet.of(utterances, pairs)


def test_the_deviation_is_that_of_all_ways_to_drop(trials):
    encoder = Two(0.5)
    scores, std = dropout_scores(encoder, trials, draws=400)
    assert scores == pytest.approx(1.0)  # without dropout both are (1, 1)
    # Both dropped or both kept: 1; one of each: cos of (1, 0) and (1, 2).
    assert std == pytest.approx(0.5 * (1 - 5**-0.5), rel=0.05)
    assert not encoder.training and not encoder.dropout.training


def test_it_is_repeatable_and_leaves_the_random_state(trials):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first, second = (dropout_scores(Two(0.5), trials, 5, seed=1)[1] for _ in range(2))
    assert (first == second).all() and torch.equal(torch.rand(2), expected)


def test_an_encoder_varies_as_speechbrains_ecapa_and_with_dropout_only():
    """An encoder computes ECAPA in an order of its own: the deviation must be SpeechBrain's."""
    torch.manual_seed(0)
    features = torch.randn(1, 60, 8)
    shape = {"channels": [8, 8, 8, 8, 24], "attention_channels": 8, "se_channels": 8}
    theirs = ECAPA_TDNN(8, lin_neurons=4, dropout=0.3, res2net_scale=4, **shape).eval()
    ours = SpeakerEncoder(copy.deepcopy(theirs), 8).eval().embedding_model
    assert type(ours) is not ECAPA_TDNN
    spread = {}
    for name, network in (("theirs", theirs), ("ours", ours)):
        assert torch.equal(network(features), network(features))
        with torch.no_grad(), dropout_on(network):
            spread[name] = torch.cat([network(features) for _ in range(400)]).std(0)
        assert torch.equal(network(features), network(features))
    assert float(spread["theirs"].min()) > 0.01
    torch.testing.assert_close(spread["ours"], spread["theirs"], rtol=0.15, atol=0)


def test_what_is_refused(trials):
    for encoder, draws in ((Two(0.0), 4), (Two(0.5), 1)):
        with pytest.raises(UserError):
            dropout_scores(encoder, trials, draws)
