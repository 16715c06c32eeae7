"""Fitted without looking at what is reported: development and test, and cross-validation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from acorl_sb import metrics
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion import calibration
from acorl_sb.fusion import models as fusion
from acorl_sb.fusion import validation as protocol
from acorl_sb.fusion.validation import CrossValidation, DevTest, FusedSystem, Recipe, ScoreSet
from acorl_sb.utils.errors import UserError

NAMES = ["a", "b", "c"]


def score_set(seed, speakers=30, utterances=4, share=0.2, d=(2.5, 2.0, 1.5)):
    """Trials between all utterances, non-targets thinned; three systems that partly agree."""
    rng = np.random.default_rng(seed)
    count = speakers * utterances
    enrol, test = np.triu_indices(count, 1)
    labels = enrol // utterances == test // utterances
    kept = labels | (rng.random(len(enrol)) < share)
    enrol, test, labels = enrol[kept], test[kept], labels[kept]
    common = rng.standard_normal(len(labels))
    scores = np.array(d)[:, None] * labels + 0.6 * common + rng.standard_normal((3, len(labels)))
    speaker = rng.permutation(speakers)[np.arange(count) // utterances]
    ids = [f"u{n}" for n in range(count)]
    return ScoreSet(TrialList(ids, enrol, test, labels), scores, speaker)


def test_dev_test_fits_on_dev_and_applies_to_test():
    dev, test = score_set(1), score_set(2)
    made = DevTest(dev, test).run(Recipe(prior=0.1), (0, 2), NAMES)
    model = fusion.LogisticFusion(0.1).fit(dev.scores[[0, 2]], dev.labels)
    np.testing.assert_allclose(made.llr, model(test.scores[[0, 2]]))
    assert made.score is made.llr and made.model.calibration is None
    np.testing.assert_allclose(made.selection[0], model(dev.scores[[0, 2]]))

    made = DevTest(dev, test).run(Recipe("mean_znorm", "pav"), (0, 1, 2), NAMES)
    model = fusion.MeanZNorm().fit(dev.scores)
    pav = calibration.PavCalibration().fit(model(dev.scores), dev.labels)
    np.testing.assert_allclose(made.score, model(test.scores))
    np.testing.assert_allclose(made.llr, pav(model(test.scores)))


def test_labels_of_the_test_trials_are_not_looked_at():
    dev, test = score_set(1), score_set(2)
    blind = replace(test, trials=replace(test.trials, labels=None))
    for recipe in (Recipe(), Recipe("mean_znorm"), Recipe("best_single", "pav")):
        seen = DevTest(dev, test).run(recipe, (0, 1, 2), NAMES)
        unseen = DevTest(dev, blind).run(recipe, (0, 1, 2), NAMES)
        np.testing.assert_array_equal(seen.llr, unseen.llr)
    with pytest.raises(UserError):
        DevTest(blind, test)


@pytest.mark.parametrize("folds", [3, 4, 5, 8])
def test_every_trial_is_fused_once_by_a_model_that_knows_neither_speaker(folds):
    one = score_set(3)
    cross = CrossValidation(one, folds, seed=1)
    enrol, test = one.speaker[one.trials.enrol], one.speaker[one.trials.test]
    times = np.zeros(len(enrol), dtype=int)
    parts = list(cross._parts())
    assert len(parts) == folds * (folds - 1) // 2
    for kept, held in parts:
        times[held] += 1
        known = set(enrol[kept]) | set(test[kept])
        assert not known & (set(enrol[held]) | set(test[held]))
        # Equally many speakers are known to every model, so which one it was says nothing.
        assert abs(len(known) - 30 * (folds - 2) / folds) <= 2
    assert (times == 1).all()


def test_what_else_a_speaker_scored_has_no_part_in_a_trial_of_that_speaker():
    one = score_set(4)
    before = CrossValidation(one, 5).run(Recipe(), (0, 1, 2), NAMES).score
    mine = (one.speaker[one.trials.enrol] == 7) | (one.speaker[one.trials.test] == 7)
    for label in (True, False):
        trial = np.flatnonzero(mine & (one.labels == label))[0]
        others = mine.copy()
        others[trial] = False
        scores = one.scores.copy()
        scores[:, others] += np.random.default_rng(0).normal(0, 3, (3, others.sum()))
        changed = CrossValidation(replace(one, scores=scores), 5)
        after = changed.run(Recipe(), (0, 1, 2), NAMES).score
        assert after[trial] == before[trial]
        assert (after[~mine] != before[~mine]).any()  # other speakers' models did see these


@pytest.mark.parametrize("way", ["dev_test", "cross_validation"])
def test_a_member_that_is_left_out_takes_its_quality_columns_along(way):
    owners = (None, 0, 0, 1, 1, 2)

    def protocol_of(others):
        sets = []
        for seed in (1, 2):
            made, rng = score_set(seed), np.random.default_rng(seed)
            quality = rng.standard_normal((6, len(made.trials)))
            quality[3] += others * made.labels  # tells the class, of the member that is left out
            sets.append(replace(made, quality=quality, owners=owners))
        return DevTest(*sets) if way == "dev_test" else CrossValidation(sets[1], 4)

    made = protocol_of(0.0).run(Recipe(), (0, 2), NAMES)
    again = protocol_of(1.5).run(Recipe(), (0, 2), NAMES)
    np.testing.assert_array_equal(made.llr, again.llr)
    one = protocol_of(0.0).dev if way == "dev_test" else protocol_of(0.0).reported
    by_hand = fusion.LogisticFusion(0.05).fit(
        np.vstack([one.scores[[0, 2]], one.quality[[0, 1, 2, 5]]]), one.labels
    )
    np.testing.assert_allclose(made.model.fusion.weights, by_hand.weights, atol=1e-6)
    # The member itself, and all members, keep them.
    for kept in ((1,), (0, 1, 2)):
        scores = [protocol_of(d).run(Recipe(), kept, NAMES).score for d in (0.0, 1.5)]
        assert np.abs(scores[0] - scores[1]).max() > 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore::acorl_sb.fusion.checks.FusionWarning")
def test_a_sparse_list_is_cross_validated_too(seed):
    # Ten speakers, two of which share a trial in ten cases only: pairs of folds have none.
    rng = np.random.default_rng(seed)
    first = [rng.choice(10, 2, replace=False) for _ in range(10)]
    enrol = np.r_[2 * np.arange(10), [2 * a for a, _ in first]]
    test = np.r_[2 * np.arange(10) + 1, [2 * b + 1 for _, b in first]]
    trials = TrialList([f"u{n}" for n in range(20)], enrol, test, np.arange(20) < 10)
    scores = rng.standard_normal((2, 20)) + 1.5 * trials.labels
    one = ScoreSet(trials, scores, np.arange(20) // 2)
    cross = CrossValidation(one, 5, seed)
    # How often each trial is held out, which trials its model saw, and what that model gives it.
    times, wanted = np.zeros(20, dtype=int), np.full(20, np.nan)

    def fit(kept, labels):
        model = fusion.LogisticFusion(0.05).fit(kept, labels)
        seen = np.isin(scores[0], kept[0])
        speakers = set(enrol[seen] // 2) | set(test[seen] // 2)

        def apply(held):
            places = np.flatnonzero(np.isin(scores[0], held[0]))
            if len(kept[0]) < 20:
                times[places] += 1
                assert len(held[0]) and not speakers & (
                    {*enrol[places] // 2} | {*test[places] // 2}
                )
                wanted[places] = model(held)
            return model(held)

        return apply

    values, _ = cross.held_out(fit)
    assert (times == 1).all()
    np.testing.assert_array_equal(values, wanted)
    np.testing.assert_array_equal(cross.run(Recipe(), (0, 1), NAMES).llr, wanted)


def test_cross_validation_is_honest_where_resubstitution_flatters():
    # Thirty systems of noise: fitted on its own trials a fusion seems to work, held out it is
    # chance (0.51 over many seeds, with a deviation of 0.05 from one to the next).
    one = score_set(5, speakers=12, utterances=3, share=0.15)
    names, flattered, held_out = [str(n) for n in range(30)], [], []
    for seed in range(6):
        noise = np.random.default_rng(seed).standard_normal((30, len(one.trials)))
        noise = replace(one, scores=noise)
        for way, errors in (
            (DevTest(noise, noise), flattered),
            (CrossValidation(noise, 4, seed), held_out),
        ):
            outcome = way.run(Recipe(l2=1e-2), range(30), names)
            errors.append(metrics.eer(outcome.score, one.labels))
    assert np.mean(flattered) < 0.35
    assert np.mean(held_out) > 0.45


def test_folds_that_choose_differently_are_pooled_as_llrs():
    one = score_set(6, d=(1.5, 1.5, 1.5))
    scaled = replace(one, scores=one.scores * np.array([[1.0], [100.0], [0.01]]))
    made = CrossValidation(scaled, 5).run(Recipe("best_single"), (0, 1, 2), NAMES)
    assert np.abs(made.llr).max() < 30
    chosen = CrossValidation(scaled, 5).run(Recipe("best_single"), (1,), NAMES)
    np.testing.assert_array_equal(chosen.score, scaled.scores[1])
    assert made.model.fusion.kind == "best_single"


def test_what_cross_validation_refuses():
    one = score_set(7)
    with pytest.raises(UserError):
        CrossValidation(replace(one, speaker=None))
    for folds in (2, 31):
        with pytest.raises(UserError):
            CrossValidation(one, folds)
    few = score_set(8, speakers=3)
    with pytest.raises(UserError):  # told before anything is fitted
        CrossValidation(few, 3)


@pytest.mark.parametrize("kind", ["best_single", "mean_znorm", "logistic"])
@pytest.mark.parametrize("calibrated", ["linear", "pav"])
def test_saved_system_gives_the_same_llrs(kind, calibrated):
    dev, test = score_set(1), score_set(2)
    quality = np.random.default_rng(0).standard_normal((2, len(dev.trials)))
    model = Recipe(kind, calibrated).fit(dev.scores, dev.labels, quality, NAMES)
    again = FusedSystem.from_state(json.loads(json.dumps(model.state(), allow_nan=False)))
    other = np.random.default_rng(1).standard_normal((2, len(test.trials)))
    np.testing.assert_array_equal(again(test.scores, other), model(test.scores, other))


def test_the_table_can_say_which_of_the_two_it_was():
    dev, test = score_set(1), score_set(2)
    assert "reported on" in DevTest(dev, test).sentence
    cross = CrossValidation(dev, 5).sentence
    assert "5 folds of 30 speakers" in cross and "held out" in cross
    with pytest.raises(UserError, match="'sum'"):
        protocol.Recipe("sum").fit(dev.scores, dev.labels)
