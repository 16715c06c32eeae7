"""A finished run as it is reported, against its files, scikit-learn and sums done by hand."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from acorl_sb.data.scorefiles import read_scores, write_scores
from acorl_sb.fusion.run_results import read_run_results
from acorl_sb.utils.errors import UserError
from tests import folders


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return folders.scored_run(tmp_path_factory.mktemp("run") / "out")


@pytest.fixture(scope="module")
def found(run):
    return read_run_results(run, ["train.py"])


def test_figures_and_intervals_are_those_of_the_runs_own_table(run, found):
    results, curves = found
    kept = json.loads((run / "results.json").read_text())["systems"]
    assert [row["name"] for row in results["table"]] == [row["name"] for row in kept]
    assert set(curves) == {row["name"] for row in kept}
    for row, own in zip(results["table"], kept, strict=True):
        assert row["eer"] == own["test"]["eer"] and row["min_dcf"] == own["test"]["min_dcf"]
        assert own["intervals"]
        for name, ends in own["intervals"].items():
            assert list(row["intervals"][name]) == ends
    assert results["protocol"]["parts"]["test"]["speakers"] == 20
    assert results["protocol"]["shared_speakers"] == 0


def test_actual_costs_are_those_of_a_regression_on_the_development_trials(run, found):
    table = {row["name"]: row for row in found[0]["table"]}
    for name in ("first", "score-mean", "score-logistic"):
        dev, test = (read_scores(run / "scores" / name / f"{part}.txt") for part in ("dev", "test"))
        labels, wanted = dev.trials.labels, test.trials.labels
        weights = np.where(labels, 0.05 / labels.sum(), 0.95 / (~labels).sum())
        fitted = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(
            dev.scores[:, None], labels, sample_weight=weights * len(labels)
        )
        llrs = fitted.decision_function(test.scores[:, None]) - np.log(0.05 / 0.95)
        bits = [np.logaddexp(0, sign * llrs[at]).mean() / np.log(2)
                for sign, at in ((-1, wanted), (1, ~wanted))]  # fmt: skip
        assert table[name]["cllr"] == pytest.approx(np.mean(bits), abs=1e-4)
        for p in (0.01, 0.05):
            accepted = llrs >= np.log((1 - p) / p)
            cost = p * (~accepted[wanted]).mean() + (1 - p) * accepted[~wanted].mean()
            assert table[name]["act_dcf"][f"{p:g}"] == pytest.approx(cost / p, abs=0.02)
        low, high = table[name]["intervals"]["cllr"]
        assert low < table[name]["cllr"] < high


def test_a_calibration_that_does_not_carry_over_is_warned_of(run, found, tmp_path):
    assert found[0]["warnings"] == []
    torn = shutil.copytree(run, tmp_path / "torn")
    path = torn / "scores" / "first" / "test.txt"
    scored = read_scores(path)
    write_scores(path, scored.trials, scored.scores + 1)  # all the test trials sound like targets
    results, _ = read_run_results(torn, ["train.py"])
    (warning,) = results["warnings"]
    row = results["table"][0]
    assert row["cllr"] > 1 and row["act_dcf"]["0.01"] > 1
    assert "first (" in warning and "second (" not in warning


def test_a_single_member_is_reported_too(tmp_path):
    results, _ = read_run_results(folders.scored_run(tmp_path / "one", 1), ["train.py"])
    assert results["systems"] == ["first"] and results["fused_name"] == "first"


@pytest.mark.parametrize(
    "harm",
    [
        lambda kept: {**kept, "systems": []},
        lambda kept: {key: value for key, value in kept.items() if key != "intervals"},
        lambda kept: {**kept, "best_member": "nobody"},
        lambda kept: {**kept, "cost_points": [{"p_target": 2, "c_miss": 1, "c_fa": 1}]},
        lambda kept: {**kept, "systems": [{**kept["systems"][0], "name": "../out"}]},
    ],
)
def test_what_is_no_finished_run_is_refused(run, tmp_path, harm):
    torn = shutil.copytree(run, tmp_path / "torn")
    kept = json.loads((run / "results.json").read_text())
    (torn / "results.json").write_text(json.dumps(harm(kept)))
    with pytest.raises(UserError):
        read_run_results(torn, ["train.py"])
