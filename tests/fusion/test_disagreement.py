"""The members' disagreement: against its definition, held out, saved, as a quality measure."""

from __future__ import annotations

import json

import numpy as np
import pytest

from acorl_sb.cli import fuse
from acorl_sb.data.manifest import Utterance, write_manifest
from acorl_sb.data.scorefiles import read_scores, write_scores
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.calibration import LinearCalibration
from acorl_sb.fusion.disagreement import Disagreement, judge_std
from acorl_sb.utils.errors import UserError


def make_part(seed, prefix, speakers=12, each=4):
    """Trials of one part; the noise that the members do not share is larger on every third."""
    rng = np.random.default_rng(seed)
    ids = [f"{prefix}{s}-{u}" for s in range(speakers) for u in range(each)]
    left, right = np.triu_indices(len(ids), 1)
    labels = left // each == right // each
    own = np.where(np.arange(len(labels)) % 3, 0.3, 2.0)
    scores = 0.7 * rng.normal(size=len(labels)) + own * rng.normal(size=(2, len(labels)))
    return TrialList(ids, left, right, labels), scores + 3.0 * labels


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = {part: make_part(n, part) for n, part in enumerate(("dev", "test"))}
    for part, (trials, scores) in parts.items():
        for name, row in zip("ab", scores, strict=True):
            write_scores(tmp_path / name / f"{part}.txt", trials, row)
        rows = [Utterance(u, 1.0, f"{u}.wav", 0, 16000, u[:-2]) for u in trials.ids]
        write_manifest(tmp_path / f"{part}.csv", rows)
    return parts


DEV_TEST = ["--dev", "a/dev.txt", "b/dev.txt", "--test", "a/test.txt", "b/test.txt"]


def run(*argv, out="out"):
    assert fuse.main([*argv, "--replicates", "0", "--output_folder", out]) == 0


def expected(fit_on, labels, scores):
    llrs = [LinearCalibration().fit(f, labels)(s) for f, s in zip(fit_on, scores, strict=True)]
    return np.abs(llrs[0] - llrs[1]) / np.sqrt(2)  # of two values, n - 1 in the denominator


def test_the_column_is_the_deviation_of_the_members_llrs(files, tmp_path):
    run(*DEV_TEST, "--uncertainty")
    (dev, dev_scores), (_, scores) = files["dev"], files["test"]
    found = read_scores(tmp_path / "out" / "fused_test.txt")
    assert found.std == pytest.approx(expected(dev_scores, dev.labels, scores))
    made = json.loads((tmp_path / "out" / "results.json").read_text())["uncertainty"]
    assert made["mean_std"] == pytest.approx(found.std.mean())
    assert made["curves"]["std"][-1] == pytest.approx(made["eer"])
    assert 'data-figure="selective"' in (tmp_path / "out" / "report.html").read_text()
    # What is saved gives the same column to the same trials.
    test = ["--test", "a/test.txt", "b/test.txt"]
    run("--apply", "out/fusion_model.json", *test, out="new")
    again = read_scores(tmp_path / "new" / "fused_test.txt")
    assert again.std == pytest.approx(found.std) and again.scores == pytest.approx(found.scores)


def test_without_the_key_there_is_no_column(files, tmp_path):
    run(*DEV_TEST, "--no-report")
    assert read_scores(tmp_path / "out" / "fused_test.txt").std is None
    assert "uncertainty" not in json.loads((tmp_path / "out" / "results.json").read_text())


def test_one_set_is_held_out_by_speaker(files, tmp_path):
    run("a/test.txt", "b/test.txt", "--speakers", "test.csv", "--uncertainty", "--no-report")
    trials, scores = files["test"]
    found = read_scores(tmp_path / "out" / "fused.txt")
    all_seen = expected(scores, trials.labels, scores)
    assert np.corrcoef(found.std, all_seen)[0, 1] > 0.8
    assert (found.std != all_seen).all()


def test_a_column_is_a_quality_measure(files, tmp_path):
    """On trials where a member says that it is unsure, its deviation is information."""
    for part, (trials, scores) in files.items():
        for name, row in zip("ab", scores, strict=True):
            std = np.where(np.arange(len(trials)) % 3, 0.3, 2.0)
            std = std + 0.01 * np.random.default_rng(1).random((2, len(trials)))["ab".index(name)]
            write_scores(tmp_path / name / f"{part}.txt", trials, row, std=std)
    run(*DEV_TEST, "--quality", "uncertainty", "--no-report")
    made = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(made["quality"]) == 2
    weights = made["fusion"]["parameters"]["weights"]
    assert set(made["quality"]) < set(weights)


def test_what_is_refused(files):
    with pytest.raises(UserError, match="uncertainty"):
        run(*DEV_TEST, "--quality", "uncertainty")
    with pytest.raises(UserError):
        run("--dev", "a/dev.txt", "--test", "a/test.txt", "--uncertainty")
    with pytest.raises(UserError):
        Disagreement().fit(np.ones((1, 4)), np.array([1, 0, 1, 0]))


def test_doubt_that_knows_the_errors_beats_the_distance_to_the_threshold():
    rng = np.random.default_rng(3)
    labels = rng.random(6000) < 0.5
    noisy = rng.random(6000) < 0.1
    llrs = np.where(labels, 3.0, -3.0) + np.where(noisy, 6.0, 1.0) * rng.normal(size=6000)
    found = judge_std(llrs, labels, np.where(noisy, 6.0, 1.0), 0.0)
    change = {name: row["change"] for name, row in found["rejecting"].items()}
    assert change["std"] < -0.8 and change["std"] < change["distance"]
    assert found["bins"][-1]["error"] > found["bins"][0]["error"]
    assert found["bins"][-1]["error"] == pytest.approx(0.31, abs=0.06)  # P(N(0, 1) > 3 / 6)
