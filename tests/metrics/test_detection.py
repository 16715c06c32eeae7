"""Metrics against brute force, scikit-learn, closed forms, and properties they must have."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_curve

from acorl_sb import metrics

COSTS = [(0.01, 1.0, 1.0), (0.05, 1.0, 1.0), (0.5, 1.0, 1.0), (0.9, 1.0, 10.0), (0.01, 10.0, 1.0)]
SCORE_METRICS = [
    metrics.eer,
    metrics.eer_hull,
    metrics.eer_threshold,
    metrics.min_dcf,
    metrics.min_dcf_threshold,
    metrics.min_cllr,
    metrics.det_points,
    metrics.evaluate,
]


def small_cases():
    """Small lists of every kind: many ties, none, one trial of a class, inverted, worthless."""
    rng = np.random.default_rng(0)
    for case in range(120):
        n = int(rng.integers(2, 60))
        labels = rng.random(n) < rng.choice([0.1, 0.5, 0.9])
        labels[0], labels[1] = True, False
        scores = rng.normal(size=n) + rng.choice([-2.0, 0.0, 1.0, 3.0]) * labels
        if case % 3 == 0:
            scores = np.round(scores)
        if case % 10 == 9:
            scores[:] = 0.5
        yield scores, labels


def brute_points(scores, labels):
    """(p_fa, p_miss) at every threshold, by comparing every score with every threshold."""
    thresholds = np.append(np.unique(scores), np.inf)
    accept = scores[None, :] >= thresholds[:, None]
    return accept[:, ~labels].mean(1), 1.0 - accept[:, labels].mean(1), thresholds


def crossing(a, b):
    """Where the segment between two (p_fa, p_miss) points meets p_miss = p_fa, else infinity."""
    d0, d1 = a[1] - a[0], b[1] - b[0]
    if d0 > 0 or d1 < 0:
        return math.inf
    t = 0.0 if d1 == d0 else -d0 / (d1 - d0)
    return a[0] + t * (b[0] - a[0])


def test_convex_hull_eer_is_the_lowest_crossing_of_any_chord(device):
    for scores, labels in small_cases():
        p_fa, p_miss, _ = brute_points(scores, labels)
        points = list(zip(p_fa, p_miss, strict=True))
        expected = min(crossing(a, b) for a in points for b in points)
        found = metrics.eer_hull(torch.tensor(scores, device=device), torch.tensor(labels))
        assert found == pytest.approx(expected, abs=1e-12)


def test_convex_hull_eer_is_the_largest_minimum_bayes_error():
    for scores, labels in small_cases():
        p_fa, p_miss, _ = brute_points(scores, labels)
        priors = np.linspace(0, 1, 20001)[:, None]
        worst = (priors * p_miss + (1 - priors) * p_fa).min(1).max()
        assert metrics.eer_hull(scores, labels) == pytest.approx(worst, abs=1e-4)


def test_eer_is_the_crossing_of_scikit_learns_roc(device):
    for scores, labels in small_cases():
        p_fa, p_hit, _ = roc_curve(labels, scores, drop_intermediate=False)
        points = list(zip(p_fa, 1 - p_hit, strict=True))[::-1]
        expected = min(crossing(a, b) for a, b in itertools.pairwise(points))
        found = metrics.eer(torch.tensor(scores, device=device), torch.tensor(labels))
        assert found == pytest.approx(expected, abs=1e-12)
        assert metrics.eer_hull(scores, labels) <= found + 1e-12


def test_eer_is_what_toolkits_compute():
    """The usual recipe: the root of 1 - tpr - fpr on the interpolated ROC."""
    for scores, labels in small_cases():
        fpr, tpr, _ = roc_curve(labels, scores)
        usual = brentq(lambda x, fpr=fpr, tpr=tpr: 1 - x - np.interp(x, fpr, tpr), 0, 1, xtol=1e-12)
        assert metrics.eer(scores, labels) == pytest.approx(usual, abs=1e-9)


def test_figures_show_the_usual_eer_and_keep_that_of_the_hull():
    """On this small list the two differ: the step curve crosses at 1/3, its hull at 2/7."""
    scores, labels = [0, 1, 2, 3, 4, 5], [0, 1, 0, 0, 1, 1]
    made = metrics.evaluate(scores, labels)
    assert made["eer"] == pytest.approx(1 / 3)
    assert made["eer_hull"] == pytest.approx(metrics.eer_hull(scores, labels))
    assert made["eer_hull"] < 0.3


def test_min_dcf_is_the_minimum_over_all_thresholds(device):
    for scores, labels in small_cases():
        p_fa, p_miss, _ = brute_points(scores, labels)
        for p, c_miss, c_fa in COSTS:
            cost = p * c_miss * p_miss + (1 - p) * c_fa * p_fa
            expected = cost.min() / min(p * c_miss, (1 - p) * c_fa)
            on_device = torch.tensor(scores, device=device), torch.tensor(labels, device=device)
            assert metrics.min_dcf(*on_device, p, c_miss, c_fa) == pytest.approx(expected)
            threshold = metrics.min_dcf_threshold(*on_device, p, c_miss, c_fa)
            at = p * c_miss * (scores[labels] < threshold).mean()
            at += (1 - p) * c_fa * (scores[~labels] >= threshold).mean()
            assert at == pytest.approx(cost.min())


def test_coarse_to_fine_search_finds_what_a_full_search_finds(device):
    rng = np.random.default_rng(1)
    for n, share, digits in ((5000, 0.5, 9), (20000, 0.01, 2), (20000, 0.97, 9), (3000, 0.3, 1)):
        labels = rng.random(n) < share
        scores = np.round(rng.normal(size=n) * (1 + labels) + labels, digits)
        p_fa, p_hit, _ = roc_curve(labels, scores, drop_intermediate=False)
        result = metrics.evaluate(torch.tensor(scores, device=device), labels, (0.01, 0.5))
        for p, found in result["min_dcf"].items():
            cost = (p * (1 - p_hit) + (1 - p) * p_fa).min() / min(p, 1 - p)
            assert found == pytest.approx(cost, rel=1e-12)
        # Lower hull by Andrew's monotone chain, independent of the search for its diagonal edge.
        hull = []
        for point in sorted(zip(p_fa, 1 - p_hit, strict=True)):
            while len(hull) > 1 and np.linalg.det(np.diff([*hull[-2:], point], axis=0)) <= 0:
                hull.pop()
            hull.append(point)
        expected = min(crossing(b, a) for a, b in itertools.pairwise(hull))
        assert result["eer_hull"] == pytest.approx(expected, abs=1e-9)


def test_det_points_are_all_operating_points(device):
    for scores, labels in small_cases():
        expected = brute_points(scores, labels)
        for found in (
            metrics.det_points(scores, labels),
            metrics.det_points(torch.tensor(scores, device=device), labels),
        ):
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(torch.as_tensor(a).cpu(), b, atol=1e-12)
        assert isinstance(metrics.det_points(scores, labels)[0], np.ndarray)


def test_eer_threshold_is_the_first_where_misses_reach_false_alarms(device):
    for scores, labels in small_cases():
        p_fa, p_miss, thresholds = brute_points(scores, labels)
        first = thresholds[np.flatnonzero(p_miss >= p_fa)[0]]
        assert metrics.eer_threshold(torch.tensor(scores, device=device), labels) == first


def test_min_cllr_is_cllr_after_scikit_learns_isotonic_regression(device):
    for scores, labels in small_cases():
        posterior = IsotonicRegression().fit(scores, labels).predict(scores)
        with np.errstate(divide="ignore"):
            llrs = np.log(posterior) - np.log1p(-posterior)
        llrs -= np.log(labels.sum() / (~labels).sum())
        expected = metrics.cllr(llrs, labels)
        found = metrics.min_cllr(torch.tensor(scores, device=device), labels)
        assert found == pytest.approx(expected, abs=1e-9)
        assert 0.0 <= found <= 1.0 + 1e-12


def test_cllr_and_act_dcf_are_their_formulas(device):
    rng = np.random.default_rng(2)
    labels = rng.random(500) < 0.3
    llrs = rng.normal(size=500) * 3 + 2 * labels
    expected = 0.5 * (
        np.mean(np.log2(1 + np.exp(-llrs[labels]))) + np.mean(np.log2(1 + np.exp(llrs[~labels])))
    )
    on_device = torch.tensor(llrs, device=device), torch.tensor(labels, device=device)
    assert metrics.cllr(*on_device) == pytest.approx(expected, rel=1e-12)
    for p, c_miss, c_fa in COSTS:
        threshold = np.log(c_fa * (1 - p) / (c_miss * p))
        assert metrics.bayes_threshold(p, c_miss, c_fa) == pytest.approx(threshold, abs=1e-12)
        cost = p * c_miss * (llrs[labels] < threshold).mean()
        cost += (1 - p) * c_fa * (llrs[~labels] >= threshold).mean()
        expected = cost / min(p * c_miss, (1 - p) * c_fa)
        assert metrics.act_dcf(*on_device, p, c_miss, c_fa) == pytest.approx(expected, rel=1e-12)
        assert metrics.min_dcf(*on_device, p, c_miss, c_fa) <= expected + 1e-12


@pytest.mark.parametrize("separation", [0.5, 2.0, 4.0])
def test_normal_scores_have_the_rates_of_theory(separation, device):
    """LLRs of two unit normals, `separation` apart: N(+-d^2/2, d^2). Quantiles, no luck needed."""
    n = 100_000
    quantiles = norm.ppf((np.arange(n) + 0.5) / n)
    mean, deviation = separation**2 / 2, separation
    llrs = np.concatenate([mean + deviation * quantiles, -mean + deviation * quantiles])
    labels = np.arange(2 * n) < n
    on_device = torch.tensor(llrs, device=device), torch.tensor(labels, device=device)
    result = metrics.evaluate(*on_device, points=(0.01, 0.3), calibrated=True)
    assert result["eer"] == pytest.approx(norm.cdf(-separation / 2), abs=2e-5)
    assert result["eer_hull"] == pytest.approx(norm.cdf(-separation / 2), abs=2e-5)
    bits, _ = quad(
        lambda z: norm.pdf(z) * np.logaddexp(0, -(mean + deviation * z)) / np.log(2), -9, 9
    )
    assert result["cllr"] == pytest.approx(bits, abs=2e-5)
    assert result["min_cllr"] == pytest.approx(bits, abs=2e-4)
    assert result["min_cllr"] <= result["cllr"]
    for p in (0.01, 0.3):
        threshold = metrics.bayes_threshold(p)
        cost = p * norm.cdf((threshold - mean) / deviation)
        cost += (1 - p) * norm.sf((threshold + mean) / deviation)
        assert result["act_dcf"][p] == pytest.approx(cost / p, abs=1e-3)
        assert result["min_dcf"][p] == pytest.approx(cost / p, abs=1e-3)


def test_monotone_transforms_change_nothing(device):
    for scores, labels in small_cases():
        for transform in (np.arctan, lambda s: np.exp(s / 2), lambda s: 3 * s - 7):
            a = metrics.evaluate(torch.tensor(scores, device=device), labels)
            b = metrics.evaluate(torch.tensor(transform(scores), device=device), labels)
            assert a == b
            assert metrics.min_cllr(scores, labels) == metrics.min_cllr(transform(scores), labels)


def test_swapping_classes_and_sign_changes_nothing():
    for scores, labels in small_cases():
        for metric in (metrics.eer, metrics.eer_hull, metrics.min_cllr):
            assert metric(-scores, ~labels) == pytest.approx(metric(scores, labels), abs=1e-12)
        for p, c_miss, c_fa in COSTS:
            swapped = metrics.min_dcf(-scores, ~labels, 1 - p, c_fa, c_miss)
            assert swapped == pytest.approx(metrics.min_dcf(scores, labels, p, c_miss, c_fa))


def test_order_of_trials_and_repeating_them_change_nothing():
    rng = np.random.default_rng(3)
    for scores, labels in small_cases():
        order = rng.permutation(len(scores))
        reference = metrics.evaluate(scores, labels)
        assert metrics.evaluate(scores[order], labels[order]) == reference
        twice = metrics.evaluate(np.tile(scores, 2), np.tile(labels, 2))
        assert twice["eer"] == pytest.approx(reference["eer"], abs=1e-12)
        assert twice["min_dcf"] == pytest.approx(reference["min_dcf"])


def test_ties_are_decided_together():
    # One score for all: the only choices are to accept all or none.
    assert metrics.eer([0.3] * 4, [1, 0, 1, 0]) == 0.5
    assert metrics.eer_hull([0.3] * 4, [1, 0, 1, 0]) == 0.5
    assert metrics.min_dcf([0.3] * 4, [1, 0, 1, 0]) == 1.0
    assert metrics.min_cllr([0.3] * 4, [1, 0, 1, 0]) == pytest.approx(1.0)
    # A target tied with a non-target at the boundary: it cannot be had without the other.
    assert metrics.eer([1, 2, 2, 3], [0, 0, 1, 1]) == 0.25
    assert metrics.min_dcf([1, 2, 2, 3], [0, 0, 1, 1], 0.5) == 0.5


def test_perfect_and_inverted_systems():
    scores, labels = [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]
    assert metrics.eer(scores, labels) == 0.0
    assert metrics.eer_hull(scores, labels) == 0.0
    assert metrics.min_dcf(scores, labels) == 0.0
    assert metrics.min_cllr(scores, labels) == 0.0
    assert metrics.min_dcf_threshold(scores, labels) == 0.8
    inverted = [1, 1, 0, 0]
    assert metrics.eer(scores, inverted) == 1.0
    assert metrics.eer_hull(scores, inverted) == 0.5
    assert metrics.min_dcf(scores, inverted) == 1.0
    assert metrics.min_dcf_threshold(scores, inverted, 0.01) == math.inf
    assert metrics.min_dcf_threshold(scores, inverted, 0.99) == 0.1


@pytest.mark.parametrize("metric", SCORE_METRICS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_scores_are_refused(metric, bad, device):
    for place in range(4):
        scores = torch.tensor([0.1, 0.2, 0.3, 0.4], device=device)
        scores[place] = bad
        with pytest.raises(ValueError):
            metric(scores, torch.tensor([1, 0, 1, 0], device=device))


@pytest.mark.parametrize("metric", [*SCORE_METRICS, metrics.act_dcf, metrics.cllr])
def test_wrong_input_is_refused(metric, device):
    scores = torch.tensor([0.1, 0.2], device=device)
    for labels in ([1, 1], [0, 0], [False, False]):
        with pytest.raises(ValueError):
            metric(scores, labels)
    with pytest.raises(ValueError):
        metric(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(ValueError):
        metric(scores, [1, 2])
    with pytest.raises(ValueError):
        metric(scores, [1, 0, 1])
    with pytest.raises(ValueError):
        metric(scores[:, None], torch.tensor([[1], [0]]))


def test_infinite_log_likelihood_ratios_have_a_meaning():
    right = np.array([np.inf, 0.0, -np.inf, 0.0])
    labels = np.array([1, 1, 0, 0])
    assert metrics.cllr(right, labels) == pytest.approx(0.5)
    assert metrics.cllr(-right, labels) == math.inf
    assert metrics.act_dcf(right, labels, 0.4) == pytest.approx(0.5)
    for metric in (metrics.cllr, metrics.act_dcf):
        with pytest.raises(ValueError):
            metric([math.nan, 0.0], [1, 0])


@pytest.mark.parametrize("costs", [(0.0, 1, 1), (1.0, 1, 1), (0.5, 0, 1), (0.5, 1, math.inf)])
def test_costs_outside_their_range_are_refused(costs):
    for call in (metrics.min_dcf, metrics.act_dcf, metrics.min_dcf_threshold):
        with pytest.raises(ValueError):
            call([0.0, 1.0], [0, 1], *costs)


def test_integers_half_precision_and_lists_are_taken():
    labels = [True, False, True, False]
    expected = metrics.evaluate([3.0, 1.0, 2.0, 2.0], labels)
    for scores in (
        [3, 1, 2, 2],
        np.array([3, 1, 2, 2], np.int32),
        torch.tensor([3.0, 1, 2, 2], dtype=torch.float16),
        torch.tensor([3.0, 1, 2, 2], requires_grad=True),
        np.array([3.0, 0, 1, 0, 2, 0, 2, 0])[::2],
    ):
        assert metrics.evaluate(scores, labels) == expected
