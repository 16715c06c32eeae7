"""Calibration against closed forms, scikit-learn's isotonic regression and brute force."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from acorl_sb import metrics
from acorl_sb.fusion import calibration
from acorl_sb.utils.errors import UserError


def gaussian_scores(seed, trials=20_000, share=0.3, d=3.0, scale=0.2, offset=5.0):
    """llr = d z - d^2 / 2 is exact for z ~ N(d or 0, 1); the score is scale z + offset."""
    rng = np.random.default_rng(seed)
    labels = rng.random(trials) < share
    z = rng.standard_normal(trials) + d * labels
    return scale * z + offset, labels, d * z - d * d / 2


@pytest.mark.parametrize("kind, tolerance", [("linear", 0.15), ("pav", 0.6)])
def test_calibration_finds_the_true_llr(kind, tolerance):
    scores, labels, _ = gaussian_scores(1, 100_000)
    test, _, truth = gaussian_scores(2)
    near = np.abs(truth) < 4  # farther out there are too few trials of one class to tell
    llrs = calibration.make(kind, prior=0.5).fit(scores, labels)(test)
    assert np.abs(llrs - truth)[near].max() < tolerance
    assert np.abs(llrs - truth)[near].mean() < tolerance / 3


@pytest.mark.parametrize("kind", ["linear", "pav"])
def test_actual_cost_is_near_the_minimum_after_calibration(kind):
    scores, labels, _ = gaussian_scores(3, 100_000)
    test, test_labels, _ = gaussian_scores(4, 100_000)
    llrs = calibration.make(kind, 0.1).fit(scores, labels)(test)
    for prior in (0.5, 0.1):
        least = metrics.min_dcf(test, test_labels, prior)
        assert metrics.act_dcf(llrs, test_labels, prior) < least * 1.05 + 0.002
        assert metrics.act_dcf(test, test_labels, prior) > 1.5 * least  # scores are no LLRs
    assert metrics.cllr(llrs, test_labels) < metrics.min_cllr(test, test_labels) + 0.005


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_optimal_llrs_equal_isotonic_regression(decimals):
    scores, labels, _ = gaussian_scores(5, 3000, scale=1.0)
    scores = scores.round(decimals)  # ties
    posterior = IsotonicRegression().fit(scores, labels.astype(float)).predict(scores)
    with np.errstate(divide="ignore"):
        expected = np.log(posterior / (1 - posterior)) - math.log(labels.mean() / (~labels).mean())
    got = calibration.pav_llrs(scores, labels)
    # A pooled share of exactly 0 or 1 may come out of either solver one rounding away from it.
    np.testing.assert_allclose(np.clip(got, -30, 30), np.clip(expected, -30, 30), atol=1e-9)
    assert metrics.cllr(got, labels) == pytest.approx(metrics.min_cllr(scores, labels), abs=1e-9)


def test_pav_calibration_is_rising_finite_and_follows_the_optimum():
    scores, labels, _ = gaussian_scores(6, 5000)
    model = calibration.PavCalibration().fit(scores, labels)
    grid = np.linspace(scores.min() - 10, scores.max() + 10, 5000)
    llrs = model(grid)
    assert np.isfinite(llrs).all() and (np.diff(llrs) >= 0).all()
    assert llrs[0] == llrs[1] and llrs[-1] == llrs[-2]
    best = calibration.pav_llrs(scores, labels)
    inner = np.abs(best) < 3
    assert np.abs(model(scores) - best)[inner].max() < 0.2  # Laplace's rule moves them a little
    # Not one of the other proper scoring rules does better on these trials, but for Laplace's rule.
    assert metrics.cllr(model(scores), labels) < metrics.min_cllr(scores, labels) + 0.005


def test_pav_by_hand():
    # Scores 1..4, labels n t n t: blocks {1}, {2, 3}, {4}; with Laplace's rule the ends pool with
    # a target and a non-target each: 1/3, 1/2, 2/3 of targets, and targets : non-targets is 1.
    model = calibration.PavCalibration().fit(
        np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])
    )
    expected = [-math.log(2), 0.0, 0.0, math.log(2)]
    np.testing.assert_allclose(model(np.array([1.0, 2.0, 3.0, 4.0])), expected, atol=1e-12)
    np.testing.assert_allclose(
        model(np.array([-9.0, 1.5, 9.0])), [-math.log(2), -math.log(2) / 2, math.log(2)]
    )
    assert model.score_at(math.log(2) / 2) == pytest.approx(3.5)
    assert model.score_at(0.0) == 2.0
    assert model.score_at(5.0) == math.inf and model.score_at(-5.0) == -math.inf


@pytest.mark.parametrize("kind", ["linear", "pav"])
def test_thresholds_in_llr_and_in_score_decide_alike(kind):
    scores, labels, _ = gaussian_scores(7)
    model = calibration.make(kind, 0.1).fit(scores, labels)
    points = [(0.01, 1.0, 1.0), (0.05, 1.0, 1.0), (0.5, 1.0, 10.0)]
    rows = calibration.decisions(points, model)
    for row, (p, c_miss, c_fa) in zip(rows, points, strict=True):
        assert row["llr_threshold"] == pytest.approx(math.log(c_fa * (1 - p) / (c_miss * p)))
        accept = model(scores) >= row["llr_threshold"]
        np.testing.assert_array_equal(accept, scores >= row["score_threshold"] - 1e-12)
        cost = p * c_miss * np.mean(~accept[labels]) + (1 - p) * c_fa * np.mean(accept[~labels])
        blind = min(p * c_miss, (1 - p) * c_fa)
        assert metrics.act_dcf(model(scores), labels, p, c_miss, c_fa) == pytest.approx(
            cost / blind
        )
    json.dumps(rows, allow_nan=False)


def test_bayes_error_curve_is_the_dcf_at_every_prior():
    _, labels, truth = gaussian_scores(8, 4000)
    llrs = (truth + 1.0).round(1)  # badly calibrated, with ties
    log_odds = np.linspace(-6.02, 6.03, 13)  # never on a tie, where rounding decides
    curve = calibration.bayes_error_curve(llrs, labels, log_odds)
    for k, odds in enumerate(log_odds):
        prior = 1 / (1 + math.exp(-odds))
        assert curve["actual"][k] == pytest.approx(metrics.act_dcf(llrs, labels, prior))
        assert curve["minimum"][k] == pytest.approx(metrics.min_dcf(llrs, labels, prior))
    assert (curve["actual"] >= curve["minimum"] - 1e-12).all()
    assert (curve["minimum"] <= 1 + 1e-12).all()


@pytest.mark.parametrize("kind", ["linear", "pav"])
def test_saved_calibration_gives_the_same_llrs(kind):
    scores, labels, _ = gaussian_scores(9)
    model = calibration.make(kind).fit(scores, labels)
    again = calibration.from_state(json.loads(json.dumps(model.state(), allow_nan=False)))
    np.testing.assert_array_equal(again(scores), model(scores))
    assert again.score_at(1.0) == model.score_at(1.0)


@pytest.mark.parametrize("kind", ["linear", "pav"])
def test_what_is_refused(kind):
    scores, labels, _ = gaussian_scores(10, 100)
    with pytest.raises(UserError):
        calibration.make(kind).fit(scores, np.ones(100, bool))
    with pytest.raises(UserError):
        calibration.make(kind).fit(np.ones(100), labels)
    scores[3] = np.nan
    with pytest.raises(UserError, match="'a'"):
        calibration.make(kind).fit(scores, labels, name="a")
    with pytest.raises(UserError, match="'platt'"):
        calibration.make("platt")
