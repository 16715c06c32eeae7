"""The bootstrap over speakers: against trials repeated one by one, and its coverage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from acorl_sb import metrics
from acorl_sb.metrics import bootstrap, weighted_roc
from acorl_sb.metrics.bootstrap import Measure, SpeakerBootstrap, speaker_bootstrap
from acorl_sb.metrics.intervals import interval

STANDARD = bootstrap.standard_measures((0.01, 0.05, 0.5), c_miss=2.0, c_fa=1.5)
MEASURES = [
    Measure("eer"),
    Measure("min_dcf"),
    Measure("min_dcf", 0.3, 2.0, 5.0),
    Measure("act_dcf", 0.2),
    Measure("cllr"),
]


def trials(rng, speakers, sessions=4, digits=9, systems=1):
    """All pairs of `sessions` utterances of each speaker, with scores; (S, N), (N,) ..."""
    speaker = np.repeat(np.arange(speakers), sessions)
    a, b = np.triu_indices(len(speaker), 1)
    labels = speaker[a] == speaker[b]
    scores = rng.normal(size=(systems, len(a))) * 2 + 3 * labels
    return np.round(scores, digits), labels, speaker[a], speaker[b]


def by_repeating_trials(measure, scores, labels, enrol, test, counts, squared):
    """The metric of the list in which every trial stands as often as it occurs."""
    times = counts[enrol] * counts[test]
    if not squared:
        times = np.where(labels, counts[enrol], times)
    scores, labels = np.repeat(scores, times), np.repeat(labels, times)
    if measure.kind in ("eer", "cllr"):
        return getattr(metrics, measure.kind)(scores, labels)
    costs = measure.p_target, measure.c_miss, measure.c_fa
    return getattr(metrics, measure.kind)(scores, labels, *costs)


@pytest.mark.parametrize("target_weight", ["speaker", "product"])
@pytest.mark.parametrize("digits", [9, 0])
def test_replicates_are_metrics_of_repeated_trials(target_weight, digits, device):
    rng = np.random.default_rng(0)
    scores, labels, enrol, test = trials(rng, 9, digits=digits, systems=2)
    found = speaker_bootstrap(
        torch.tensor(scores, device=device),
        labels,
        enrol,
        test,
        MEASURES,
        replicates=25,
        seed=3,
        target_weight=target_weight,
    )
    draws = bootstrap.draws(9, 25, 3)
    assert (draws.sum(1) == 9).all()
    for measure in MEASURES:
        values = found[str(measure)]
        assert values.shape == (2, 25)
        for s in range(2):
            expected = [
                by_repeating_trials(
                    measure, scores[s], labels, enrol, test, counts, target_weight == "product"
                )
                for counts in draws
            ]
            assert values[s] == pytest.approx(expected, abs=1e-9), str(measure)


def test_drawing_every_speaker_once_gives_the_metric_itself(monkeypatch, device):
    monkeypatch.setattr(bootstrap, "draws", lambda k, r, seed: np.ones((r, k)))
    rng = np.random.default_rng(1)
    scores, labels, enrol, test = trials(rng, 12)
    found = speaker_bootstrap(
        torch.tensor(scores[0], device=device), labels, enrol, test, MEASURES, replicates=2
    )
    result = metrics.evaluate(scores[0], labels, points=(0.01,), calibrated=True)
    assert found["eer"] == pytest.approx(result["eer"], abs=1e-12)
    assert found["min_dcf(0.01)"] == pytest.approx(result["min_dcf"][0.01], abs=1e-12)
    assert found["cllr"] == pytest.approx(result["cllr"], abs=1e-12)


@pytest.mark.parametrize("decimals", [None, 1])
def test_weights_held_in_pieces_change_nothing(monkeypatch, decimals):
    scores, labels, enrol, test = speaker_trials(0, decimals=decimals)
    whole = SpeakerBootstrap(labels, enrol, test, 60, seed=5)(scores, STANDARD)
    monkeypatch.setattr(bootstrap, "_BLOCK", 60 * 100)  # of 100 trials each
    pieces = SpeakerBootstrap(labels, enrol, test, 60, seed=5)(scores, STANDARD)
    for name, values in whole.items():
        np.testing.assert_allclose(pieces[name], values, atol=1e-12)


def test_a_grid_of_thresholds_moves_an_interval_by_little(monkeypatch):
    scores, labels, enrol, test = speaker_trials(1, speakers=200, count=60_000)
    draw = SpeakerBootstrap(labels, enrol, test, 200, seed=1)
    monkeypatch.setattr(weighted_roc, "EXACT", 10**9)
    exact = draw(scores, STANDARD)
    monkeypatch.setattr(weighted_roc, "EXACT", 0)
    coarse = draw(scores, STANDARD)
    thresholds, _ = weighted_roc.choose_thresholds(
        np.sort(scores[labels]), np.sort(scores[~labels])
    )
    assert len(thresholds) < 2000
    for name, values in exact.items():
        assert np.abs(coarse[name] - values).max() < 0.3 * values.std()
        assert abs(np.mean(coarse[name] - values)) < 0.1 * values.std()


@pytest.mark.parametrize("measure", [Measure("min_dcf", 0.99), Measure("min_dcf", 0.5, 100.0)])
def test_a_grid_reaches_to_where_many_false_alarms_are_cheap(monkeypatch, measure):
    scores, labels, enrol, test = speaker_trials(2, speakers=60, count=60_000)
    scores += 4.0 * labels  # so that the EER, by which the grid ends too, is low
    draw = SpeakerBootstrap(labels, enrol, test, 100, seed=1)
    (exact,) = draw(scores, [measure]).values()
    monkeypatch.setattr(weighted_roc, "EXACT", 0)
    (coarse,) = draw(scores, [measure]).values()
    assert np.abs(coarse - exact).max() < 0.3 * exact.std()


def test_draws_are_the_seeds_and_the_same_for_every_system():
    rng = np.random.default_rng(2)
    scores, labels, enrol, test = trials(rng, 10, systems=2)
    scores[1] = 2 * scores[0] - 1  # the same system on another scale
    names = np.array([f"spk{k}" for k in range(10)])
    first = speaker_bootstrap(scores, labels, enrol, test, replicates=40, seed=1)["eer"]
    assert (first[0] - first[1] == 0).all()
    named = speaker_bootstrap(scores[0], labels, names[enrol], names[test], replicates=40, seed=1)
    assert (named["eer"][0] == first[0]).all()
    other = speaker_bootstrap(scores, labels, enrol, test, replicates=40, seed=2)["eer"]
    assert not (other == first).all()


def speaker_trials(seed, speakers=40, count=4000, decimals=None):
    """Trials over speakers who differ in how hard they are; target trials have one speaker."""
    rng = np.random.default_rng(seed)
    enrol, test = rng.integers(0, speakers, (2, count))
    test = np.where(rng.random(count) < 0.3, enrol, test)
    labels = enrol == test
    hard = rng.normal(0, 0.7, speakers)
    scores = 2.0 * labels + hard[enrol] + hard[test] + rng.standard_normal(count)
    scores = scores if decimals is None else scores.round(decimals)
    return scores, labels, enrol * 7 + 3, test * 7 + 3


def simulated(rng, speakers, effect):
    """Five target trials of every speaker, one non-target trial of every pair of speakers.

    Part of a score is the speaker's own in all trials of a kind; in all, target trials score
    N(1, 1) and non-target trials N(-1, 1), so LLR = 2 score and EER = Phi(-1).
    """
    own = np.repeat(np.arange(speakers), 5)
    a, b = np.triu_indices(speakers, 1)
    labels = np.arange(len(own) + len(a)) < len(own)
    enrol, test = np.r_[own, a], np.r_[own, b]
    ease, lamb = rng.normal(size=(2, speakers)) * effect
    shared = np.where(labels, 1 + ease[enrol], -1 + (lamb[enrol] + lamb[test]) / np.sqrt(2))
    scores = shared + np.sqrt(1 - effect**2) * rng.normal(size=len(labels))
    return scores, labels, enrol, test


def test_intervals_cover_the_truth_as_often_as_they_say():
    """95 % intervals of 200 simulated test sets; an interval over trials holds much less."""
    rng = np.random.default_rng(4)
    measures = [Measure("eer"), Measure("act_dcf", 0.5), Measure("act_dcf", 0.1)]
    truth = {"eer": norm.cdf(-1)}
    for p in (0.5, 0.1):
        threshold = metrics.bayes_threshold(p) / 2
        cost = p * norm.cdf(threshold - 1) + (1 - p) * norm.sf(threshold + 1)
        truth[f"act_dcf({p:g})"] = cost / p
    covered, over_trials, sets = dict.fromkeys(truth, 0), 0, 200
    conservative = dict.fromkeys(truth, 0)
    for number in range(sets):
        scores, labels, enrol, test = simulated(rng, 50, 0.6)
        for weight, count in (("speaker", covered), ("product", conservative)):
            values = speaker_bootstrap(
                2 * scores, labels, enrol, test, measures, 200, number, target_weight=weight
            )
            for name, value in values.items():
                low, high = interval(value[0])
                count[name] += (low <= truth[name] <= high) / sets
        picks = rng.integers(0, len(labels), (60, len(labels)))
        errors = [
            (scores[p][labels[p]] < 0).mean() + (scores[p][~labels[p]] >= 0).mean() for p in picks
        ]
        low, high = interval(errors)
        over_trials += (low <= truth["act_dcf(0.5)"] <= high) / sets
    for name in truth:
        assert 0.87 <= covered[name] <= 0.99, covered
        assert max(0.93, covered[name]) <= conservative[name], conservative
    assert over_trials < 0.8


def test_paired_differences_are_sharper_than_unpaired_and_cover():
    """Two systems that share the speakers' effects: the true difference of both is zero."""
    rng = np.random.default_rng(5)
    covered, paired, unpaired = 0, [], []
    for number in range(100):
        scores, labels, enrol, test = simulated(rng, 40, 0.6)
        both = np.stack([scores, scores]) + rng.normal(size=(2, len(labels))) * 0.2
        eer = speaker_bootstrap(both, labels, enrol, test, replicates=200, seed=number)["eer"]
        low, high = interval(eer[0] - eer[1])
        covered += low <= 0 <= high
        paired.append(np.std(eer[0] - eer[1]))
        unpaired.append(np.std(eer[0] - np.roll(eer[1], 1)))
    assert 0.87 <= covered / 100 <= 1.0
    assert np.mean(paired) < 0.6 * np.mean(unpaired)


def test_interval_is_of_percentiles():
    values = np.random.default_rng(6).permutation(np.arange(1001.0))
    assert interval(values) == pytest.approx((25, 975))
    assert interval(values, 0.5) == pytest.approx((250, 750))
    low, high = interval(np.stack([values, values + 1]))
    assert low == pytest.approx([25, 26]) and high == pytest.approx([975, 976])
    values[:50] = np.nan
    assert np.isfinite(interval(values)).all()
    values[:200] = np.nan
    with pytest.raises(ValueError):
        interval(values)
    with pytest.raises(ValueError, match="level"):
        interval(np.arange(9.0), 1.0)


def test_a_draw_without_a_class_has_no_value():
    # Two speakers: half of the draws take one of them twice, and no non-target trial is left.
    scores, labels, enrol, test = trials(np.random.default_rng(7), 2)
    values = speaker_bootstrap(scores, labels, enrol, test, MEASURES, replicates=200)
    gone = (bootstrap.draws(2, 200, 0) == 2).any(1)
    assert 60 < gone.sum() < 140
    for value in values.values():
        assert (np.isnan(value[0]) == gone).all()


def test_what_does_not_fit_is_refused():
    scores, labels, enrol, test = trials(np.random.default_rng(8), 5)
    with pytest.raises(ValueError):
        speaker_bootstrap(scores, labels, np.r_[test[0] + 1, enrol[1:]], test)
    with pytest.raises(ValueError):
        speaker_bootstrap(scores, labels, enrol * 0, test * 0)
    with pytest.raises(ValueError):
        speaker_bootstrap(scores, labels, enrol[1:], test)
    with pytest.raises(ValueError):
        speaker_bootstrap(scores[None], labels, enrol, test)
    with pytest.raises(ValueError, match="target_weight"):
        speaker_bootstrap(scores, labels, enrol, test, target_weight="trial")
    with pytest.raises(ValueError):
        speaker_bootstrap(scores[:, labels], labels[labels], enrol[labels], test[labels])
    scores[0, 0] = np.nan
    with pytest.raises(ValueError):
        speaker_bootstrap(scores, labels, enrol, test)
    with pytest.raises(ValueError):
        Measure("auc")
    with pytest.raises(ValueError, match="p_target"):
        Measure("min_dcf", 1.5)


def test_measures_have_the_names_that_results_use():
    names = [str(m) for m in bootstrap.standard_measures(calibrated=True)]
    assert names == [
        "eer",
        "min_dcf(0.01)",
        "min_dcf(0.05)",
        "act_dcf(0.01)",
        "act_dcf(0.05)",
        "cllr",
    ]
    assert str(Measure("min_dcf", 0.01, 10, 1)) == "min_dcf(0.01, 10, 1)"
