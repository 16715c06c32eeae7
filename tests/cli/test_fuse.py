"""``fuse.py`` from the command line: every way in, every file out, every kind of bad input."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acorl_sb import metrics
from acorl_sb.cli import fuse
from acorl_sb.data.embeddings import Embeddings, write_embeddings
from acorl_sb.data.manifest import Utterance, read_manifest, write_manifest
from acorl_sb.data.scorefiles import read_scores, write_scores
from acorl_sb.data.trials import TrialList, write_trials
from acorl_sb.fusion import fuse_options, fuse_run
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.fusion.systems import name_systems
from acorl_sb.utils.errors import UserError, run_cli

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["ecapa", "resnet", "xvector"]
STRENGTH = (2.6, 2.2, 1.5)
UTTERANCES = 5


def make_part(seed, prefix, speakers=16):
    """Trials among the utterances ``prefix<speaker>-<n>`` and three systems' scores of them."""
    rng = np.random.default_rng(seed)
    ids = [f"{prefix}{s:02d}-{n}" for s in range(speakers) for n in range(UTTERANCES)]
    enrol, test = np.triu_indices(len(ids), 1)
    labels = enrol // UTTERANCES == test // UTTERANCES
    kept = labels | (rng.random(len(enrol)) < 0.4)
    trials = TrialList(ids, enrol[kept], test[kept], labels[kept])
    common = 0.7 * rng.standard_normal(len(trials))
    return trials, {
        name: 0.1 * (common + rng.standard_normal(len(trials)) + d * trials.labels)
        for name, d in zip(NAMES, STRENGTH, strict=True)
    }


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Score files ``<system>/<part>.txt`` in the working folder, a manifest for each part."""
    monkeypatch.chdir(tmp_path)
    for part, seed in (("dev", 1), ("test", 2)):
        trials, scores = make_part(seed, part)
        for name in NAMES:
            write_scores(tmp_path / name / f"{part}.txt", trials, scores[name])
        rng = np.random.default_rng(seed)
        write_manifest(
            tmp_path / f"{part}.csv",
            [Utterance(u, rng.uniform(1, 9), f"{u}.wav", 0, 16000, u[:-2]) for u in trials.ids],
        )
        write_trials(tmp_path / f"{part}_trials.txt", trials)
    return tmp_path


def arguments(*more, systems=NAMES):
    """A command line over the files of the fixture, quick."""
    dev, test = ([f"{name}/{part}.txt" for name in systems] for part in ("dev", "test"))
    return ["--dev", *dev, "--test", *test, "--output_folder", "out", "--replicates", "50", *more]


def clear(argv) -> None:
    """Take the results of an earlier command away, which ``fuse.py`` would not overwrite."""
    if "--output_folder" in argv:
        shutil.rmtree(argv[argv.index("--output_folder") + 1], ignore_errors=True)


def run(monkeypatch, *argv) -> dict:
    """Run ``fuse.py`` and return its results."""
    clear(argv)
    monkeypatch.setattr(sys, "argv", ["fuse.py", *map(str, argv)])
    assert fuse.main() == 0
    out = Path(argv[argv.index("--output_folder") + 1])
    return json.loads((out / "results.json").read_text()) if "--apply" not in argv else {}


def fails(monkeypatch, capsys, *argv) -> str:
    """Run ``fuse.py`` the way the shell does and return its one sentence."""
    clear(argv)
    monkeypatch.setattr(sys, "argv", ["fuse.py", *map(str, argv)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run_cli(fuse.main)
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def scores_of(part):
    return np.stack([read_scores(f"{name}/{part}.txt").scores for name in NAMES])


def test_development_and_test_files(files, monkeypatch, capsys):
    results = run(monkeypatch, *arguments("--speakers", "dev.csv", "test.csv", "--prior", "0.1"))
    made = {path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()}
    assert {"fused_dev.txt", "fused_test.txt", "fusion_model.json", "results.json"} <= made
    assert {"results.md", "curves.json", "report.html", "figures/det.svg"} <= made

    # The fused scores are those of the model, fitted on the development trials.
    dev, fused = read_scores("ecapa/dev.txt"), read_scores("out/fused_test.txt")
    model = LogisticFusion(0.1).fit(scores_of("dev"), dev.trials.labels)
    np.testing.assert_allclose(fused.scores, model(scores_of("test")), atol=1e-9)
    weights = results["fusion"]["parameters"]["weights"]
    assert list(weights) == NAMES
    np.testing.assert_allclose(list(weights.values()), model.weights)

    # The table says what the files say.
    rows = {row["name"]: row for row in results["table"]}
    assert list(rows) == [
        *NAMES,
        "best single (by development)",
        "mean of z-norm",
        "logistic fusion",
    ]
    labels = fused.trials.labels
    row = rows["logistic fusion"]
    assert row["eer"] == pytest.approx(metrics.eer(fused.scores, labels))
    assert row["act_dcf"]["0.05"] == pytest.approx(metrics.act_dcf(fused.scores, labels, 0.05))
    assert row["cllr"] == pytest.approx(metrics.cllr(fused.scores, labels))
    low, high = row["intervals"]["eer"]
    assert low < row["eer"] < high
    for name, scores in zip(NAMES, scores_of("test"), strict=True):
        assert rows[name]["eer"] == pytest.approx(metrics.eer(scores, labels))
        assert rows[name]["min_dcf"]["0.01"] == pytest.approx(metrics.min_dcf(scores, labels, 0.01))
    assert results["protocol"]["kind"] == "dev_test"
    assert results["protocol"]["shared_speakers"] == 0
    assert results["decisions"][0]["llr_threshold"] == pytest.approx(np.log(99))
    assert len(results["contributions"]["subsets"]) == 7
    assert len([s for s in results["contributions"]["steps"] if s["leave_one_out"]]) == 3
    assert results["made"]["command"].startswith("python fuse.py --dev ecapa/dev.txt")

    screen, markdown = capsys.readouterr().out, Path("out/results.md").read_text()
    for text in (screen, markdown):
        assert "| logistic fusion |" in text and "No speaker is in both" in text
    assert "fitted on" in markdown and "Does adding a member help?" in markdown


def test_one_set_is_cross_validated_and_says_so(files, monkeypatch, capsys):
    results = run(
        monkeypatch, *[f"{n}/dev.txt" for n in NAMES], "--speaker_pattern", r"^(\w+)-",
        "--output_folder", "out", "--replicates", "0", "--no-report", "--folds", "4",
    )  # fmt: skip
    assert results["protocol"]["kind"] == "cross_validation"
    assert results["systems"] == NAMES
    assert "cross-validated on one set" in capsys.readouterr().out
    assert (
        "4 folds of 16 speakers, both sides' speakers held out"
        in Path("out/results.md").read_text()
    )
    fused = read_scores("out/fused.txt")
    assert len(fused.trials) == len(read_scores("ecapa/dev.txt").trials)
    row = next(row for row in results["table"] if row["name"] == "logistic fusion")
    assert row["eer"] == pytest.approx(metrics.eer(fused.scores, fused.trials.labels))
    assert row["intervals"] == {} and results["intervals"]["replicates"] == 0
    assert not Path("out/report.html").exists()


def test_files_in_any_order_give_the_same_scores(files, monkeypatch):
    run(monkeypatch, *arguments("--no-report"))
    before = Path("out/fused_test.txt").read_text()
    for part in ("dev", "test"):
        lines = Path(f"resnet/{part}.txt").read_text().splitlines(keepends=True)
        np.random.default_rng(0).shuffle(lines)
        Path(f"resnet/{part}.txt").write_text("".join(lines))
    run(monkeypatch, *arguments("--no-report"))
    assert Path("out/fused_test.txt").read_text() == before


def test_large_files_are_read_side_by_side(files, monkeypatch, capsys):
    run(monkeypatch, *arguments("--no-report"))
    before = Path("out/fused_test.txt").read_text()
    monkeypatch.setattr("acorl_sb.fusion.score_inputs._PARALLEL_BYTES", (0, 1e9))
    run(monkeypatch, *arguments("--no-report"))
    assert Path("out/fused_test.txt").read_text() == before
    Path("resnet/dev.txt").write_text("a b 1 x\n")
    message = fails(monkeypatch, capsys, *arguments("--no-report"))
    assert "resnet/dev.txt line 1" in message


def test_yaml_and_command_line(files, monkeypatch):
    entries = "".join(f"  {n}: {{dev: {n}/dev.txt, test: {n}/test.txt}}\n" for n in NAMES)
    Path("my.yaml").write_text(
        f"systems:\n{entries}prior: 0.2\nfusion: mean_znorm\nreport: False\nreplicates: 0\n"
        "where: here\noutput_folder: !ref out/<where>\n"
    )
    results = run(monkeypatch, "my.yaml", "--output_folder", "out/there", "--fusion", "logistic")
    assert results["systems"] == NAMES and results["fusion"]["prior"] == 0.2
    assert results["fusion"]["kind"] == "logistic"
    Path("my.yaml").write_text(f"systems:\n{entries}priors: 0.2\n")
    with pytest.raises(UserError, match=r"my.yaml.*'priors'.*'prior'"):
        fuse_options.read_options(["my.yaml"])
    Path("my.yaml").write_text("systems:\n  a: {dev: x, tset: y}\n")
    with pytest.raises(UserError, match=r"systems.a.*'tset'.*'test'"):
        fuse_options.find_systems(fuse_options.read_options(["my.yaml"]))


def test_the_shipped_yaml_holds_every_default():
    options = fuse_options.read_options([str(ROOT / "hparams" / "fuse.yaml")])
    assert options == fuse_options.read_options([])


def make_run_folder(files):
    """The output of a training run, as far as fusion looks at it."""
    for name in NAMES:
        for part in ("dev", "test"):
            target = Path("run/scores") / name / f"{part}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Path(f"{name}/{part}.txt").read_text())
        Path("run/members", name).mkdir(parents=True)
        epochs = [{"epoch": n, "task_loss": 3 / n, "dev_eer": 0.2 / n} for n in range(1, 5)]
        log = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
        Path("run/members", name, "train_log.jsonl").write_text(log)
    Path("run/scores/score-mean").mkdir()  # a fusion of the run itself is no member
    Path("run/manifest").mkdir()
    for part in ("dev", "test"):
        Path(f"run/manifest/{part}.csv").write_text(Path(f"{part}.csv").read_text())


def test_run_folder(files, monkeypatch):
    make_run_folder(files)
    results = run(
        monkeypatch, "--run_folder", "run", "--output_folder", "out", "--replicates", "50"
    )
    assert results["systems"] == NAMES
    assert results["intervals"]["replicates"] == 50  # speakers from the run's manifests
    page = Path("out/report.html").read_text()
    assert 'data-figure="training-dev-eer"' in page and 'data-figure="training-task-loss"' in page
    # What the run itself fused, a reference that it did not train too.
    rows = [{"name": name, "kind": "member"} for name in NAMES]
    Path("run/results.json").write_text(json.dumps({"systems": rows}))
    shutil.rmtree(f"run/members/{NAMES[0]}")
    given = ("--run_folder", "run", "--output_folder", "out2", "--replicates", "0")
    assert run(monkeypatch, *given)["systems"] == NAMES
    results = run(
        monkeypatch, "--run_folder", "run", "--names", "xvector", "ecapa", "--no-report",
        "--output_folder", "out", "--replicates", "0",
    )  # fmt: skip
    assert results["systems"] == ["xvector", "ecapa"]


def test_labels_from_trial_lists(files, monkeypatch):
    run(monkeypatch, *arguments("--no-report"))
    before = read_scores("out/fused_test.txt").scores
    for name in NAMES:
        for part in ("dev", "test"):
            scored = read_scores(f"{name}/{part}.txt")
            write_scores(f"{name}/{part}.txt", scored.trials, scored.scores, form="kaldi")
    results = run(
        monkeypatch,
        *arguments(
            "--dev_trials", "dev_trials.txt", "--test_trials", "test_trials.txt", "--no-report"
        ),
    )
    np.testing.assert_array_equal(read_scores("out/fused_test.txt").scores, before)
    assert len(results["table"]) == 6
    # Without labels for the test trials there is nothing to measure, but they are fused.
    results = run(monkeypatch, *arguments("--dev_trials", "dev_trials.txt"))
    np.testing.assert_array_equal(read_scores("out/fused_test.txt").scores, before)
    assert results["table"] == [] and "nothing to measure" in Path("out/results.md").read_text()


def test_saved_model_is_applied_to_other_files(files, monkeypatch, capsys):
    for more in ([], ["--calibration", "pav", "--fusion", "mean_znorm"]):
        run(monkeypatch, *arguments("--no-report", *more))
        before = Path("out/fused_test.txt").read_text()
        capsys.readouterr()
        tests = [f"{name}/test.txt" for name in NAMES]
        run(
            monkeypatch,
            "--apply",
            "out/fusion_model.json",
            "--test",
            *tests,
            "--output_folder",
            "new",
        )
        assert Path("new/fused_test.txt").read_text() == before
        assert "accept where the LLR is at least 4.5951" in capsys.readouterr().out
    message = fails(
        monkeypatch, capsys, "--apply", "out/fusion_model.json", "--test", "ecapa/test.txt"
    )
    assert "ecapa, resnet, xvector" in message
    message = fails(monkeypatch, capsys, "--apply", "ecapa/test.txt", "--test", "ecapa/test.txt")
    assert "ecapa/test.txt" in message


def test_a_saved_model_is_judged_with_the_labels_of_a_trial_list(files, monkeypatch, capsys):
    run(monkeypatch, *arguments("--no-report"))
    for name in NAMES:
        scored = read_scores(f"{name}/test.txt")
        write_scores(f"{name}/bare.txt", replace(scored.trials, labels=None), scored.scores)
    made = []
    for key, trials in (("--test", "--test_trials"), ("--scores", "--trials")):
        files_of = [f"{name}/bare.txt" for name in NAMES]
        argv = ("--apply", "out/fusion_model.json", key, *files_of, trials, "test_trials.txt")
        capsys.readouterr()
        run(monkeypatch, *argv, "--output_folder", "new")
        made.append(capsys.readouterr().out)
        assert "eer:" in made[-1]
    assert made[0] == made[1]


def test_scores_that_fall_with_likeness_are_told_of_and_fused_the_right_way_round(
    files, monkeypatch
):
    for part in ("dev", "test"):
        scored = read_scores(f"resnet/{part}.txt")
        write_scores(f"distance/{part}.txt", scored.trials, -scored.scores)
    found = [
        run(monkeypatch, *arguments("--no-report", systems=["ecapa", second]))
        for second in ("resnet", "distance")
    ]
    assert not any("resnet" in warning for warning in found[0]["warnings"])
    assert any("distance" in warning for warning in found[1]["warnings"])
    usual, turned = (
        {tuple(row["members"]): row["figures"]["eer"] for row in made["contributions"]["subsets"]}
        for made in found
    )
    assert turned == pytest.approx(usual, abs=1e-6)


def test_a_cohort_with_utterances_of_the_trials_is_refused(files, monkeypatch, capsys):
    make_embeddings()
    more = ["--no-report", "--quality", "cohort", "--cohort_top", "20"]
    for part in ("dev", "test"):
        more += [f"--{part}_embeddings", *(f"{name}/{part}.npz" for name in NAMES[:2])]
    cohorts = ["ecapa/train.npz", "resnet/test.npz"]
    message = fails(
        monkeypatch, capsys, *arguments(*more, "--cohorts", *cohorts, systems=NAMES[:2])
    )
    assert "resnet/test.npz" in message


def test_the_order_of_lines_changes_no_cross_validated_figure(files, monkeypatch):
    rng, made = np.random.default_rng(0), []
    for order in (None, rng.permutation, rng.permutation):
        for name in NAMES:
            scored = read_scores(f"{name}/dev.txt")
            rows = np.arange(len(scored.trials)) if order is None else order(len(scored.trials))
            t = scored.trials
            trials = TrialList(t.ids, t.enrol[rows], t.test[rows], t.labels[rows])
            write_scores(f"{name}/mine.txt", trials, scored.scores[rows])
        argv = [f"{name}/mine.txt" for name in NAMES] + ["--speakers", "dev.csv", "--no-report"]
        results = run(monkeypatch, *argv, "--output_folder", "out", "--replicates", "50")
        made.append({row["name"]: (row["eer"], row["cllr"]) for row in results["table"]})
        made[-1] |= {row["name"]: row["intervals"]["eer"] for row in results["table"][:1]}
    for other in made[1:]:
        for name, values in made[0].items():
            assert other[name] == pytest.approx(values, abs=1e-6)


def test_quality_columns(files, monkeypatch, capsys):
    more = ["--quality", "duration", "--speakers", "dev.csv", "test.csv", "--no-report"]
    results = run(monkeypatch, *arguments(*more))
    names = ["log duration (smaller side)", "log duration (larger side)"]
    assert list(results["fusion"]["parameters"]["weights"]) == NAMES + names
    tests = [f"{name}/test.txt" for name in NAMES]
    before = Path("out/fused_test.txt").read_text()
    run(
        monkeypatch, "--apply", "out/fusion_model.json", "--test", *tests,
        "--speakers", "test.csv", "--output_folder", "new",
    )  # fmt: skip
    assert Path("new/fused_test.txt").read_text() == before
    # One system and its quality: both with and without it are in the table.
    results = run(monkeypatch, *arguments(*more, systems=["ecapa"]))
    assert [row["name"] for row in results["table"]] == ["ecapa", "logistic fusion"]
    fails(monkeypatch, capsys, *arguments("--quality", "duration"))  # of no manifest
    assert "'size'" in fails(monkeypatch, capsys, *arguments("--quality", "size"))


def make_embeddings():
    """Embeddings ``<system>/<part>.npz`` of two systems, and the speakers in ``utt2spk``."""
    rng = np.random.default_rng(0)
    speakers = {}
    for part in ("dev", "test", "train"):
        ids = [f"{part}{s:02d}-{n}" for s in range(16) for n in range(UTTERANCES)]
        for name in NAMES[:2]:
            voices = rng.standard_normal((16, 6)).repeat(UTTERANCES, 0)
            vectors = voices + 0.5 * rng.standard_normal(voices.shape)
            write_embeddings(f"{name}/{part}.npz", Embeddings(ids, vectors.astype(np.float32)))
        speakers.update({u: u[:-2] for u in ids})
    Path("utt2spk").write_text("".join(f"{u} {s}\n" for u, s in speakers.items()))


def test_embeddings_are_concatenated_and_scored(files, monkeypatch, capsys):
    make_embeddings()
    more = ["--no-report", "--speakers", "utt2spk", "--quality", "magnitude", "cohort"]
    for part in ("dev", "test", "train"):
        more += [f"--{part}_embeddings", *(f"{name}/{part}.npz" for name in NAMES[:2])]
    more += ["--cohorts", *(f"{name}/train.npz" for name in NAMES[:2]), "--cohort_top", "20"]
    results = run(monkeypatch, *arguments(*more, systems=NAMES[:2]))
    rows = {row["name"]: row for row in results["table"]}
    assert rows["embedding concatenation, cosine"]["eer"] < 0.1  # these embeddings are good
    assert rows["embedding concatenation, PLDA"]["eer"] < 0.1
    assert len(results["fusion"]["parameters"]["weights"]) == 2 + 2 * 2 * 2
    assert len(results["quality"]) == 8
    # What one member gives is what it gives by itself, with its own quality columns alone.
    subsets = {tuple(row["members"]): row["figures"] for row in results["contributions"]["subsets"]}
    for n, name in enumerate(NAMES[:2]):
        mine = [a for a in more if "/" not in a or a.startswith(name)]
        alone = run(monkeypatch, *arguments(*mine, systems=[name]))["table"][-1]
        assert subsets[n,]["eer"] == pytest.approx(alone["eer"])
        assert subsets[n,]["min_dcf(0.05)"] == pytest.approx(alone["min_dcf"]["0.05"])
    # Training on speakers of the trials is refused.
    swapped = [a.replace("/train.npz", "/test.npz") if "train" in a else a for a in more]
    fails(monkeypatch, capsys, *arguments(*swapped, systems=NAMES[:2]))


def test_applied_model_looks_at_as_many_cohort_members_as_it_was_fitted_with(
    files, monkeypatch, capsys
):
    make_embeddings()
    cohorts = ["--cohorts", *(f"{name}/train.npz" for name in NAMES[:2])]
    more = ["--quality", "cohort", "--cohort_top", "3", "--no-report"]
    for part in ("dev", "test"):
        more += [f"--{part}_embeddings", *(f"{name}/{part}.npz" for name in NAMES[:2])]
    run(monkeypatch, *arguments(*cohorts, *more, systems=NAMES[:2]))
    before = Path("out/fused_test.txt").read_text()

    def apply(*given, model="out/fusion_model.json"):
        tests = [f"{name}/{{}}" for name in NAMES[:2]]
        return (
            *("--apply", model, "--test", *(name.format("test.txt") for name in tests)),
            *("--test_embeddings", *(name.format("test.npz") for name in tests)),
            *(*cohorts, "--output_folder", "new", *given),
        )

    for given in ((), ("--cohort_top", "3")):
        run(monkeypatch, *apply(*given))
        assert Path("new/fused_test.txt").read_text() == before
    assert json.loads(Path("new/inputs.json").read_text())["cohort_top"] == 3
    message = fails(monkeypatch, capsys, *apply("--cohort_top", "7"))
    assert "out/fusion_model.json" in message and "'cohort_top'" in message
    assert {*re.findall(r"\d+", message)} == {"3", "7"}
    # A model that does not say how many it was fitted with goes by the command line.
    model = json.loads(Path("out/fusion_model.json").read_text())
    assert model.pop("cohort_top") == 3
    Path("old.json").write_text(json.dumps(model))
    run(monkeypatch, *apply("--cohort_top", "3", model="old.json"))
    assert Path("new/fused_test.txt").read_text() == before
    run(monkeypatch, *apply(model="old.json"))
    assert Path("new/fused_test.txt").read_text() != before
    # Of a model without that measure any number is as good.
    run(monkeypatch, *arguments("--cohort_top", "3", "--no-report", systems=NAMES[:2]))
    run(monkeypatch, *apply("--cohort_top", "7"))


def test_applied_model_is_judged_at_the_costs_that_are_asked_for(files, monkeypatch):
    run(monkeypatch, *arguments("--no-report"))
    tests = [f"{name}/test.txt" for name in NAMES]
    argv = ["--apply", "out/fusion_model.json", "--test", *tests, "--points", "0.05"]
    argv += ["--c_miss", "10", "--c_fa", "2", "--output_folder", "new"]
    Path("new").mkdir()
    made = fuse_run.apply(fuse_options.read_options(argv), Path("new"), lambda text: None)

    fused = read_scores("new/fused_test.txt")
    targets, others = fused.scores[fused.trials.labels], fused.scores[~fused.trials.labels]
    miss, alarm = 0.05 * 10, 0.95 * 2

    def cost(threshold):
        missed, accepted = np.mean(targets < threshold), np.mean(others >= threshold)
        return (miss * missed + alarm * accepted) / min(miss, alarm)

    # The file rounds the ratios; none lies at the threshold.
    assert made.figures["act_dcf"] == {0.05: pytest.approx(cost(np.log(alarm / miss)))}
    least = min(cost(threshold) for threshold in [*fused.scores, np.inf])
    assert made.figures["min_dcf"] == {0.05: pytest.approx(least)}


def test_greedy_beyond_the_limit_and_best_single(files, monkeypatch):
    results = run(monkeypatch, *arguments("--exhaustive", "2", "--fusion", "best_single"))
    made = results["contributions"]
    assert made["search"] == "greedy" and made["fusion"] == "logistic"
    assert results["fusion"]["parameters"]["chosen"] == "ecapa"
    assert results["fused_name"] == "best single (by development)"


def test_separable_development_data_warn(files, monkeypatch, capsys):
    for name in NAMES:
        scored = read_scores(f"{name}/dev.txt")
        write_scores(f"{name}/dev.txt", scored.trials, scored.scores + 9.0 * scored.trials.labels)
    results = run(monkeypatch, *arguments())
    said, page = capsys.readouterr().err, html.unescape(Path("out/report.html").read_text())
    assert any("separable" in warning for warning in results["warnings"])  # beside the calibration
    assert all(warning in said and warning in page for warning in results["warnings"])
    assert results["fusion"]["parameters"]["l2_used"] > 0


def test_shared_speakers_are_pointed_out(files, monkeypatch, capsys):
    tests = [f"{n}/dev.txt" for n in NAMES]
    run(
        monkeypatch, "--dev", *tests, "--test", *tests, "--names", *NAMES, "--speakers", "dev.csv",
        "--output_folder", "out", "--replicates", "0",
    )  # fmt: skip
    assert "CAUTION: 16 speakers are in both" in capsys.readouterr().out
    assert "CAUTION: 16 speakers are in both" in Path("out/report.html").read_text()


# ------------------------------------------------------------------------------------------------
# Bad input


def edit(path, change):
    scored = read_scores(path)
    write_scores(path, *change(scored.trials, scored.scores))


def part_of(trials, keep):
    labels = None if trials.labels is None else trials.labels[keep]
    return TrialList(trials.ids, trials.enrol[keep], trials.test[keep], labels)


def test_differing_trials(files, monkeypatch, capsys):
    edit("resnet/test.txt", lambda t, s: (part_of(t, slice(5, None)), s[5:]))
    message = fails(monkeypatch, capsys, *arguments())
    assert "resnet/test.txt" in message and "ecapa/test.txt" in message
    assert "'test00-0 test00-1'" in message
    assert not Path("out").exists()


def test_constant_scores(files, monkeypatch, capsys):
    edit("resnet/dev.txt", lambda t, s: (t, np.full(len(s), 0.25)))
    message = fails(monkeypatch, capsys, *arguments())
    assert "'resnet'" in message


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "x"])
def test_scores_that_are_no_finite_numbers(files, monkeypatch, capsys, bad):
    lines = Path("resnet/dev.txt").read_text().splitlines(keepends=True)
    lines[6] = " ".join([*lines[6].split()[:3], bad]) + "\n"
    Path("resnet/dev.txt").write_text("".join(lines))
    message = fails(monkeypatch, capsys, *arguments())
    assert "resnet/dev.txt line 7" in message and f"'{bad}'" in message


def test_labels_missing_for_fitting(files, monkeypatch, capsys):
    for name in NAMES:
        scored = read_scores(f"{name}/dev.txt")
        write_scores(f"{name}/dev.txt", scored.trials, scored.scores, form="kaldi")
    fails(monkeypatch, capsys, *arguments())


@pytest.mark.parametrize("kind", [True, False])
def test_one_class_only(files, monkeypatch, capsys, kind):
    for name in NAMES:
        edit(f"{name}/dev.txt", lambda t, s: (part_of(t, t.labels == kind), s[t.labels == kind]))
    fails(monkeypatch, capsys, *arguments())


def test_one_class_only_in_the_test_trials(files, monkeypatch, capsys):
    for name in NAMES:
        edit(f"{name}/test.txt", lambda t, s: (part_of(t, t.labels), s[t.labels]))
    fails(monkeypatch, capsys, *arguments())


def test_labels_that_contradict_each_other(files, monkeypatch, capsys):
    def flip(trials, scores):
        labels = trials.labels.copy()
        labels[:2] ^= True
        return TrialList(trials.ids, trials.enrol, trials.test, labels), scores

    edit("xvector/test.txt", flip)
    message = fails(monkeypatch, capsys, *arguments())
    assert "xvector/test.txt" in message and "ecapa/test.txt" in message


@pytest.mark.parametrize(
    'argv, where',
    [
        ([], ""),
        (["nowhere.yaml"], "nowhere.yaml"),
        (["ecapa/dev.txt", "--dev", "ecapa/dev.txt", "--test", "ecapa/test.txt"], ""),
        (["--dev", "ecapa/dev.txt"], "--test"),
        (["--dev", "ecapa/dev.txt", "--test", "ecapa/test.txt", "resnet/test.txt"], "--test"),
        (["ecapa/dev.txt", "ecapa/dev.txt"], "ecapa/dev.txt"),
        (["ecapa/dev.txt", "none.txt"], "none.txt"),
        (["ecapa/dev.txt", "resnet/dev.txt"], ""),
        (["ecapa/dev.txt", "--speaker_pattern", "^(x)"], ""),
        (["ecapa/dev.txt", "--speaker_pattern", "^(..)"], ""),
        (["ecapa/dev.txt", "--speakers", "test.csv"], ""),
        (["ecapa/dev.txt", "--speakers", "dev.csv", "--folds", "17"], ""),
        (["ecapa/dev.txt", "--prior", "1.5"], "'prior'"),
        (["ecapa/dev.txt", "--prior", "many"], "'prior'"),
        (["ecapa/dev.txt", "--folds", "2.5"], "'folds'"),
        (["ecapa/dev.txt", "--l2", "-1", "--speakers", "dev.csv"], "'l2'"),
        (["ecapa/dev.txt", "--c_miss", "0"], "'c_miss'"),
        (["ecapa/dev.txt", "--replicates", "3"], ""),
        (["ecapa/dev.txt", "--fusion", "logistics"], "'logistic'"),
        (["ecapa/dev.txt", "--priors", "0.1"], "'priors'"),
        (["--run_folder", "nowhere"], "nowhere"),
        (["ecapa/dev.txt", "--names", "best single (by development)"], "best single"),
        (["ecapa/dev.txt", "--trials", "ecapa/dev.txt"], "ecapa/dev.txt line 1"),
    ],
)  # fmt: skip
def test_bad_commands(files, monkeypatch, capsys, argv, where):
    assert where in fails(monkeypatch, capsys, *argv, "--output_folder", "out")
    assert not Path("out").exists()


def test_a_run_is_not_fused_into_its_own_folder(files, monkeypatch, capsys):
    make_run_folder(files)
    before = {str(path) for path in Path("run").rglob("*")}
    given = ("--run_folder", "run", "--replicates", "0", "--output_folder", "./run/")
    assert "run" in fails(monkeypatch, capsys, *given)
    assert {str(path) for path in Path("run").rglob("*")} <= before | {"run/.lock"}


def test_lists_in_differing_orders(files, monkeypatch, capsys):
    message = fails(
        monkeypatch, capsys, "--dev", "ecapa/dev.txt", "resnet/dev.txt",
        "--test", "resnet/test.txt", "ecapa/test.txt",
    )  # fmt: skip
    assert "ecapa, resnet" in message and "resnet, ecapa" in message


def test_from_the_shell_there_is_one_sentence_and_no_traceback(files):
    command = [sys.executable, str(ROOT / "fuse.py"), "missing.txt", "--speakers", "dev.csv"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 2 and made.stdout == ""
    assert "missing.txt" in made.stderr and "Traceback" not in made.stderr


def test_a_member_of_a_run_without_its_scores_is_named(files, monkeypatch, capsys):
    make_run_folder(files)
    Path("run/scores", NAMES[1], "test.txt").unlink()
    words = ["--run_folder", "run", "--replicates", "0", "--no-report", "--output_folder", "out"]
    message = fails(monkeypatch, capsys, *words)
    assert f"run/scores/{NAMES[1]}/test.txt" in message and "--names" in message
    assert not Path("out").exists()
    others = [NAMES[0], NAMES[2]]
    assert run(monkeypatch, *words, "--names", *others)["systems"] == others


def test_the_same_file_twice_however_it_is_spelt(files, monkeypatch, capsys):
    Path("link").symlink_to("ecapa")
    for twice in ("./ecapa", "resnet/../ecapa", "link"):
        for names in ((), ("--names", "a", "b")):
            words = arguments(*names, systems=["ecapa", twice])
            assert f"{twice}/dev.txt" in fails(monkeypatch, capsys, *words)
    assert not Path("out").exists()
    run(monkeypatch, *arguments("--no-report", systems=["ecapa", "resnet"]))
    words = ["--apply", "out/fusion_model.json", "--output_folder", "new", "--test"]
    message = fails(monkeypatch, capsys, *words, "ecapa/test.txt", "./ecapa/test.txt")
    assert "./ecapa/test.txt" in message and not Path("new").exists()


def test_files_that_only_their_suffixes_tell_apart(files, monkeypatch):
    for name, suffix in (("ecapa", "one"), ("resnet", "two")):
        for part in ("dev", "test"):
            shutil.copy(f"{name}/{part}.txt", f"{part}.{suffix}")
    results = run(
        monkeypatch, "--dev", "dev.one", "dev.two", "--test", "test.one", "test.two", "--no-report",
        "--replicates", "0", "--output_folder", "out", "--names", "one", "two",
    )  # fmt: skip
    assert results["systems"] == ["one", "two"]
    assert name_systems(["dev.one", "dev.two"]) == ["dev.one", "dev.two"]


@pytest.mark.parametrize("name", ["embedding concatenation, cosine", "logistic fusion"])
def test_a_member_cannot_be_called_as_a_fusion_is(files, monkeypatch, capsys, name):
    words = arguments("--names", name, "b", systems=NAMES[:2])
    assert f"'{name}'" in fails(monkeypatch, capsys, *words)
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["results.md", "report.html", "inputs.json", "curves.json"])
@pytest.mark.parametrize("key", ["dev", "test_trials", "speakers"])
def test_inputs_in_the_output_folder_are_not_overwritten(files, monkeypatch, capsys, name, key):
    Path("in").mkdir()
    inside = Path("in", name)
    lines = [f"{u.id} {u.spk_id}\n" for u in read_manifest("dev.csv")]
    Path("spoken").write_text("".join(lines))
    source = {"dev": "ecapa/dev.txt", "test_trials": "test_trials.txt", "speakers": "spoken"}[key]
    shutil.copy(source, inside)
    Path("out").symlink_to("in")
    words = arguments("--names", "a", "b", systems=NAMES[:2])
    if key == "dev":
        words[words.index("ecapa/dev.txt")] = str(inside)
    else:
        words += [f"--{key}", str(inside), *["test.csv"] * (key == "speakers")]
    monkeypatch.setattr(sys, "argv", ["fuse.py", *words])
    before = inside.read_text()
    with pytest.raises(UserError, match=str(inside)):
        fuse.main()
    assert inside.read_text() == before
    assert {path.name for path in Path("in").iterdir()} <= {name, ".lock"}


def test_a_page_of_results_that_are_no_longer_there_goes(files, monkeypatch):
    words = arguments(systems=NAMES[:2])
    run(monkeypatch, *words)
    page = Path("out/report.html")
    assert page.is_file()
    monkeypatch.setattr(sys, "argv", ["fuse.py", *words, "--no-report"])
    assert fuse.main() == 0
    assert page.is_file()  # it shows the same results
    shutil.copy("xvector/test.txt", "ecapa/test.txt")
    assert fuse.main() == 0
    assert not page.exists() and not Path("out/curves.json").exists()
    assert not list(Path("out/figures").glob("*.svg"))
    page.write_text("mine")
    Path("out/results.json").unlink()
    assert fuse.main() == 0
    assert page.read_text() == "mine"


@pytest.mark.parametrize("fusion", ["logistic", "mean_znorm", "best_single"])
@pytest.mark.parametrize("size", [1e300, 1e-300, 1e101, 1e-105])
def test_scores_too_large_or_too_close_to_compute_with(files, monkeypatch, capsys, size, fusion):
    for part in ("dev", "test"):
        edit(f"resnet/{part}.txt", lambda t, s: (t, s * size))
    message = fails(monkeypatch, capsys, *arguments("--fusion", fusion, systems=NAMES[:2]))
    assert "resnet/dev.txt" in message and "'resnet'" in message
    assert not Path("out").exists()


@pytest.mark.parametrize("size", [1e98, 1e-97])
def test_the_unit_of_scores_changes_nothing_up_to_the_limit(files, monkeypatch, size):
    words = arguments("--no-report", "--uncertainty", systems=NAMES[:2])
    before = run(monkeypatch, *words)
    for part in ("dev", "test"):
        edit(f"resnet/{part}.txt", lambda t, s: (t, s * size))
    after = run(monkeypatch, *words)
    for old, new in zip(before["table"], after["table"], strict=True):
        assert new["cllr"] == pytest.approx(old["cllr"], rel=1e-6)
        assert new["eer"] == pytest.approx(old["eer"])


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("uncertainty", ["--uncertainty", "--no-uncertainty"])
def test_an_applied_model_writes_finite_scores_only(
    files, monkeypatch, capsys, labelled, uncertainty
):
    run(monkeypatch, *arguments("--no-report", uncertainty, systems=NAMES[:2]))
    words = ["--apply", "out/fusion_model.json", "--output_folder", "new"]
    words += ["--test", "ecapa/test.txt", "resnet/test.txt"]
    form = "speechbrain" if labelled else "kaldi"
    trials, scores = read_scores("ecapa/test.txt").trials, scores_of("test")
    for name, row in zip(NAMES[:2], scores, strict=False):
        write_scores(f"{name}/test.txt", trials, row, form=form)
    run(monkeypatch, *words)
    before = Path("new/fused_test.txt").read_bytes()
    monkeypatch.setattr(sys, "argv", ["fuse.py", *words])
    write_scores("ecapa/test.txt", trials, np.append(scores[0][1:], 1.7e308), form=form)
    with pytest.raises(UserError, match=r"ecapa/test\.txt"):
        fuse.main()
    write_scores("ecapa/test.txt", trials, np.append(scores[0][1:], 1e99), form=form)
    model = json.loads(Path("out/fusion_model.json").read_text())
    model["fusion"]["weights"][0] = 1e300
    Path("out/fusion_model.json").write_text(json.dumps(model))
    with pytest.raises(UserError, match=r"out/fusion_model\.json"):
        fuse.main()
    assert Path("new/fused_test.txt").read_bytes() == before
