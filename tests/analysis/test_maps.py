"""Profiles and overlap of maps whose answer is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from acorl_sb.analysis import maps


def random_maps(seed, shape=(20, 30, 12)):
    return np.random.default_rng(seed).normal(size=shape)


def elsewhere(count):
    return np.roll(np.arange(count), 1)


def test_frequency_profile_of_one_band():
    made = np.zeros((3, 10, 4))
    made[:, :, 2] = -5.0  # what lowers the score counts as well
    made[:, 0, 1] = 50.0
    np.testing.assert_allclose(maps.frequency_profile(made), [[0, 0.5, 0.5, 0]] * 3)


def test_time_profile():
    """All weight on the voiced half of the frames: density 2; none on silence."""
    made, classes = np.zeros((2, 8, 3)), np.ones((2, 8), dtype=int)
    classes[:, :4], classes[:, 7] = 2, 0
    made[0, :4], made[1, :4] = 1.0, -100.0
    profile = maps.time_profile(made, classes)
    assert profile["voiced"] == pytest.approx((1.0, 0.5, 2.0))
    assert profile["unvoiced"] == pytest.approx((0.0, 0.375, 0.0))
    assert profile["silence"] == pytest.approx((0.0, 0.125, 0.0))
    uniform = maps.time_profile(np.ones((2, 8, 3)), classes)
    assert all(row.density == pytest.approx(1) for row in uniform.values())
    assert np.isnan(maps.time_profile(made, np.ones((2, 8)))["voiced"].density)


def test_rank_correlation_equals_scipy_with_ties():
    a, b = np.round(random_maps(1), 1), np.round(random_maps(2) + random_maps(1), 1)
    expected = [spearmanr(x.ravel(), y.ravel())[0] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(maps.rank_correlation(a, b), expected)
    assert np.isnan(maps.rank_correlation(a, np.zeros_like(a))).all()


def test_top_cells_and_their_intersection():
    made = np.arange(100.0).reshape(1, 10, 10)
    assert maps.top_cells(made, 0.1)[0, 9].all() and maps.top_cells(made, 0.1).sum() == 10
    assert maps.top_intersection(made, made, 0.1) == 1
    assert maps.top_intersection(made, -made, 0.1) == 0
    assert maps.top_cells(np.zeros((1, 10, 10)), 0.1).sum() == 10


@pytest.mark.parametrize("kind", ["identical", "independent", "half-shared"])
def test_overlap_of_known_pairs(kind):
    first, other = random_maps(1, (40, 30, 40)), random_maps(2, (40, 30, 40))
    second = {"identical": first, "independent": other, "half-shared": first + other}[kind]
    found = maps.overlap(first, second, np.ones_like(first), elsewhere(40), (1, 1))
    # Spearman of Gaussians with correlation r: 6 / pi asin(r / 2).
    rank = {"identical": 1, "independent": 0, "half-shared": 6 / np.pi * np.arcsin(0.5**0.5 / 2)}
    assert found.rank.mean() == pytest.approx(rank[kind], abs=0.02)
    assert found.rank_chance.mean() == pytest.approx(0, abs=0.02)
    assert found.top_chance.mean() == pytest.approx(0.1, abs=0.02)
    if kind == "half-shared":
        assert 0.3 < found.top.mean() < 0.6
    else:
        assert found.top.mean() == pytest.approx(1 if kind == "identical" else 0.1, abs=0.02)


def test_chance_keeps_what_all_maps_share():
    """Members that both weigh the same bands overlap whatever the input; chance must say so."""
    band = np.linspace(0, 3, 12)
    first, second = random_maps(1) + band, random_maps(2) + band
    found = maps.overlap(first, second, np.ones_like(first), elsewhere(20), (1, 1))
    assert found.rank.mean() > 0.3
    assert found.rank.mean() == pytest.approx(found.rank_chance.mean(), abs=0.02)
    assert found.top.mean() == pytest.approx(found.top_chance.mean(), abs=0.03)


def test_chance_knows_that_extremes_of_the_input_stand_out():
    """Unrelated gradients times one input: more in common than 10 %, and no similarity at all."""
    contrast = random_maps(3, (40, 30, 40)) ** 3
    first, second = (random_maps(seed, (40, 30, 40)) * contrast for seed in (1, 2))
    found = maps.overlap(first, second, contrast, elsewhere(40), (1, 1))
    assert found.top.mean() > 0.15 > found.top_chance.mean()
    assert found.top_input.mean() == pytest.approx(found.top.mean(), abs=0.02)
    assert found.rank_input.mean() == pytest.approx(0, abs=0.02)
    same = maps.overlap(first, first, contrast, elsewhere(40), (1, 1))
    assert same.top.mean() == 1 and same.top_input.mean() < 0.4


def test_smoothing_finds_neighbours():
    """Cells next to each other count as the same place once both are averaged."""
    first, second = np.zeros((4, 30, 12)), np.zeros((4, 30, 12))
    first[:, 10:12, 4], second[:, 12:14, 5] = 1, 1
    share = 2 / 360
    assert maps.top_intersection(first, second, share).max() == 0
    blurred = [maps.smooth(x, 5, 3) for x in (first, second)]
    assert maps.rank_correlation(*blurred).min() > maps.rank_correlation(first, second).max()
    assert maps.smooth(first, 1, 1) is first


def test_common_grid_keeps_sums_and_places():
    fine, coarse = random_maps(1, (3, 30, 12)), random_maps(2, (3, 15, 8))
    a, b = maps.common_grid(fine, coarse)
    assert a.shape == b.shape == (3, 15, 8)
    np.testing.assert_allclose(a.sum((1, 2)), fine.sum((1, 2)))
    np.testing.assert_allclose(b, coarse)
    np.testing.assert_allclose(a.sum(2)[:, 0], fine[:, :2].sum((1, 2)))
    assert maps.common_grid(fine, fine)[0] is fine
