"""Selective EER trial by trial, and predicted error rates against simulated ones."""

from __future__ import annotations

import numpy as np
import pytest

from acorl_sb import metrics
from acorl_sb.metrics.selective import error_by_doubt, error_probability, selective_eer


def test_each_point_is_the_eer_of_what_is_answered():
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.4
    scores, doubt = rng.normal(size=400) + 1.5 * labels, rng.random(400)
    found = selective_eer(scores, labels, doubt, [0.25, 0.5, 1.0])
    for share, value in zip([0.25, 0.5], found, strict=False):
        kept = doubt <= np.sort(doubt)[int(400 * share) - 1]
        assert value == pytest.approx(metrics.eer(scores[kept], labels[kept]))
    assert found[2] == pytest.approx(metrics.eer(scores, labels))


def test_doubt_of_the_wrong_trials_takes_all_errors_away_and_its_reverse_adds_some():
    labels = np.arange(100) % 2 == 0
    scores = np.where(labels, 1.0, -1.0)
    scores[:10] *= -1
    doubt = np.r_[np.ones(10), np.zeros(90)]
    better, worse = (selective_eer(scores, labels, d, [0.9])[0] for d in (doubt, -doubt))
    assert better == 0 and worse > metrics.eer(scores, labels)


def test_trials_of_equal_doubt_are_not_left_out_by_their_place_in_the_list():
    rng = np.random.default_rng(0)
    labels = np.arange(4000) < 2000
    scores, doubt = rng.normal(size=4000) + 1.5 * labels, np.zeros(4000)
    whole = metrics.eer(scores, labels)
    for order in (slice(None), slice(None, None, -1)):
        (half,) = selective_eer(scores[order], labels[order], doubt, [0.75])
        assert half == pytest.approx(whole, abs=0.02)
        rows = error_by_doubt(scores[order], labels[order], doubt, 0.75, bins=4)
        assert all(300 < row["targets"] < 700 for row in rows)


def test_one_class_alone_has_no_eer_and_shares_are_checked():
    labels = np.array([True, True, False])
    assert selective_eer([1.0, 2.0, 0.0], labels, [0, 1, 2], [0.5]) == [None]
    with pytest.raises(ValueError):
        selective_eer([1.0, 2.0, 0.0], labels, [0, 1, 2], [0.0])
    with pytest.raises(ValueError):
        selective_eer([1.0, 2.0], labels, [0, 1, 2])


def test_a_gaussian_error_is_predicted_as_often_as_it_happens():
    """The right decision is that of the true LLR; the one seen is off by its own deviation."""
    rng = np.random.default_rng(1)
    seen, std = rng.uniform(-4, 4, 40_000), rng.uniform(0.1, 3.0, 40_000)
    labels = seen + std * rng.normal(size=40_000) >= 0.5
    rows = error_by_doubt(seen, labels, std, 0.5, bins=8)
    assert sum(row["trials"] for row in rows) == 40_000
    assert [row["std"] for row in rows] == sorted(row["std"] for row in rows)
    for row in rows:
        assert row["error"] == pytest.approx(row["predicted"], abs=0.03)
    assert rows[-1]["error"] > 2 * rows[0]["error"]


def test_error_probability_at_its_ends():
    found = error_probability([1.0, 1.0, 2.0, 2.0], [1.0, 0.0, 0.0, 1.0], 1.0)
    assert found[:3] == pytest.approx([0.5, 0.5, 0.0])
    assert found[3] == pytest.approx(0.15865525, abs=1e-8)
