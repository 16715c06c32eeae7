"""Figures by group against the metrics on each group's own trials, one by one."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from acorl_sb import metrics
from acorl_sb.analysis.group_calibration import GroupCalibration, groups_of
from acorl_sb.analysis.group_errors import GroupSettings, group_errors
from acorl_sb.metrics.bootstrap import speaker_bootstrap
from acorl_sb.metrics.intervals import interval

PEOPLE = {"a": 8, "b": 6, "c": 7, "few": 4}  # speakers of each group
HARDER = {"a": 0.0, "b": 3.0, "c": 0.0, "few": 0.0}  # what a group's target scores lack


def make_trials(seed=0, sessions=4, gap=3.0):
    """All pairs of the utterances of 27 speakers, two of them of no group; LLR-like scores."""
    rng = np.random.default_rng(seed)
    of = {f"{g}{n}": g for g, count in PEOPLE.items() for n in range(count)}
    names = np.array([*of, "who", "what"])
    speaker = np.repeat(names, sessions)
    left, right = np.triu_indices(len(speaker), 1)
    enrol, test = speaker[left], speaker[right]
    labels = enrol == test
    lack = np.array([HARDER.get(of.get(str(s), "a"), 0.0) for s in enrol])
    scores = rng.normal(size=len(labels)) * 1.5 + np.where(labels, gap - lack, -gap)
    return scores, labels, enrol, test, of


@pytest.fixture(scope="module")
def found():
    *trials, of = make_trials()
    settings = GroupSettings(0.25, True, (0.05,), replicates=60, seed=3)
    return group_errors(*trials, {"kind": of}, settings), trials, of, settings


def test_every_figure_is_that_of_the_groups_own_trials(found):
    made, (scores, labels, enrol, test), of, _ = found
    rows = {row["group"]: row for row in made["attributes"]["kind"]["groups"]}
    assert list(rows) == sorted(PEOPLE) and made["attributes"]["kind"]["unknown_speakers"] == 2
    for place, name in enumerate(["a", "b", "c"]):
        kept = [i for i, (x, y) in enumerate(zip(enrol, test, strict=True))
                if of.get(str(x)) == of.get(str(y)) == name]  # fmt: skip
        s, y = scores[kept], labels[kept]
        row = rows[name]
        assert (row["speakers"], row["target"]) == (PEOPLE[name], y.sum())
        expected = {
            "eer": metrics.eer(s, y),
            "fmr": (s[~y] >= 0.25).mean(),
            "fnmr": (s[y] < 0.25).mean(),
            "act_dcf(0.05)": metrics.act_dcf(s, y, 0.05),
            "cllr": metrics.cllr(s, y),
        }
        assert row["figures"] == pytest.approx(expected)
        draws = speaker_bootstrap(s, y, enrol[kept], test[kept], replicates=60, seed=4 + place)
        assert row["intervals"]["eer"] == pytest.approx(interval(draws["eer"][0]))


def test_a_group_that_is_too_small_gets_no_number(found):
    made, *_ = found
    (row,) = [r for r in made["attributes"]["kind"]["groups"] if r["group"] == "few"]
    assert row["figures"] is None and not row["intervals"] and not row["difference"]
    assert row["speakers"] == 4 and "4" in row["note"]
    pairs = [pair["groups"] for pair in made["attributes"]["kind"]["cross"]["pairs"]]
    assert pairs == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert "few" not in {f["worst"] for k, f in made["attributes"]["kind"]["fairness"].items()
                         if k != "garbe"}  # fmt: skip


def test_false_matches_between_groups(found):
    made, (scores, _, enrol, test), of, _ = found
    cross = made["attributes"]["kind"]["cross"]
    sides = [(of.get(str(x), ""), of.get(str(y), "")) for x, y in zip(enrol, test, strict=True)]
    every = np.array([x != y and "" not in (x, y) for x, y in sides])
    assert cross["all"]["nontarget"] == every.sum()
    assert cross["all"]["fmr"] == pytest.approx((scores[every] >= 0.25).mean())
    low, high = cross["all"]["interval"]
    assert low <= cross["all"]["fmr"] <= high
    one = np.array([{x, y} == {"a", "c"} for x, y in sides])
    assert cross["pairs"][1]["fmr"] == pytest.approx((scores[one] >= 0.25).mean())


def test_the_harder_group_is_found_and_holm_only_raises(found):
    made, *_ = found
    rows = {r["group"]: r for r in made["attributes"]["kind"]["groups"] if r["figures"]}
    worse = {name: row["difference"]["fnmr"] for name, row in rows.items()}
    assert worse["b"]["change"] > 0 and worse["b"]["p_holm"] < 0.15
    assert worse["a"]["change"] < 0 and worse["c"]["change"] < 0
    for row, figure in itertools.product(rows.values(), made["figures"]):
        found_ = row["difference"][figure]
        assert 0 < found_["p"] <= found_["p_holm"] <= 1
    fair = made["attributes"]["kind"]["fairness"]
    assert fair["fnmr"]["worst"] == "b" and fair["fnmr"]["gini"] > fair["fnmr"]["by_chance"]
    assert fair["garbe"] == pytest.approx((fair["fmr"]["gini"] + fair["fnmr"]["gini"]) / 2)


def test_a_group_of_few_speakers_in_its_own_trials_gets_no_number():
    scores, labels, enrol, test, of = make_trials()
    many = {s: g for s, g in of.items() if g in "abc"}
    own = np.array(
        [many.get(str(x)) == many.get(str(y)) == "b" for x, y in zip(enrol, test, strict=True)]
    )
    members = sorted(s for s, g in many.items() if g == "b")
    for trials in (labels, np.ones_like(labels)):  # in target trials, in any
        # All six are in trials with others, four in trials of the group.
        kept = ~(own & trials) | (np.isin(enrol, members[:4]) & np.isin(test, members[:4]))
        sides = (side[kept] for side in (scores, labels, enrol, test))
        made = group_errors(*sides, {"kind": many}, GroupSettings(0.0, replicates=40))
        rows = {row["group"]: row for row in made["attributes"]["kind"]["groups"]}
        assert rows["b"]["figures"] is None and "4" in rows["b"]["note"]
        assert rows["b"]["speakers"] == (6 if trials is labels else 4)
        assert rows["a"]["figures"] is not None


def test_no_test_where_too_few_draws_have_a_value():
    scores, labels, enrol, test, of = make_trials()
    two = {s: g for s, g in of.items() if g in "ab"}
    # Of b one speaker has nearly all target trials, and many draws have none of the others.
    few = labels & np.array([two.get(str(s)) == "b" for s in enrol])
    kept = (
        ~few | (enrol == "b0") | (np.arange(len(few)) == np.flatnonzero(few & (enrol == "b1"))[0])
    )
    settings = GroupSettings(0.0, replicates=60, least_speakers=2)
    sides = (side[kept] for side in (scores, labels, enrol, test))
    made = group_errors(*sides, {"kind": two}, settings)
    json.dumps(made, allow_nan=False)
    a, b = made["attributes"]["kind"]["groups"]
    assert b["intervals"]["fnmr"] is None
    for row in (a, b):
        found = row["difference"]["fnmr"]
        assert (found["interval"], found["p"], found["p_holm"]) == (None, None, None)
        assert row["difference"]["fmr"]["p"] is not None


def test_two_groups_are_one_comparison():
    *trials, of = make_trials()
    two = {s: g for s, g in of.items() if g in "ab"}
    settings = GroupSettings(0.0, replicates=40)
    a, b = group_errors(*trials, {"kind": two}, settings)["attributes"]["kind"]["groups"]
    for figure in ("eer", "fmr", "fnmr"):
        first, second = a["difference"][figure], b["difference"][figure]
        assert first["change"] == pytest.approx(-second["change"])
        assert first["p"] == first["p_holm"] == second["p_holm"]


def test_without_replicates_and_without_groups():
    *trials, of = make_trials(sessions=2)
    made = group_errors(*trials, {"kind": of, "none": {}}, GroupSettings(0.0, replicates=0))
    json.dumps(made, allow_nan=False)
    assert made["attributes"]["none"]["groups"] == []
    assert made["attributes"]["none"]["unknown_speakers"] == 27
    row = made["attributes"]["kind"]["groups"][0]
    assert row["figures"]["eer"] >= 0 and not row["intervals"] and not row["difference"]


def test_calibration_by_group_takes_a_shift_of_one_group_out():
    scores, labels, enrol, test, of = make_trials(1)
    speakers = np.stack([enrol, test])
    left, right = groups_of(speakers, of)
    inside = (left == "a") & (right == "a")
    shifted = np.where(inside, 0.5 * scores + 4, scores)
    made = GroupCalibration(of).fit(shifted, labels, speakers)
    plain = GroupCalibration({}).fit(scores, labels, speakers)
    assert set(made.own) == {"a", "b", "c"} and set(plain.maps()) == {"all"}
    own = GroupCalibration(of).fit(scores, labels, speakers)
    # The same LLRs within the group, whatever its scores were shifted and scaled by.
    assert made(shifted, speakers)[inside] == pytest.approx(own(scores, speakers)[inside], abs=1e-3)
    between = left != right
    assert made(shifted, speakers)[between] == pytest.approx(
        made.common.scale * shifted[between] + made.common.offset
    )
