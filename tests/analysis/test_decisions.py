"""Common errors, Yule's Q and oracle bounds on pairs whose answer is known."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from acorl_sb import metrics
from acorl_sb.analysis.decisions import (
    best_linear_fusion,
    errors_of_class,
    gaussian_fusion_eer,
    oracle_bounds,
    q_statistic,
)
from acorl_sb.fusion.subsets import error_overlap, wrong_decisions

N = 40_000
LABELS = np.arange(N) < N // 2


def gaussian_pair(correlation, d_a=2.0, d_b=2.0, seed=0):
    """Scores of two members: classes d apart in units of their deviation, correlated noise."""
    a, b = np.random.default_rng(seed).normal(size=(2, N))
    b = correlation * a + math.sqrt(1 - correlation**2) * b
    return a + d_a * LABELS, b + d_b * LABELS


def test_wrong_decisions_are_as_many_as_the_eer_says():
    a, _ = gaussian_pair(0.0)
    wrong = wrong_decisions(a, LABELS)
    for part in (LABELS, ~LABELS):
        assert wrong[part].mean() == pytest.approx(norm.cdf(-1), abs=0.006)


def test_identical_members_err_together():
    a, _ = gaussian_pair(0.0)
    wrong = wrong_decisions(a, LABELS)
    overlap = errors_of_class(wrong[LABELS], wrong[LABELS])
    assert overlap.share == 1 and overlap.q == 1
    p = overlap.first
    assert overlap.both == overlap.either == p
    assert overlap.expected == pytest.approx(p / (2 - p))


def test_independent_members_err_together_by_chance_only():
    wrong = [wrong_decisions(scores, LABELS) for scores in gaussian_pair(0.0)]
    for part in (LABELS, ~LABELS):
        overlap = errors_of_class(wrong[0][part], wrong[1][part])
        assert overlap.share == pytest.approx(overlap.expected, abs=0.01)
        assert overlap.q == pytest.approx(0, abs=0.08)


def test_half_shared_errors():
    """100 trials, ten errors each, five of them common."""
    first, second = np.zeros((2, 100), dtype=bool)
    first[:10] = True
    second[5:15] = True
    overlap = errors_of_class(first, second)
    assert (overlap.first, overlap.second, overlap.both, overlap.either) == (0.1, 0.1, 0.05, 0.15)
    assert overlap.share == pytest.approx(1 / 3)
    assert overlap.expected == pytest.approx(0.01 / 0.19)
    # n11 = 85, n00 = 5, n10 = n01 = 5
    assert overlap.q == pytest.approx((85 * 5 - 25) / (85 * 5 + 25))


def test_opposite_errors_and_undefined_cases():
    first = np.array([True, False, False, False])
    assert q_statistic(first, np.array([False, True, False, False])) == -1
    none = np.zeros(4, dtype=bool)
    overlap = errors_of_class(none, none)
    assert math.isnan(overlap.q) and math.isnan(overlap.share)


def test_agrees_with_the_pooled_share():
    """One definition in two places: the pooled share from the two classes' counts."""
    a, b = gaussian_pair(0.5)
    pooled = error_overlap(np.stack([a, b]), LABELS)
    wrong = [wrong_decisions(scores, LABELS) for scores in (a, b)]
    both = sum((wrong[0] & wrong[1])[part].sum() for part in (LABELS, ~LABELS))
    assert pooled["common"][0, 1] == both
    parts = [errors_of_class(wrong[0][part], wrong[1][part]) for part in (LABELS, ~LABELS)]
    share = sum(p.both for p in parts) / sum(p.either for p in parts)
    assert pooled["share"][0, 1] == pytest.approx(share)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_bounds_of_gaussian_members(correlation):
    """The best weighted sum of two Gaussian scores is known in closed form."""
    a, b = gaussian_pair(correlation, d_a=2.0, d_b=1.5)
    bounds = oracle_bounds(a, b, LABELS, angles=18)
    d = np.array([2.0, 1.5])
    covariance = np.array([[1, correlation], [correlation, 1]])
    expected = norm.cdf(-math.sqrt(d @ np.linalg.solve(covariance, d)) / 2)
    assert bounds.linear == pytest.approx(expected, abs=0.005)
    assert bounds.gaussian == pytest.approx(expected, abs=0.005)
    assert bounds.linear <= min(metrics.eer(a, LABELS), metrics.eer(b, LABELS))
    if correlation == 0:
        assert bounds.decision == pytest.approx(norm.cdf(-1) * norm.cdf(-0.75), abs=0.005)


def test_bounds_of_identical_members_are_the_member():
    a, _ = gaussian_pair(0.0)
    bounds = oracle_bounds(a, a, LABELS, angles=12)
    eer = metrics.eer(a, LABELS)
    assert bounds.linear == pytest.approx(eer, abs=1e-6)
    assert bounds.gaussian == pytest.approx(eer)
    assert bounds.decision == pytest.approx(eer, abs=1e-3)


def test_a_member_that_knows_the_others_noise_gets_a_negative_weight():
    a, b = gaussian_pair(0.9, d_a=2.0, d_b=0.2)
    error, weight = best_linear_fusion(a, b, LABELS, angles=36)
    assert error < 0.7 * metrics.eer(a, LABELS)
    assert abs(weight) < 1


def test_gaussian_fusion_eer_in_closed_form():
    """Two equal independent members: d' grows by sqrt 2."""
    eer = norm.cdf(-1.0)
    assert gaussian_fusion_eer(eer, eer, 0.0) == pytest.approx(norm.cdf(-math.sqrt(2)))
    assert gaussian_fusion_eer(eer, eer, 1.0) == pytest.approx(eer)
    assert gaussian_fusion_eer(0.5, 0.5, 0.3) == pytest.approx(0.5)
