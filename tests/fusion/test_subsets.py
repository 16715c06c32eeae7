"""What members give: subsets, greedy path, paired steps, correlation and common errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from acorl_sb.fusion import subsets as contribution
from acorl_sb.fusion.subsets import Judged


def test_all_subsets_of_up_to_eight():
    subsets = contribution.all_subsets(8)
    assert len(subsets) == len(set(subsets)) == 255
    assert subsets[0] == (0,) and subsets[-1] == tuple(range(8))


def judge_by(worth):
    """Error of a subset is 1 less the worth of its members; replicates scatter around it."""

    def judge(subset):
        error = 1.0 - sum(worth[m] for m in subset)
        noise = np.random.default_rng(0).normal(0, 0.1, 1000)  # shared: pairs cancel it
        return Judged(error, {"eer": error}, {"eer": error + noise})

    return judge


def test_exhaustive_search_reports_every_step_with_its_paired_interval():
    worth = [0.1, 0.3, 0.0]
    made = contribution.contributions(3, judge_by(worth))
    assert made["search"] == "all"
    assert [row["members"] for row in made["subsets"]] == [
        [0],
        [1],
        [2],
        [0, 1],
        [0, 2],
        [1, 2],
        [0, 1, 2],
    ]
    assert made["path"] == [[1], [0, 1], [0, 1, 2]]
    assert len(made["steps"]) == 3 * 2 + 3
    for step in made["steps"]:
        change = step["change"]["eer"]
        assert change["change"] == pytest.approx(-worth[step["member"]])
        # The scatter is common to both, so the paired interval has no width.
        np.testing.assert_allclose(change["interval"], change["change"], atol=1e-12)
    helps = {
        step["member"]: step["change"]["eer"]["verdict"]
        for step in made["steps"]
        if step["leave_one_out"]
    }
    assert helps[0] == helps[1] == "helps"
    assert sum(step["on_path"] for step in made["steps"]) == 2


def test_verdicts_follow_the_interval():
    def judge(subset):
        rng = np.random.default_rng(len(subset))
        shift = {1: 0.5, 2: 0.5, 3: 0.8}[len(subset)]
        return Judged(shift, {"eer": shift}, {"eer": shift + rng.normal(0, 0.05, 500)})

    steps = contribution.contributions(3, judge)["steps"]
    by_size = {len(step["without"]): step["change"]["eer"]["verdict"] for step in steps}
    assert by_size == {1: "not shown", 2: "harms"}


def test_greedy_search_beyond_the_limit():
    worth = np.random.default_rng(0).permutation(10) / 100
    asked = []
    inner = judge_by(worth)

    def judge(subset):
        asked.append(subset)
        return inner(subset)

    made = contribution.contributions(10, judge, exhaustive=8)
    assert made["search"] == "greedy" and len(asked) == len(set(asked)) <= 55 + 10
    best_first = np.argsort(-worth)
    assert made["path"] == [sorted(best_first[:k].tolist()) for k in range(1, 11)]
    # The single members, the path, and the full set without each member are all there.
    assert {len(row["members"]) for row in made["subsets"]} == set(range(1, 11))
    assert sum(step["leave_one_out"] for step in made["steps"]) == 10


def test_without_replicates_there_are_no_intervals():
    made = contribution.contributions(2, lambda s: Judged(1.0, {"eer": 1.0 / len(s)}))
    change = made["steps"][0]["change"]["eer"]
    assert change == {"change": -0.5, "interval": None, "verdict": None}
    assert contribution.contributions(1, lambda s: Judged(1.0, {"eer": 1.0}))["steps"] == []


def test_correlations_equal_numpy_on_each_class():
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.3
    scores = rng.standard_normal((3, 500)) + 0.7 * rng.standard_normal(500) + 5 * labels
    made = contribution.score_correlations(scores, labels)
    np.testing.assert_allclose(made["target"], np.corrcoef(scores[:, labels]))
    np.testing.assert_allclose(made["nontarget"], np.corrcoef(scores[:, ~labels]))
    scores[1, labels] = 0.3
    made = contribution.score_correlations(scores, labels)
    assert np.isnan(made["target"][1]).all() and np.isfinite(made["nontarget"]).all()


def test_common_errors_by_counting():
    rng = np.random.default_rng(1)
    labels = rng.random(2000) < 0.4
    scores = rng.standard_normal((3, 2000)) + rng.standard_normal(2000) + 2 * labels
    made = contribution.error_overlap(scores, labels)
    wrong = []
    for row, threshold in zip(scores, made["thresholds"], strict=True):
        accept = row >= threshold
        miss, alarm = np.mean(~accept[labels]), np.mean(accept[~labels])
        assert abs(miss - alarm) < 0.003  # the EER threshold
        wrong.append(accept != labels)
    for i, j in itertools.product(range(3), repeat=2):
        both, either = np.sum(wrong[i] & wrong[j]), np.sum(wrong[i] | wrong[j])
        assert made["common"][i, j] == both
        assert made["share"][i, j] == pytest.approx(both / either)
    assert (made["errors"] == np.sum(wrong, axis=1)).all()


def test_independent_members_share_errors_as_chance_says():
    rng = np.random.default_rng(2)
    labels = rng.random(200_000) < 0.5
    scores = rng.standard_normal((2, len(labels))) + 2 * labels
    made = contribution.error_overlap(scores, labels)
    assert made["share"][0, 1] == pytest.approx(made["expected"][0, 1], rel=0.05)
    assert made["share"][0, 0] == made["expected"][0, 0] == 1.0


def test_members_without_errors_have_no_share():
    labels = np.array([True, True, False, False])
    made = contribution.error_overlap(np.array([[3.0, 2.0, 1.0, 0.0]] * 2), labels)
    assert (made["errors"] == 0).all() and np.isnan(made["share"]).all()
