"""The study of students, doubt and groups: its runs, and its page from kept scores."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from acorl_sb import corpora
from acorl_sb.corpora.splits import make_trials
from acorl_sb.data.manifest import Utterance, write_manifest
from acorl_sb.data.trial_set import TrialSet, read_trial_set
from acorl_sb.data.trials import write_trials
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import build_encoder, load_member
from acorl_sb.scoring.backends.cosine import cosine_trial_scores
from acorl_sb.scoring.dropout_scores import dropout_on
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build, read_resolved, read_tree
from acorl_sb.utils.yaml_dump import dump
from tests import tiny

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "speechocean762"
sys.path.insert(0, str(RECIPE))

from students import pages, runs, systems, train_run  # noqa: E402

MEMBERS = {
    "pair": ["first", "second"],
    "dropout": ["dropout"],
    **{name: [name] for name in ("student", "half", "single", "balance_0.5", "balance_1")},
}


@pytest.fixture(scope="module")
def tree():
    path = RECIPE / "hparams" / "distil_study.yaml"
    found = read_resolved(path)
    found["members"] = read_tree((path.parent / found["base"]).resolve())["members"]
    return found


def test_every_run_once_a_seed_and_students_after_their_teachers(tree, tmp_path):
    jobs = runs.jobs(tree, tmp_path, tmp_path / "data", "cuda")
    assert len(jobs) == 5 * len(tree["runs"]) == len({job.folder for job in jobs})
    assert set(MEMBERS) < set(tree["runs"])
    by_name = {(job.folder.name, job.folder.parent.name): job for job in jobs}
    student, single = by_name["student", "seed3"], by_name["single", "seed3"]
    assert student.needs == (by_name["pair", "seed3"].folder,)
    assert [r["name"] for r in student.changes["references"]] == MEMBERS["pair"]
    # It starts as the single does, and nothing else of the single's depends on the run.
    assert student.changes["members"][0]["seed"] == single.changes["members"][0]["seed"] == 3007
    assert student.options[2:] == ("0", "cuda", "fp32") and "draws" not in single.changes
    half = by_name["single_bf16", "seed3"]
    assert half.options[3:] == ("cuda", "bf16") and "precision" not in half.changes
    assert half.changes["members"][0] | {"name": "single"} == single.changes["members"][0]
    assert half.noted == {"draws": 0, "precision": "bf16"} != single.noted


def test_encoders_are_of_the_sizes_that_the_page_speaks_of(tree):
    sizes = {}
    for name, run in tree["runs"].items():
        for member in run.get("members", []):
            encoder = build_encoder(member["encoder"], name)
            sizes[name] = sum(p.numel() for p in encoder.parameters())
            if member["objective"] is not None:
                built = build({"x": member["objective"]}, name)["x"]
                assert built(dim=128, reference_dims=[4, 4], n_classes=3).takes_unlabelled
            if name == "dropout":
                with dropout_on(encoder):
                    pass
    assert sizes["student"] == sizes["single"] == sizes["dropout"] == sizes["balance_1"]
    assert 0.4 < sizes["half"] / sizes["student"] < 0.52


def test_teachers_that_stand_below_are_named(tree, tmp_path):
    wrong = {**tree, "runs": {"student": tree["runs"]["student"], "pair": {}}}
    with pytest.raises(UserError, match="pair"):
        runs.jobs(wrong, tmp_path, tmp_path, "cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Kept scores of two seeds, on trials of 16 speakers a part; the student is the best."""
    monkeypatch.setattr(systems, "REPLICATES", 40)
    monkeypatch.setattr("students.by_group.REPLICATES", 40)
    sides = {}
    for part in runs.PARTS:
        spoken = [
            Utterance(f"{part}{s}-{i}", 1.0, "x.wav", 0, 16000, f"{part}{s}", "", "fm"[s % 2],
                      {"age": "9" if s < 7 else "15" if s < 9 else "30"})
            for s in range(16)
            for i in range(4)
        ]  # fmt: skip
        trials = make_trials(spoken, 0, 90, 4.0)
        write_manifest(tmp_path / "manifest" / f"{part}.csv", spoken)
        write_trials(tmp_path / "manifest" / f"{part}_trials.txt", trials)
        sides[part] = TrialSet.of(spoken, trials)
    for seed in (1, 2):
        for n, (run, members) in enumerate(MEMBERS.items()):
            kept = {}
            rng = np.random.default_rng((seed, n))
            for name in members:
                kept[f"{name}/cost"] = np.array([1e6, 5.0])
                for part, side in sides.items():
                    labels = side.trials.labels
                    apart = 3.0 if name == "student" else 1.5
                    kept[f"{name}/{part}"] = rng.normal(size=len(labels)) + apart * labels
            if run == "dropout":
                kept["std/test"] = rng.random(len(sides["test"].trials.labels))
            path = runs.score_file(tmp_path, run, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **kept)
    return tmp_path


def test_the_page_has_all_tables_and_the_better_student(tree, folder):
    page, (picture,) = pages.make(folder, {**tree, "seeds": [1, 2, 3]})
    assert page.startswith("Seeds 1, 2;")  # the third is not finished
    cells = [[c.strip() for c in row.split("|")[1:-1]] for row in page.splitlines() if "|" in row]
    against = {row[0]: row[5] for row in cells if len(row) == 8}
    assert against["student"].startswith("-") and float(against["student"].split()[0]) < -30
    assert against["single"] == ""
    groups = [row[0] for row in cells if len(row) == 9]
    assert groups.count("below 13") == 2 and groups.count("f") == 2
    assert "13 to 18" not in groups  # two speakers are too few
    assert [row[:2] for row in cells if len(row) == 10][2:8] == [
        [means, strength]
        for means in ("balanced sampling", "calibration by age")
        for strength in ("0", "0.5", "1")
    ]
    assert picture.svg.count("GARBE") >= 2 and "EER of all trials" in picture.svg


def test_a_page_of_some_runs(tree, folder):
    some = {name: tree["runs"][name] for name in ("pair", "student")}
    page, pictures = pages.make(folder, {**tree, "runs": some, "seeds": [1, 2]})
    assert not pictures and "| student |" in page and "| single |" not in page


def test_one_trial_in_ten_is_left_out_the_most_doubtful():
    doubt = np.random.default_rng(0).random(200)
    inside = pages.answered(doubt)
    assert inside.sum() == 180 and doubt[~inside].min() > doubt[inside].max()


def test_the_same_seeds_are_drawn_for_all_systems():
    values = np.random.default_rng(0).random((5, 101))
    assert systems.over_seeds(values + 1)[1:] == pytest.approx(systems.over_seeds(values)[1:] + 1)
    assert systems.over_seeds(values)[0] == values[:, 0].mean()
    constant = np.repeat(np.arange(5.0)[:, None], 101, 1)
    assert systems.over_seeds(constant)[1:].std() > 0.3  # seeds differ, so draws of them do


def test_scores_of_other_trials_are_refused(tree, folder):
    path = runs.score_file(folder, "single", 1)
    kept = dict(np.load(path))
    kept["single/dev"] = kept["single/dev"][1:]
    np.savez(path, **kept)
    with pytest.raises(UserError, match="single"):
        systems.Systems(folder, {**tree, "seeds": [1]})
    with pytest.raises(UserError, match="seed"):
        systems.Systems(folder, {**tree, "seeds": [9]})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_trains_its_members_and_keeps_their_scores(precision, tmp_path, monkeypatch):
    tiny.hums(tmp_path / "data")
    manifest, out, folder = tmp_path / "manifest", tmp_path / "kept.npz", tmp_path / "run"
    splits = corpora.prepare("folder", tmp_path / "data", manifest, dev_speakers=2, test_speakers=2)
    job = {"inherit": str(RECIPE.parents[1] / "hparams" / "acorl_scratch.yaml"), "augment": None}
    job |= {"output_folder": str(folder), "corpus": "folder", "data_folder": str(tmp_path / "data")}
    job |= {"channels": 8, "embedding_dim": 12, "batch_size": 4, "epochs": 1, "epoch_steps": 2}
    job |= {"crop_seconds": 0.4, "dev_seconds": 0.4, "score_seconds": 0.4}
    (tmp_path / "job.yaml").write_text(dump(job))
    words = [tmp_path / "job.yaml", manifest, out, 0, "cpu", precision]
    monkeypatch.setattr(sys, "argv", ["train_run.py", *map(str, words)])
    products = set()  # what convolutions and linear maps of the training are computed in
    linear = torch.nn.functional.linear

    def watched(x, *others):
        y = linear(x, *others)
        if y.requires_grad:
            products.add(y.dtype)
        return y

    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    assert train_run.main() == 0
    assert (torch.bfloat16 in products) == (precision == "bf16")
    kept = dict(np.load(out))
    test = read_trial_set(corpora.read_manifest(splits.test), splits.test_trials)
    encoder = load_member(folder / "members" / "second")
    z = embed_utterances(encoder, test.utterances, 0.4).numpy()
    assert kept["second/test"] == pytest.approx(cosine_trial_scores(test, z), abs=1e-5)
    assert kept["first/dev"].shape == kept["second/dev"].shape
    assert kept["second/cost"][0] == sum(p.numel() for p in encoder.parameters())
    assert (folder / "results.json").is_file()
