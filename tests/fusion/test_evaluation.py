"""The whole evaluation on arrays: what must hold of it, and input at the edge of sense."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from acorl_sb import metrics, report
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.evaluation import Settings, evaluate
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.fusion.score_inputs import Inputs, Part
from acorl_sb.fusion.validation import Recipe
from acorl_sb.metrics.bootstrap import Measure, draws, speaker_bootstrap
from acorl_sb.report import fusion_tables as fuse_tables
from acorl_sb.report.page import as_html
from tests.report.sample import score_set


def judge(dev, test, recipe=None, **settings):
    """Evaluate, and make of it all that is written."""
    names = [f"s{n}" for n in range(len(dev.scores))]
    inputs = Inputs(names, {"dev": Part(dev, {}), "test": Part(test, {})}, [], "a test", 0, [])
    settings = {"replicates": 40, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = evaluate(inputs, Settings(recipe or Recipe(), **settings))
    results = made.results
    results["inputs"] = []
    results["made"] = {"command": "", "time": "", "seconds": 0.0, "versions": {}}
    json.dumps([results, made.curves], allow_nan=False)
    assert "## Decisions" in fuse_tables.page(results)
    assert "</html>" in as_html(report.fusion_page(results, made.curves))
    return made, {row["name"]: row for row in results["table"]}


def edge_cases():
    dev, test = score_set(1), score_set(2)
    apart = [replace(s, scores=s.scores + 100 * s.labels) for s in (dev, test)]
    constant = test.scores.copy()
    constant[1] = 0.3
    keep = np.r_[np.flatnonzero(test.labels)[:2], np.flatnonzero(~test.labels)[:3]]
    trials = test.trials
    few = TrialList(trials.ids, trials.enrol[keep], trials.test[keep], trials.labels[keep])
    noise = np.random.default_rng(0).standard_normal
    return {
        "separable test": (dev, apart[1]),
        "separable": apart,
        "constant on test": (dev, replace(test, scores=constant)),
        "inverted": [replace(s, scores=-s.scores) for s in (dev, test)],
        "ties": [replace(s, scores=s.scores.round()) for s in (dev, test)],
        "noise": [replace(s, scores=noise(s.scores.shape)) for s in (dev, test)],
        "no speakers": [replace(s, speaker=None) for s in (dev, test)],
        "five trials": (dev, replace(test, scores=test.scores[:, keep], trials=few)),
    }


@pytest.mark.parametrize("case", edge_cases())
@pytest.mark.parametrize("calibration", ["linear", "pav"])
def test_input_at_the_edge_of_sense_gives_sensible_results(case, calibration):
    dev, test = edge_cases()[case]
    made, rows = judge(dev, test, Recipe(calibration=calibration))
    fused = rows["logistic fusion"]
    assert np.isfinite(made.fused["test"]).all()
    assert 0 <= fused["eer_hull"] <= min(0.5, fused["eer"])
    assert fused["min_cllr"] <= fused["cllr"] + 1e-9
    if case.startswith("separable"):
        assert fused["eer"] == 0
    if case == "inverted":
        assert rows["s0"]["eer"] > 0.5 and fused["eer"] < 0.2  # a weight can be negative
    if case == "noise":
        assert fused["cllr"] == pytest.approx(1.0, abs=0.05)
    if case == "no speakers":
        assert fused["intervals"] == {} and fused["against_best"]["eer"]["interval"] is None


@pytest.mark.parametrize("members, exhaustive", [(8, 8), (9, 8)])
def test_many_members(members, exhaustive):
    rng = np.random.default_rng(0)
    picked = rng.integers(0, 3, members)
    sets = [
        replace(s, scores=s.scores[picked] + rng.standard_normal((members, len(s.trials))))
        for s in (score_set(1, 16, 4), score_set(2, 16, 4))
    ]
    made, rows = judge(*sets, replicates=0, exhaustive=exhaustive)
    contributions = made.results["contributions"]
    assert (contributions["search"] == "all") == (members <= exhaustive)
    if members <= exhaustive:
        assert len(contributions["subsets"]) == 2**members - 1
    full = next(r for r in contributions["subsets"] if len(r["members"]) == members)
    assert full["figures"]["eer"] == rows["logistic fusion"]["eer"]


def test_the_best_member_is_chosen_on_development_trials():
    dev, test = score_set(1), score_set(2)
    swapped = replace(test, scores=test.scores[[2, 1, 0]])  # the worst on test was best on dev
    made, rows = judge(dev, swapped)
    assert made.results["best_member"] == "s0"
    assert rows["s0"]["eer"] > rows["s2"]["eer"]
    assert rows["best single (by development)"]["eer"] == rows["s0"]["eer"]
    assert made.results["contributions"]["path"][0] == [0]


def test_paired_intervals_are_narrower_than_two_apart():
    dev, test = score_set(1), score_set(2)
    _, rows = judge(dev, test, replicates=200)
    low, high = rows["logistic fusion"]["against_best"]["eer"]["interval"]
    mine, best = rows["logistic fusion"]["intervals"]["eer"], rows["s0"]["intervals"]["eer"]
    assert low < rows["logistic fusion"]["eer"] - rows["s0"]["eer"] < high
    apart = np.hypot(mine[1] - mine[0], best[1] - best[0])
    assert high - low < 0.8 * apart


def test_costs_are_those_that_were_asked_for():
    dev, test = score_set(1), score_set(2)
    made, rows = judge(dev, test, points=(0.2,), c_miss=10.0, c_fa=2.0)
    llrs = made.fused["test"]
    row = rows["logistic fusion"]
    assert row["act_dcf"]["0.2"] == pytest.approx(metrics.act_dcf(llrs, test.labels, 0.2, 10, 2))
    assert row["min_dcf"]["0.2"] == pytest.approx(metrics.min_dcf(llrs, test.labels, 0.2, 10, 2))
    decision = made.results["decisions"][0]
    assert decision["llr_threshold"] == pytest.approx(np.log(2 * 0.8 / (10 * 0.2)))
    assert "C(miss) = 10" in fuse_tables.page(made.results)


def test_act_dcf_and_cllr_have_the_intervals_of_the_speaker_bootstrap():
    dev, test = score_set(1), score_set(2)
    made, rows = judge(dev, test, points=(0.05,))
    sides = test.speaker[test.trials.enrol], test.speaker[test.trials.test]
    measures = (Measure("act_dcf", 0.05), Measure("cllr"))
    llrs = made.fused["test"]
    wanted = speaker_bootstrap(llrs, test.labels, *sides, measures, replicates=40)
    row = rows["logistic fusion"]
    for measure, name in zip(measures, ("act_dcf(0.05)", "cllr"), strict=True):
        bounds = np.quantile(wanted[str(measure)], (0.025, 0.975))
        assert row["intervals"][name] == pytest.approx(bounds)
    header, lines = fuse_tables.main_table(made.results)
    cells = dict(zip(header, lines[-1], strict=True))
    assert "[" in cells["actDCF(0.05)"] and "[" in cells["Cllr"]


def test_eer_and_min_dcf_have_the_intervals_of_the_scores_before_calibration():
    dev, test = score_set(1), score_set(2)
    _, rows = judge(dev, test, Recipe(calibration="pav"), points=(0.05,))
    sides = test.speaker[test.trials.enrol], test.speaker[test.trials.test]
    scores = LogisticFusion(0.05).fit(dev.scores, dev.labels)(test.scores)
    measures = (Measure("eer"), Measure("min_dcf", 0.05))
    wanted = speaker_bootstrap(scores, test.labels, *sides, measures, replicates=40)
    for measure in measures:
        bounds = np.quantile(wanted[str(measure)], (0.025, 0.975))
        assert rows["logistic fusion"]["intervals"][str(measure)] == pytest.approx(bounds)


def test_draws_that_miss_a_class_of_trials_make_no_intervals():
    dev, test = score_set(1), score_set(2)
    for n, enough in ((5, False), (200, True)):
        keep = np.r_[np.flatnonzero(test.labels)[-n:], np.flatnonzero(~test.labels)[-n:]]
        few = TrialList(
            test.trials.ids, test.trials.enrol[keep], test.trials.test[keep], test.labels[keep]
        )
        made, rows = judge(dev, replace(test, scores=test.scores[:, keep], trials=few))
        enrol, other = test.speaker[few.enrol], test.speaker[few.test]
        names = np.union1d(enrol, other)
        drawn = draws(len(names), 40, 0)  # (R, K)
        times = drawn[:, np.searchsorted(names, enrol)] * drawn[:, np.searchsorted(names, other)]
        whole = times[:, few.labels].any(axis=1) & times[:, ~few.labels].any(axis=1)
        assert (whole.mean() >= 0.9) == enough
        assert made.results["intervals"]["replicates"] == (40 if enough else 0)
        assert all(bool(row["intervals"]) == enough for row in rows.values())
