"""Enrolment and decisions, against the fusion's formula and the run's own score files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.inference import Verifier
from acorl_sb.utils.errors import UserError


class Bands(nn.Module):
    """An embedding that can be worked out by hand: means of some stretches of the wave."""

    def __init__(self, parts):
        super().__init__()
        self.embedding_dim = parts

    def forward(self, waves):
        return torch.stack([part.mean(1) for part in waves.chunk(self.embedding_dim, 1)], 1)


@pytest.fixture()
def verifier():
    ensemble = FrozenEnsemble()
    ensemble.add("two", Bands(2))
    ensemble.add("three", Bands(3))
    state = LogisticFusion().state() | {"weights": [2.0, 3.0], "bias": -1.0, "n_systems": 2}
    return Verifier(ensemble, LogisticFusion.from_state(state), p_target=0.01, c_fa=2.0)


def steps(*levels):
    """A wave of stretches of 800 samples, 50 ms, each at its level."""
    return np.repeat(np.array(levels, dtype=float), 800)


def test_llr_and_threshold_by_hand(verifier):
    a, b = steps(1, 0, 0, 0, 0, 0), steps(0, 0, 0, 0, 0, 2)
    verifier.enrol("a", [a])
    assert verifier.verify("a", 5 * a).llr == pytest.approx(2 + 3 - 1, abs=1e-6)
    decision = verifier.verify("a", b)
    assert decision.llr == pytest.approx(-1, abs=1e-6) and not decision.accepted
    assert decision.threshold == pytest.approx(math.log(2 * 0.99 / 0.01))
    verifier.threshold = -1.5
    assert verifier.verify("a", b).accepted


def test_enrolment_on_several_waves_is_the_mean_of_unit_embeddings(verifier):
    a, b = steps(4, 0, 0, 0, 0, 0), steps(0, 0, 0, 0, 0, 1)
    verifier.enrol("both", [a, b])
    wanted = (2 + 3) / math.sqrt(2) - 1  # 45 degrees from either, whatever their levels
    assert verifier.verify("both", a).llr == pytest.approx(wanted, abs=1e-6)
    assert verifier.verify("both", b).llr == pytest.approx(wanted, abs=1e-6)


def test_identification_is_sorted(verifier):
    a, b = steps(1, 0, 0, 0, 0, 0), steps(0, 0, 0, 0, 0, 1)
    verifier.enrol("a", [a])
    verifier.enrol("b", [b])
    names, llrs = zip(*verifier.identify(b + 0.1 * a), strict=True)
    assert names == ("b", "a") and llrs[0] > llrs[1]


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda v: v.verify("x", np.ones(6)), "'x'"),
        (lambda v: v.enrol("x", []), None),
        (lambda v: v.enrol("x", "file.wav"), None),
        (lambda v: v.embed(np.ones((2, 3))), None),
        (lambda v: v.embed(np.zeros(0)), None),
        (lambda v: v.embed(np.array([1.0, np.nan])), None),
        (lambda v: v.embed("nowhere.wav"), "nowhere.wav"),
        (lambda v: v.embed(np.zeros(16000)), None),
        (lambda v: v.embed((np.full(16000, 0.3), 8000)), None),
        (lambda v: v.enrol("x", [torch.zeros(16000)]), None),
        (lambda v: v.embed(steps(1, 0)[:1599]), None),
        (lambda v: v.embed((steps(1, 0), 17000)), None),
        (lambda v: v.embed((steps(1, 0, 1), 1)), None),
        (lambda v: v.embed((steps(1, 0, 1), 15999)), None),
        (lambda v: v.embed((steps(1, 0, 1), 16000.0)), None),
        (lambda v: v.embed((steps(1, 0, 1), 16000, 3)), None),
        (lambda v: v.embed(["a", "b"]), None),
        (lambda v: Verifier.from_run("nowhere"), "hyperparams.yaml"),
    ],
)
def test_faults_are_said(verifier, call, where):
    with pytest.raises(UserError, match=where):
        call(verifier)


def test_silence_is_refused_in_a_file_too(verifier, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    with pytest.raises(UserError):
        verifier.enrol("x", [tmp_path / "silent.wav"])
    assert not verifier.enrolled


def test_silence_alone_in_the_part_that_is_embedded_is_refused(verifier):
    verifier.score_seconds = 0.2
    with pytest.raises(UserError):
        verifier.embed(np.concatenate([np.ones(100), np.zeros(8000), np.ones(100)]))


def test_the_centre_of_a_wave_is_embedded(verifier, tmp_path):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 9601).astype(np.float32)
    whole = verifier.embed(wave[2400:7200])
    verifier.score_seconds = 0.3
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    for given in (wave, torch.from_numpy(wave), (wave, 16000), tmp_path / "a.wav"):
        for found, expected in zip(verifier.embed(given), whole, strict=True):
            assert torch.equal(found, expected)


def test_samples_of_another_rate_are_those_of_a_file_of_that_rate(verifier, tmp_path):
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 22050).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 44100, subtype="FLOAT")
    verifier.score_seconds = 0.25
    pairs = zip(verifier.embed((wave, 44100)), verifier.embed(tmp_path / "a.wav"), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_member_that_finds_nothing_is_named():
    class Nothing(Bands):
        def forward(self, waves):
            return super().forward(waves) * 0

    ensemble = FrozenEnsemble()
    ensemble.add("empty", Nothing(2))
    with pytest.raises(UserError):
        Verifier(ensemble, LogisticFusion()).embed(steps(1, 0, 1))
