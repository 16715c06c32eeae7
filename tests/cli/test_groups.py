"""``acorl groups``: from score files, manifests and tables to tables, JSON and page."""

from __future__ import annotations

import json

import numpy as np
import pytest

from acorl_sb import metrics
from acorl_sb.cli import groups
from acorl_sb.data.manifest import Utterance, write_manifest
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.calibration import LinearCalibration
from acorl_sb.utils.errors import UserError
from tests.commands import checksums


def make_part(folder, part, seed):
    """14 speakers with 3 utterances each; every fourth a child, every third a man."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(14), 3)
    ids = [f"{part}{s}-{i}" for i, s in enumerate(speaker)]
    utterances = [
        Utterance(name, 1.0, f"{name}.wav", 0, 16000, f"{part}{s}", "", "fm"[s % 2],
                  {"age": "8" if s % 4 == 0 else "30"})
        for name, s in zip(ids, speaker, strict=True)
    ]  # fmt: skip
    left, right = np.triu_indices(len(ids), 1)
    labels = speaker[left] == speaker[right]
    scores = 0.2 * rng.normal(size=len(labels)) + 0.5 * labels
    trials = TrialList(ids, left, right, labels)
    write_manifest(folder / "manifest" / f"{part}.csv", utterances)
    write_scores(folder / "scores" / "score-logistic" / f"{part}.txt", trials, scores)
    return scores, labels


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = {part: make_part(tmp_path / "run", part, n) for n, part in enumerate(("dev", "test"))}
    return parts


def run(*argv):
    assert groups.main([*argv, "--output_folder", "out", "--replicates", "30"]) == 0
    with open("out/groups.json") as file:
        return json.load(file)


def test_a_run_is_calibrated_and_decided_by_its_development_part(run_folder, capsys):
    made = run("--run_folder", "run", "--groups", "gender,gender+age")
    dev, test = run_folder["dev"], run_folder["test"]
    calibration = LinearCalibration().fit(*dev)
    assert made["threshold"] == pytest.approx(metrics.eer_threshold(calibration(dev[0]), dev[1]))
    llrs = calibration(test[0])
    overall = made["overall"]["figures"]
    assert overall["cllr"] == pytest.approx(metrics.cllr(llrs, test[1]))
    assert overall["eer"] == pytest.approx(metrics.eer(*test))
    rows = {r["group"]: r for r in made["attributes"]["gender+age"]["groups"]}
    assert {g: r["speakers"] for g, r in rows.items()} == {
        "f, below 13": 4, "f, 18 to 60": 3, "m, 18 to 60": 7,
    }  # fmt: skip
    assert list(rows) == ["f, below 13", "f, 18 to 60", "m, 18 to 60"]  # by number, not by text
    assert [g for g, r in rows.items() if r["figures"]] == ["m, 18 to 60"]
    assert "| m, 18 to 60 |" in capsys.readouterr().out


def test_results_of_a_run_go_into_its_folder(run_folder, tmp_path, capsys):
    assert groups.main(["--run_folder", "run", "--groups", "gender", "--replicates", "0"]) == 0
    assert (tmp_path / "run" / "groups" / "groups.json").is_file()
    assert not (tmp_path / "results").exists()
    test = ["run/scores/score-logistic/test.txt", "--speakers", "run/manifest/test.csv"]
    assert groups.main([*test, "--groups", "gender", "--replicates", "0"]) == 0
    assert (tmp_path / "results" / "groups" / "groups.json").is_file()


def test_results_of_other_scores_stay(run_folder, tmp_path):
    first = run("--run_folder", "run", "--groups", "gender")
    assert run("--run_folder", "run", "--groups", "gender+age")["scores"] == first["scores"]
    kept = checksums(tmp_path / "out")
    make_part(tmp_path / "other", "test", 5)
    with pytest.raises(UserError, match="out"):
        run("other/scores/score-logistic/test.txt", "--speakers", "other/manifest/test.csv",
            "--groups", "gender")  # fmt: skip
    assert checksums(tmp_path / "out") == kept


def test_the_page_and_its_pictures(run_folder, tmp_path):
    run("--run_folder", "run", "--groups", "gender")
    page = (tmp_path / "out" / "groups.html").read_text()
    assert 'data-figure="eer-by-gender"' in page and 'id="groups-gender"' in page
    assert (tmp_path / "out" / "figures" / "eer-by-gender.svg").is_file()
    assert (tmp_path / "out" / "groups.md").read_text().startswith("# ")


def test_score_files_with_a_table_of_speakers(run_folder, tmp_path):
    rows = [f"test{s},{'north' if s < 7 else 'south'}" for s in range(14)]
    (tmp_path / "t.csv").write_text("\n".join(["speaker,accent", *rows]))
    test = "run/scores/score-logistic/test.txt"
    common = ["--speakers", "run/manifest/test.csv", "--attributes", "t.csv", "--groups", "accent"]
    made = run(test, *common)
    assert made["figures"] == ["eer", "fmr", "fnmr"]
    assert made["threshold"] == pytest.approx(metrics.eer_threshold(*run_folder["test"]))
    made = run(test, *common, "--llr", "--threshold", "0.5")
    assert made["threshold"] == 0.5 and "cllr" in made["figures"]
    assert [r["speakers"] for r in made["attributes"]["accent"]["groups"]] == [7, 7]


def test_llrs_are_not_calibrated_again(run_folder):
    (dev, labels), test = run_folder["dev"], "run/scores/score-logistic/test.txt"
    common = ["--speakers", "run/manifest/dev.csv", "run/manifest/test.csv", "--groups", "gender"]
    dev_file = ["--dev", "run/scores/score-logistic/dev.txt"]
    made = run(test, *common, *dev_file, "--llr")
    assert made["threshold"] == pytest.approx(metrics.eer_threshold(dev, labels))
    assert made["overall"]["figures"]["cllr"] == pytest.approx(metrics.cllr(*run_folder["test"]))
    assert "maps" not in made
    again = run(test, *common, *dev_file)
    assert again["overall"]["figures"]["cllr"] != pytest.approx(made["overall"]["figures"]["cllr"])


def test_groups_calibrated_apart(run_folder):
    made = run("--run_folder", "run", "--groups", "age", "--calibrate_by", "gender")
    assert set(made["maps"]) == {"all", "f", "m"} and made["calibrated_by"] == "gender"


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--run_folder", "run", "--groups", "weight"], "weight"),
        (["--run_folder", "run", "--groups", ","], "groups"),
        (["--run_folder", "run", "--system", "none", "--groups", "age"], "none"),
        (["--run_folder", "nowhere", "--groups", "age"], "nowhere"),
        (["run/scores/score-logistic/test.txt", "--groups", "age"], "speakers"),
        (["--groups", "age"], "run_folder"),
        (["a.txt", "b.txt", "--groups", "age"], "2"),
        (["a.txt", "--groups", "age", "--calibrate_by", "age"], "dev"),
        (["--run_folder", "run", "--dev", "a.txt", "--groups", "age"], "dev"),
        (["--run_folder", "run", "--groups", "age", "--calibrate_by", "age", "--llr"], "llr"),
        (["--run_folder", "run", "--groups", "age", "--calibrate_by", "age,gender"], "age,gender"),
        (["--run_folder", "run", "--groups", "age", "--least_speakers", "4"], "least_speakers"),
        (["--run_folder", "run", "--groups", "gender", "--bands", "{gender: [3]}"], "gender"),
    ],
)
def test_faults_are_named_and_nothing_is_written(run_folder, tmp_path, argv, named):
    with pytest.raises(UserError, match=named):
        groups.main([*argv, "--output_folder", "out"])
    assert not (tmp_path / "out").exists()
