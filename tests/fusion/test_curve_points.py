"""Points of the curves: on the curve, spanning it, and in line with the metrics."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.metrics import det_curve

from acorl_sb import metrics
from acorl_sb.fusion import curve_points as curves


def scored(trials=20_000, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random(trials) < 0.3
    return rng.standard_normal(trials) + 2.0 * labels, labels


def test_det_points_lie_on_the_curve_and_span_it():
    scores, labels = scored()
    made = curves.det_curve(scores, labels, points=200)
    p_fa, p_miss, _ = det_curve(labels, scores)
    whole = {(float(f"{a:.6g}"), float(f"{b:.6g}")) for a, b in zip(p_fa, p_miss, strict=True)}
    drawn = set(zip(made["p_fa"], made["p_miss"], strict=True))
    assert drawn <= whole and 100 < len(drawn) <= 200
    # Even along the line: no step of the drawn curve is long, so none of it is missing.
    x, y = ndtri(np.array(made["p_fa"])), ndtri(np.array(made["p_miss"]))
    inner = (np.abs(x) < 2.5) & (np.abs(y) < 2.5)  # beyond, single trials are that far apart
    assert np.hypot(np.diff(x[inner]), np.diff(y[inner])).max() < 0.15
    assert (np.diff(x) <= 0).all() and (np.diff(y) >= 0).all()


def test_det_of_gaussian_scores_is_a_straight_line():
    scores, labels = scored(400_000)
    made = curves.det_curve(scores, labels)
    x, y = ndtri(np.array(made["p_fa"])), ndtri(np.array(made["p_miss"]))
    inner = (np.abs(x) < 2) & (np.abs(y) < 2)
    np.testing.assert_allclose((x + y)[inner], -2.0, atol=0.06)


def test_histogram_is_a_density():
    scores, labels = scored()
    made = curves.histogram(scores, labels, bins=40)
    edges = np.array(made["edges"])
    assert len(edges) == 41
    for name, chosen in (("target", labels), ("nontarget", ~labels)):
        assert np.sum(np.array(made[name]) * np.diff(edges)) == pytest.approx(1.0, abs=1e-4)
        expected, _ = np.histogram(scores[chosen], edges, density=True)
        np.testing.assert_allclose(made[name][1:-1], expected[1:-1], rtol=0.01, atol=1e-3)
    constant = curves.histogram(np.ones(10), np.arange(10) < 5)
    assert np.isfinite(constant["edges"]).all()


def test_bayes_curve_touches_the_metrics():
    scores, labels = scored()
    llrs = 2.0 * scores - 2.0
    made = curves.bayes_curve(llrs, labels)
    k = 40
    prior = 1 / (1 + np.exp(-made["prior_log_odds"][k]))
    assert made["actual"][k] == pytest.approx(metrics.act_dcf(llrs, labels, prior), rel=1e-4)
    assert made["minimum"][k] == pytest.approx(metrics.min_dcf(llrs, labels, prior), rel=1e-4)
    json.dumps(made, allow_nan=False)
