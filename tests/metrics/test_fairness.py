"""Fairness figures against their definitions, worked examples and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from acorl_sb.metrics.fairness import bootstrap_p, gini, gini_by_chance, holm, worst_to_best


@pytest.mark.parametrize("n", [2, 3, 7])
def test_gini_is_the_mean_difference_of_two_groups_over_twice_the_mean(n):
    errors = np.random.default_rng(n).uniform(0.01, 0.2, n)
    pairs = [abs(a - b) for a, b in itertools.permutations(errors, 2)]
    assert gini(errors) == pytest.approx(np.mean(pairs) / (2 * errors.mean()))
    assert gini(5 * errors) == pytest.approx(gini(errors))
    assert gini(np.stack([errors, 2 * errors], 1)) == pytest.approx([gini(errors)] * 2)


def test_gini_at_its_ends():
    assert gini([0.3] * 4) == pytest.approx(0, abs=1e-12)
    assert gini([0.0, 0.0, 0.0, 0.4]) == pytest.approx(1)
    assert np.isnan(gini([0.0, 0.0]))
    with pytest.raises(ValueError):
        gini([0.1])


def test_worst_to_best():
    assert worst_to_best([0.1, 0.3, 0.2]) == pytest.approx(3)
    assert worst_to_best([0.0, 0.3]) is None


def test_groups_of_one_true_error_look_unequal_by_chance_alone():
    rng = np.random.default_rng(0)
    spread = rng.normal(0.1, 0.01, (4, 4000))
    expected = gini(rng.normal(0.1, 0.01, (4, 4000))).mean()
    assert gini_by_chance([0.1] * 4, spread) == pytest.approx(expected, rel=0.05)
    # Where the groups truly differ, chance alone is what it was.
    means = np.array([0.08, 0.09, 0.11, 0.12])
    moved = spread - 0.1 + means[:, None]
    assert gini_by_chance(means, moved) == pytest.approx(expected, rel=0.05)
    some = np.where(np.arange(10) < 3, np.nan, spread[:2, :10])
    assert gini_by_chance([0.1, 0.1], some) is None
    assert gini_by_chance([0.1, 0.1], np.full((2, 3), np.nan)) is None


def test_bootstrap_p_counts_the_replicates_beyond_no_difference():
    assert bootstrap_p(np.r_[np.full(90, 1.0), np.full(9, -1.0)]) == pytest.approx(2 * 10 / 100)
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(9)) == 1.0
    known = np.r_[np.full(85, 1.0), np.full(9, -1.0)]
    assert bootstrap_p(np.r_[known, np.full(5, np.nan)]) == pytest.approx(2 * 10 / 95)
    # As few replicates have no interval either.
    assert bootstrap_p(np.r_[known, np.full(20, np.nan)]) is None


def test_bootstrap_p_is_even_where_there_is_no_difference():
    rng = np.random.default_rng(1)
    p = [bootstrap_p(rng.normal(rng.normal(), 1, 400)) for _ in range(400)]
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.05)


def test_holm_by_its_definition():
    """Hypothesis i is rejected at a exactly when its adjusted p-value is at most a."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        p = rng.uniform(0, 0.2, rng.integers(1, 7))
        adjusted = holm(p)
        for level in (0.01, 0.05, 0.1, 0.3):
            rejected = set()
            for step, i in enumerate(np.argsort(p)):
                if p[i] * (len(p) - step) > level:
                    break
                rejected.add(int(i))
            assert rejected == {i for i, value in enumerate(adjusted) if value <= level}
        assert holm([None, *p, None]) == [None, *adjusted, None]
