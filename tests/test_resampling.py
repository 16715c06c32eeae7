"""The fast speaker bootstrap against the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from acorl_sb import bootstrap, metrics, resampling


def speaker_trials(seed, speakers=40, trials=4000, decimals=None):
    """Trials over speakers who differ in how hard they are; target trials have one speaker."""
    rng = np.random.default_rng(seed)
    enrol, test = rng.integers(0, speakers, (2, trials))
    same = rng.random(trials) < 0.3
    test = np.where(same, enrol, test)
    labels = enrol == test
    hard = rng.normal(0, 0.7, speakers)
    scores = 2.0 * labels + hard[enrol] + hard[test] + rng.standard_normal((2, trials))
    return (
        scores if decimals is None else scores.round(decimals),
        labels,
        enrol * 7 + 3,
        test * 7 + 3,
    )


MEASURES = bootstrap.standard_measures((0.01, 0.05, 0.5), c_miss=2.0, c_fa=1.5)


@pytest.mark.parametrize("decimals", [None, 1])
def test_equals_the_plain_bootstrap_draw_by_draw(decimals):
    scores, labels, enrol, test = speaker_trials(0, decimals=decimals)
    plain = bootstrap.speaker_bootstrap(scores, labels, enrol, test, MEASURES, 60, seed=5)
    fast = resampling.SpeakerResampler(labels, enrol, test, 60, seed=5)
    for row, system in enumerate(scores):
        for name, values in fast(system, MEASURES).items():
            np.testing.assert_allclose(values, plain[name][row], atol=1e-9)


def test_a_grid_of_thresholds_moves_an_interval_by_little(monkeypatch):
    scores, labels, enrol, test = speaker_trials(1, speakers=200, trials=60_000)
    fast = resampling.SpeakerResampler(labels, enrol, test, 200, seed=1)
    monkeypatch.setattr(resampling, "EXACT", 10**9)
    exact = fast(scores[0], MEASURES)
    monkeypatch.setattr(resampling, "EXACT", 0)
    coarse = fast(scores[0], MEASURES)
    p_miss, _ = fast.rates(scores[0])
    assert len(p_miss) < 2000
    for name, values in exact.items():
        assert np.abs(coarse[name] - values).max() < 0.3 * values.std()
        assert abs(np.mean(coarse[name] - values)) < 0.1 * values.std()


def test_drawing_everybody_once_gives_the_metric_itself():
    scores, labels, enrol, test = speaker_trials(2)
    fast = resampling.SpeakerResampler(labels, enrol, test, 20)
    fast.draws[:, 0] = 1.0
    fast.n_target[0], fast.n_nontarget[0] = labels.sum(), (~labels).sum()
    made = fast(scores[0], [bootstrap.Measure("eer"), bootstrap.Measure("min_dcf", 0.05)])
    assert made["eer"][0] == pytest.approx(metrics.eer(scores[0], labels), abs=1e-9)
    expected = metrics.min_dcf(scores[0], labels, 0.05)
    assert made["min_dcf(0.05)"][0] == pytest.approx(expected, abs=1e-6)


def test_draws_without_a_class_are_nan():
    labels = np.array([True, True, False, False])
    enrol, test = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2])
    made = resampling.SpeakerResampler(labels, enrol, test, 200)(np.array([3.0, 1.0, 2.0, 0.0]))
    plain = bootstrap.speaker_bootstrap(
        np.array([3.0, 1.0, 2.0, 0.0]), labels, enrol, test, replicates=200
    )
    assert np.isnan(made["eer"]).any() and np.isfinite(made["eer"]).any()
    np.testing.assert_allclose(made["eer"], plain["eer"][0], atol=1e-9)


def test_what_is_refused():
    labels = np.array([True, False])
    with pytest.raises(ValueError, match="at least two speakers"):
        resampling.SpeakerResampler(labels, np.zeros(2, int), np.zeros(2, int))
    with pytest.raises(ValueError, match="contradict"):
        resampling.SpeakerResampler(labels, np.array([0, 1]), np.array([1, 1]))
    fast = resampling.SpeakerResampler(labels, np.array([0, 1]), np.array([0, 2]), 20)
    with pytest.raises(ValueError, match="only eer and min_dcf"):
        fast(np.array([1.0, 0.0]), [bootstrap.Measure("cllr")])
