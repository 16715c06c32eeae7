"""Fusion models against scikit-learn, closed forms, and what must hold for any scores."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from acorl_sb import metrics
from acorl_sb.fusion import checks, logistic
from acorl_sb.fusion import models as fusion
from acorl_sb.fusion import quality as quality_measures
from acorl_sb.utils.errors import UserError


def gaussian_trials(seed, targets=400, nontargets=3000, shift=(2.0, 2.0, 1.5), rho=0.6):
    """Scores of systems with unit variance, correlation rho, class means shift and 0."""
    rng = np.random.default_rng(seed)
    labels = np.arange(targets + nontargets) < targets
    rng.shuffle(labels)
    shift = np.asarray(shift)
    covariance = np.full((len(shift), len(shift)), rho) + (1 - rho) * np.eye(len(shift))
    scores = np.linalg.cholesky(covariance) @ rng.standard_normal((len(shift), len(labels)))
    return scores + shift[:, None] * labels, labels, covariance


def sklearn_fusion(scores, labels, prior, l2):
    """The same objective by another solver, on columns divided by their deviation."""
    n, spread = len(labels), scores.std(1)
    weight = np.where(labels, prior / labels.sum(), (1 - prior) / (~labels).sum())
    model = LogisticRegression(
        C=1 / (l2 * n) if l2 else np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000
    )
    model.fit((scores / spread[:, None]).T, labels, sample_weight=weight * n)
    return model.coef_[0] / spread, model.intercept_[0] - logit(prior)


@pytest.mark.parametrize("prior", [0.01, 0.3, 0.5])
@pytest.mark.parametrize("l2", [0.0, 1e-3, 0.1])
def test_weights_equal_scikit_learn(prior, l2):
    scores, labels, _ = gaussian_trials(1)
    scores *= np.array([[0.1], [30.0], [1.0]])  # cosines and PLDA scores differ in units
    model = fusion.LogisticFusion(prior, l2).fit(scores, labels)
    weights, bias = sklearn_fusion(scores, labels, prior, l2)
    np.testing.assert_allclose(model.weights, weights, rtol=1e-5, atol=1e-5)
    assert model.bias == pytest.approx(bias, abs=1e-5)


def test_gaussian_scores_have_the_closed_form_llr():
    # Equal covariances: llr = shift' C^-1 x - shift' C^-1 shift / 2, for every prior.
    scores, labels, covariance = gaussian_trials(2, 60_000, 60_000)
    shift = np.array([2.0, 2.0, 1.5])
    weights = np.linalg.solve(covariance, shift)
    for prior in (0.1, 0.5):
        model = fusion.LogisticFusion(prior).fit(scores, labels)
        np.testing.assert_allclose(model.weights, weights, atol=0.06)
        assert model.bias == pytest.approx(-weights @ shift / 2, abs=0.1)


def test_output_is_an_llr_whatever_the_share_of_targets():
    scores, labels, _ = gaussian_trials(3)
    few = labels & (np.cumsum(labels) % 4 == 0)
    keep = few | ~labels
    repeated = np.concatenate([np.flatnonzero(few)] * 4 + [np.flatnonzero(~labels)])
    once = fusion.LogisticFusion(0.2).fit(scores[:, keep], labels[keep])
    often = fusion.LogisticFusion(0.2).fit(scores[:, repeated], labels[repeated])
    # The standard deviation of the columns differs, the objective without l2 does not.
    np.testing.assert_allclose(once.weights, often.weights, rtol=1e-6)
    assert once.bias == pytest.approx(often.bias, rel=1e-6)


def test_units_of_a_system_do_not_matter():
    scores, labels, _ = gaussian_trials(4)
    units, offset = np.array([[0.01], [-5.0], [1e3]]), np.array([[7.0], [0.0], [-1e4]])
    for model in (fusion.LogisticFusion(0.05, 0.01), fusion.MeanZNorm()):
        sign = 1.0 if model.kind == "logistic" else np.abs(units) / units
        plain = model.fit(scores, labels)(scores)
        scaled = model.fit(scores * units * sign + offset, labels)(scores * units * sign + offset)
        np.testing.assert_allclose(scaled, plain, atol=1e-6)


def test_fusion_beats_its_members_and_the_mean_where_members_differ():
    scores, labels, _ = gaussian_trials(5, 5000, 20_000, shift=(3.0, 1.5, 0.2), rho=0.3)
    test, test_labels, _ = gaussian_trials(6, 5000, 20_000, shift=(3.0, 1.5, 0.2), rho=0.3)
    error = {
        model.kind: metrics.eer(model.fit(scores, labels)(test), test_labels)
        for model in (fusion.BestSingle(), fusion.MeanZNorm(), fusion.LogisticFusion())
    }
    assert error["logistic"] < error["best_single"] < error["mean_znorm"]


def test_mean_znorm_by_hand():
    model = fusion.MeanZNorm().fit(np.array([[0.0, 2.0], [10.0, 30.0]]))
    assert model(np.array([[3.0], [20.0]])) == pytest.approx([((3 - 1) / 1 + 0) / 2])


def test_best_single_by_eer_and_by_min_dcf():
    # System 0 loses 12 % of its targets for good and needs no false alarm for the others (hull EER
    # 10.7 %); system 1 overlaps by 16 % on either side (EER 8 %, 16 % missed at no false alarm).
    labels = np.arange(1000) < 500
    rng = np.random.default_rng(0)
    low_fa = np.where(labels, 2.0, 0.0) + rng.uniform(0, 1, 1000)
    low_fa[:60] = -1.0
    even = np.where(labels, 1.0, 0.0) + rng.uniform(0, 1.19, 1000)
    scores = np.stack([low_fa, even])
    by_eer = fusion.BestSingle("eer").fit(scores, labels)
    assert by_eer.index == 1
    assert by_eer.errors[0] == pytest.approx(0.12)  # where both rates are equal, not on the hull
    model = fusion.BestSingle("min_dcf", p_target=0.001).fit(scores, labels)
    assert model.index == 0
    assert model.errors[0] == pytest.approx(0.12)
    np.testing.assert_array_equal(model(scores), low_fa)


@pytest.mark.parametrize(
    "model", [fusion.BestSingle("min_dcf", 0.05), fusion.MeanZNorm(), fusion.LogisticFusion(0.1)]
)
def test_saved_model_gives_the_same_scores(model, tmp_path):
    scores, labels, _ = gaussian_trials(7)
    model.fit(scores, labels)
    fusion.save(tmp_path / "m.json", model)
    again = fusion.load(tmp_path / "m.json")
    assert type(again) is type(model)
    np.testing.assert_array_equal(again(scores), model(scores))
    assert json.loads((tmp_path / "m.json").read_text())["kind"] == model.kind
    with pytest.raises(UserError):
        again(scores[:2])


def test_quality_columns_enter_as_further_columns():
    # The non-target score drifts with duration; only with the column can the drift be taken out.
    scores, labels, _ = gaussian_trials(8, 4000, 16_000, shift=(2.0,))
    rng = np.random.default_rng(0)
    seconds = rng.uniform(2.0, 20.0, 200)
    enrol, test = rng.integers(0, 200, (2, len(labels)))
    quality = quality_measures.quality_columns(quality_measures.log_durations(seconds), enrol, test)
    scores = scores + 1.5 * quality.sum(0)
    model = fusion.LogisticFusion(0.1).fit(scores, labels, quality)
    stacked = fusion.LogisticFusion(0.1).fit(np.vstack([scores, quality]), labels)
    np.testing.assert_allclose(model.weights, stacked.weights)
    np.testing.assert_allclose(model.weights[1:], -1.5 * model.weights[0], atol=0.15)
    assert metrics.eer(model(scores, quality), labels) < 0.8 * metrics.eer(scores[0], labels)
    with pytest.raises(ValueError):
        model(scores)
    again = fusion.from_state(json.loads(json.dumps(model.state())))
    np.testing.assert_array_equal(again(scores, quality), model(scores, quality))


def test_quality_columns_do_not_know_which_side_is_which():
    values, enrol, test = np.array([1.0, 2.0, 3.0]), np.array([0, 2, 1]), np.array([1, 0, 1])
    columns = quality_measures.quality_columns(values, enrol, test)
    np.testing.assert_array_equal(columns, [[1, 1, 2], [2, 3, 2]])
    np.testing.assert_array_equal(columns, quality_measures.quality_columns(values, test, enrol))


def test_separable_data_are_held_with_a_warning():
    scores = np.array([[0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 0.5, 0.2]])
    labels = np.array([False, False, True, True])
    with pytest.warns(checks.FusionWarning):
        model = fusion.LogisticFusion(0.5).fit(scores, labels)
    assert model.separable and model.l2_used == logistic.SEPARABLE_L2
    assert np.abs(model(scores)).max() < 20
    weights, _ = sklearn_fusion(scores, labels, 0.5, logistic.SEPARABLE_L2)
    np.testing.assert_allclose(model.weights, weights, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who regularises has chosen, and is not warned
        assert fusion.LogisticFusion(0.5, 0.01).fit(scores, labels).separable


def test_data_separable_but_for_ties_on_the_border_are_found():
    # Neither class crosses 0 and some of both lie on it: the optimum is still at infinity.
    rng = np.random.default_rng(0)
    column = np.abs(rng.standard_normal(80)) * np.repeat([1, 0, -1, 0], 20)
    labels = np.arange(80) < 40
    with pytest.warns(checks.FusionWarning):
        fusion.LogisticFusion(0.5).fit(np.stack([column, rng.standard_normal(80)]), labels)


def test_separable_data_are_found_however_many(monkeypatch):
    rng = np.random.default_rng(1)
    scores = np.r_[rng.uniform(0.62, 0.95, 200), rng.uniform(-0.3, 0.58, 5000)][None]
    labels = np.arange(5200) < 200
    for part in (10_000, 500):  # all at once, or a part of them first
        monkeypatch.setattr(logistic, "_PART", part)
        with pytest.warns(checks.FusionWarning):
            model = fusion.LogisticFusion().fit(scores, labels)
        assert model.separable and np.abs(model(scores)).max() < 30


def test_good_but_overlapping_data_are_not_called_separable():
    scores, labels, _ = gaussian_trials(9, 20_000, 50_000, shift=(5.5,))
    assert 0 < metrics.eer(scores[0], labels) < 0.005
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fusion.LogisticFusion(0.01).fit(scores, labels)
    assert model.weights[0] == pytest.approx(5.5, rel=0.1)


def test_a_system_given_twice_shares_its_weight():
    scores, labels, _ = gaussian_trials(10)
    once = fusion.LogisticFusion().fit(scores, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twice = fusion.LogisticFusion().fit(np.vstack([scores, scores[:1]]), labels)
    assert twice.weights[0] == pytest.approx(twice.weights[3]) == pytest.approx(once.weights[0] / 2)
    np.testing.assert_allclose(twice(np.vstack([scores, scores[:1]])), once(scores), atol=1e-6)


ALL = [fusion.BestSingle, fusion.MeanZNorm, fusion.LogisticFusion]


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_scores_name_the_system_and_the_trial(make, bad):
    scores, labels, _ = gaussian_trials(11)
    model = make().fit(scores, labels)
    scores[1, [7, 9]] = bad
    with pytest.raises(UserError, match=r"'b'.*\b8\b"):
        make().fit(scores, labels, names=["a", "b", "c"])
    with pytest.raises(UserError):
        model(scores)


@pytest.mark.parametrize("make", [fusion.MeanZNorm, fusion.LogisticFusion])
def test_constant_scores_are_refused(make):
    scores, labels, _ = gaussian_trials(12)
    scores[2] = 0.1
    with pytest.raises(UserError, match="'c'"):
        make().fit(scores, labels, names=["a", "b", "c"])


def test_constant_quality_column_gets_weight_zero():
    scores, labels, _ = gaussian_trials(13)
    quality = np.stack([np.full(len(labels), 3.0), np.random.default_rng(0).normal(size=3400)])
    with pytest.warns(checks.FusionWarning):
        model = fusion.LogisticFusion().fit(scores, labels, quality)
    assert model.weights[3] == 0.0 and model.weights[4] != 0.0


@pytest.mark.parametrize("make", [fusion.BestSingle, fusion.LogisticFusion])
@pytest.mark.parametrize("kind", [True, False])
def test_one_class_only_is_refused(make, kind):
    scores, labels, _ = gaussian_trials(14)
    with pytest.raises(UserError):
        make().fit(scores, np.full(len(labels), kind))
    with pytest.raises(UserError):
        make().fit(scores, None)


def test_what_else_is_refused(tmp_path):
    for bad in (0, 1, -0.1, float("nan")):
        with pytest.raises(UserError):
            fusion.LogisticFusion(bad)
    with pytest.raises(UserError):
        fusion.LogisticFusion(0.1, -1)
    with pytest.raises(UserError, match=r"'eer'.*'min_dcf'"):
        fusion.BestSingle("auc")
    with pytest.raises(UserError):
        checks.check_scores(np.zeros((2, 0)))
    with pytest.raises(UserError):
        quality_measures.log_durations([1.0, 0.0, -1.0])
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(UserError):
        fusion.load(tmp_path / "m.json")
    with pytest.raises(UserError):
        fusion.load(tmp_path / "none.json")
    with pytest.raises(ValueError):
        fusion.LogisticFusion()(np.zeros((1, 2)))
