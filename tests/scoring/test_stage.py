"""Trials resolved to rows, models of many utterances, cohorts: the stage on arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acorl_sb.data.embeddings import Embeddings
from acorl_sb.data.trials import TrialList
from acorl_sb.scoring import stage
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.scoring.normalise import SNorm
from acorl_sb.utils.errors import UserError

RNG = np.random.default_rng(0)
MADE = Embeddings([f"u{k}" for k in range(8)], RNG.normal(size=(8, 5)).astype(np.float32))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_trials_without_models(device):
    trials = TrialList(["u3", "u1", "u6"], np.array([0, 2, 1]), np.array([1, 2, 0]))
    lineup = stage.Lineup.of(trials, None, "")
    vectors = stage.Vectors.of(lineup, MADE, "mine", device)
    assert lineup.utterances == ["u3", "u1", "u6"]
    expected = [unit(MADE.vectors[a]) @ unit(MADE.vectors[b]) for a, b in ((3, 1), (6, 6), (1, 3))]
    found = stage.score(lineup, vectors, Cosine())["none"]
    assert found.dtype == np.float64
    assert found == pytest.approx(expected, abs=1e-6)


def test_trials_that_name_models(device):
    trials = TrialList(["m2", "u5", "m1", "u0"], np.array([0, 2, 0]), np.array([1, 1, 3]))
    enrolment = {"m1": ["u1", "u2", "u3"], "m2": ["u4"], "unused": ["nowhere"]}
    lineup = stage.Lineup.of(trials, enrolment, "enrol.txt")
    assert sorted(lineup.utterances) == ["u0", "u1", "u2", "u3", "u4", "u5"]
    vectors = stage.Vectors.of(lineup, MADE, "mine", device)
    m1 = unit(unit(MADE.vectors[1:4]).mean(0))
    u = unit(MADE.vectors)
    expected = [u[4] @ u[5], m1 @ u[5], u[4] @ u[0]]
    assert stage.score(lineup, vectors, Cosine())["none"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(UserError, match=r"enrol\.txt.*'m1'"):
        stage.Lineup.of(trials, {"m2": ["u4"]}, "enrol.txt")


def test_unknown_utterances_are_named():
    trials = TrialList(["u3", "x"], np.array([0]), np.array([1]))
    with pytest.raises(UserError, match="'x'"):
        stage.Vectors.of(stage.Lineup.of(trials, None, ""), MADE, "mine", "cpu")


def test_back_ends_learn_from_names(device):
    backend = Cosine(subtract_mean=True)
    stage.fit(backend, MADE.vectors, None, device)
    assert backend.mean.cpu().numpy() == pytest.approx(MADE.vectors.mean(0), abs=1e-6)
    trials = TrialList(["u3", "u1"], np.array([0]), np.array([1]))
    lineup = stage.Lineup.of(trials, None, "")
    centred = unit(MADE.vectors - MADE.vectors.mean(0))
    found = stage.score(lineup, stage.Vectors.of(lineup, MADE, "", device), backend)["none"]
    assert found == pytest.approx([centred[3] @ centred[1]], abs=1e-6)
    with pytest.raises(ValueError):
        stage.score(lineup, stage.Vectors.of(lineup, MADE, "", device), Cosine(True))


def test_cohorts_are_speaker_means_drawn_by_seed(device):
    speakers = ["b", "a", "b", "a", "c", "c", "d", "d"]
    groups = [[k for k, s in enumerate(speakers) if s == name] for name in "abcd"]
    whole = stage.Cohort.of(MADE.vectors, speakers, None, 0, device)
    expected = [unit(unit(MADE.vectors[rows]).mean(0)) for rows in groups]
    assert whole.prepare(Cosine()).cpu().numpy() == pytest.approx(np.array(expected), abs=1e-6)
    plda = PLDA.from_parameters(np.zeros(5), np.eye(5), np.eye(5))
    expected = [MADE.vectors[rows].mean(0) for rows in groups]
    assert whole.prepare(plda).cpu().numpy() == pytest.approx(np.array(expected), abs=1e-6)

    few = [
        stage.Cohort.of(MADE.vectors, speakers, 2, seed, device).prepare(plda)
        for seed in (1, 1, 2, 3, 4)
    ]
    assert torch.equal(few[0], few[1]) and len(few[0]) == 2
    assert not all(torch.equal(few[0], other) for other in few[2:])
    every = whole.prepare(plda).tolist()
    assert all(row in every for row in few[2].tolist())
    order = [5, 2, 7, 0, 3, 1, 6, 4]  # the same file with its lines in another order
    other = stage.Cohort.of(MADE.vectors[order], [speakers[k] for k in order], 2, 1, device)
    torch.testing.assert_close(other.prepare(plda), few[0])
    assert len(stage.Cohort.of(MADE.vectors, None, None, 0, device).prepare(plda)) == 8
    assert len(stage.Cohort.of(MADE.vectors, None, 3, 0, device).prepare(plda)) == 3


def test_all_normalisations_at_once(device):
    trials = TrialList(["u3", "u1", "u6"], np.array([0, 2, 1]), np.array([1, 2, 0]))
    lineup = stage.Lineup.of(trials, None, "")
    vectors = stage.Vectors.of(lineup, MADE, "mine", device)
    cohort = stage.Cohort.of(MADE.vectors, None, None, 0, device)
    found = stage.score(lineup, vectors, Cosine(), {"raw": None, "s": SNorm()}, cohort)
    u = unit(MADE.vectors)
    sides = u @ u.T
    mean, std = sides.mean(1), sides.std(1, ddof=1)
    for k, (a, b) in enumerate(((3, 1), (6, 6), (1, 3))):
        assert found["raw"][k] == pytest.approx(sides[a, b], abs=1e-6)
        z, t = ((sides[a, b] - mean[row]) / std[row] for row in (a, b))
        assert found["s"][k] == pytest.approx((z + t) / 2, abs=1e-5)


def test_normalisation_needs_a_cohort():
    trials = TrialList(["u3", "u1"], np.array([0]), np.array([1]))
    lineup = stage.Lineup.of(trials, None, "")
    with pytest.raises(ValueError):
        stage.score(lineup, stage.Vectors.of(lineup, MADE, "", "cpu"), Cosine(), {"s": SNorm()})
