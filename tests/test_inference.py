"""Enrolment and decisions, against the fusion's formula and the run's own score files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from acorl_sb.alliance import Alliance
from acorl_sb.errors import UserError
from acorl_sb.fusion import LogisticFusion
from acorl_sb.inference import Verifier


class Bands(nn.Module):
    """An embedding that can be worked out by hand: means of some stretches of the wave."""

    def __init__(self, parts):
        super().__init__()
        self.embedding_dim = parts

    def forward(self, waves):
        return torch.stack([part.mean(1) for part in waves.chunk(self.embedding_dim, 1)], 1)


@pytest.fixture()
def verifier():
    alliance = Alliance()
    alliance.add("two", Bands(2))
    alliance.add("three", Bands(3))
    state = LogisticFusion().state() | {"weights": [2.0, 3.0], "bias": -1.0, "n_systems": 2}
    return Verifier(alliance, LogisticFusion.from_state(state), p_target=0.01, c_fa=2.0)


def test_llr_and_threshold_by_hand(verifier):
    a, b = np.array([1.0, 0, 0, 0, 0, 0]), np.array([0, 0, 0, 0, 0, 2.0])
    verifier.enrol("a", [a])
    assert verifier.verify("a", 5 * a).llr == pytest.approx(2 + 3 - 1, abs=1e-6)
    decision = verifier.verify("a", b)
    assert decision.llr == pytest.approx(-1, abs=1e-6) and not decision.accepted
    assert decision.threshold == pytest.approx(math.log(2 * 0.99 / 0.01))
    verifier.threshold = -1.5
    assert verifier.verify("a", b).accepted


def test_enrolment_on_several_waves_is_the_mean_of_unit_embeddings(verifier):
    a, b = np.array([4.0, 0, 0, 0, 0, 0]), np.array([0, 0, 0, 0, 0, 1.0])
    verifier.enrol("both", [a, b])
    wanted = (2 + 3) / math.sqrt(2) - 1  # 45 degrees from either, whatever their levels
    assert verifier.verify("both", a).llr == pytest.approx(wanted, abs=1e-6)
    assert verifier.verify("both", b).llr == pytest.approx(wanted, abs=1e-6)


def test_identification_is_sorted(verifier):
    a, b = np.array([1.0, 0, 0, 0, 0, 0]), np.array([0, 0, 0, 0, 0, 1.0])
    verifier.enrol("a", [a])
    verifier.enrol("b", [b])
    names, llrs = zip(*verifier.identify(b + 0.1 * a), strict=True)
    assert names == ("b", "a") and llrs[0] > llrs[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: v.verify("x", np.ones(6)), "'x' is not enrolled; enrolled: nobody"),
        (lambda v: v.enrol("x", []), "at least one"),
        (lambda v: v.enrol("x", "file.wav"), "a list of"),
        (lambda v: v.embed(np.ones((2, 3))), "one dimension"),
        (lambda v: v.embed(np.zeros(0)), "some samples"),
        (lambda v: v.embed(np.array([1.0, np.nan])), "NaN"),
        (lambda v: v.embed("nowhere.wav"), "nowhere.wav"),
        (lambda v: Verifier.from_run("nowhere"), "hyperparams.yaml is missing"),
    ],
)
def test_faults_are_said(verifier, call, message):
    with pytest.raises(UserError, match=message):
        call(verifier)
