"""``acorl score``: from embeddings, encoders and runs to scores, table and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from acorl_sb import metrics
from acorl_sb.cli import score
from acorl_sb.data.embeddings import Embeddings, read_embeddings, write_embeddings
from acorl_sb.data.manifest import write_manifest
from acorl_sb.data.scorefiles import read_scores
from acorl_sb.data.trials import TrialList, read_trials, write_trials
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import load_member
from acorl_sb.metrics import bootstrap
from acorl_sb.metrics.intervals import interval
from acorl_sb.scoring.backends.cosine import cosine_scores
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json
from tests.analysis import runs

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
D = 10


def run(yaml, device="cpu", **options):
    arguments = [str(HPARAMS / yaml), "--device", str(device)]
    for key, value in options.items():
        arguments += [f"--{key}", str(value)]
    return score.main(arguments)


def refused(where, yaml="score.yaml", **options):
    with pytest.raises(UserError, match=where):
        run(yaml, **options)


@pytest.fixture
def data(tmp_path):
    """Two systems' embeddings of 12 test and 40 training speakers, all trials of the test."""
    rng = np.random.default_rng(0)

    def embed(path, prefix, speakers, each, noise):
        y = rng.normal(size=(speakers, D))
        vectors = np.repeat(y, each, 0) + noise * rng.normal(size=(speakers * each, D))
        ids = [f"{prefix}{k:02d}-{u}" for k in range(speakers) for u in range(each)]
        write_embeddings(tmp_path / path, Embeddings(ids, vectors.astype(np.float32)))
        (tmp_path / f"{prefix}.utt2spk").write_text("".join(f"{i} {i[:3]}\n" for i in ids))
        return ids

    for name, noise in (("a", 0.6), ("b", 1.0)):
        ids = embed(f"{name}.npz", "t", 12, 4, noise)
        embed(f"{name}_train", "r", 40, 6, noise)
    a, b = np.triu_indices(len(ids), 1)
    write_trials(tmp_path / "trials.txt", TrialList(ids, a, b, a // 4 == b // 4))
    return tmp_path


def common(data, systems=("a", "b")):
    return {
        "systems": {name: f"{data}/{name}.npz" for name in systems},
        "trials": data / "trials.txt",
        "output_folder": data / "out",
        "replicates": 60,
    }


def training(data, systems=("a", "b")):
    return {
        "training": {name: f"{data}/{name}_train" for name in systems},
        "training_speakers": data / "r.utt2spk",
    }


def test_scores_table_and_json_are_of_the_scores(data, capsys):
    assert run("score.yaml", **common(data), speakers=data / "t.utt2spk") == 0
    out, trials = data / "out", read_trials(data / "trials.txt")
    results = json.loads((out / "results.json").read_text())
    assert [row["system"] for row in results["systems"]] == ["a", "b"]
    assert results["trials"]["speakers"] == 12
    assert results["cost_points"][1] == {"p_target": 0.05, "c_miss": 1.0, "c_fa": 1.0}
    replicates = []
    for name, row in zip("ab", results["systems"], strict=True):
        made = read_embeddings(data / f"{name}.npz")
        rows = made.index(trials.ids)
        expected = cosine_scores(made.vectors, rows[trials.enrol], rows[trials.test])
        found = read_scores(out / "scores" / name / "cosine-none.txt")
        assert found.scores == pytest.approx(expected, abs=1e-6)
        assert (found.trials.labels == trials.labels).all()
        figures = metrics.evaluate(found.scores, trials.labels)
        assert row["eer"] == figures["eer"]
        assert row["min_dcf"] == {str(p): v for p, v in figures["min_dcf"].items()}
        speaker = np.array([name[:3] for name in trials.ids])
        sides = speaker[trials.enrol], speaker[trials.test]
        (eer,) = bootstrap.speaker_bootstrap(found.scores, trials.labels, *sides, replicates=60)[
            "eer"
        ]
        replicates.append(eer)
        assert row["intervals"]["eer"] == pytest.approx(interval(eer))
    against = results["systems"][1]["against_first"]["eer"]
    assert against["interval"] == pytest.approx(interval(replicates[1] - replicates[0]))
    table = (out / "results.md").read_text()
    assert table in capsys.readouterr().out
    assert f"| a | cosine | none | {100 * results['systems'][0]['eer']:.2f} [" in table
    assert "C_miss = 1, C_fa = 1, normalised by min(p C_miss, (1 - p) C_fa)" in table
    assert "60 bootstrap draws of speakers" in table
    assert (out / "hyperparams.yaml").is_file()


def test_back_ends_and_normalisations_of_the_yaml(data, device):
    options = common(data) | training(data) | {"concatenate": True}
    assert run("score_plda.yaml", device, **options, speakers=data / "t.utt2spk") == 0
    rows = json.loads((data / "out/results.json").read_text())["systems"]
    names = [(row["system"], row["backend"], row["normalisation"]) for row in rows]
    systems = ["a", "b", "concatenation"]
    assert names == [
        (s, b, n) for s in systems for b in ("cosine", "plda") for n in ("none", "as-norm")
    ]
    for row in rows:
        assert (
            ("cllr" in row)
            == row["llr"]
            == (row["backend"] == "plda" and row["normalisation"] == "none")
        )
    by_name = dict(zip(names, rows, strict=True))
    both, best = by_name["concatenation", "plda", "none"], by_name["a", "plda", "none"]
    assert both["eer"] <= best["eer"] < by_name["b", "plda", "none"]["eer"]
    table = (data / "out/results.md").read_text().splitlines()
    plda = next(line for line in table if line.startswith("| a | plda | none |"))
    assert plda.count("[") == 7  # EER, its change, two minDCFs, two actDCFs, Cllr
    # The saved back end gives the scores again.
    loaded = PLDA.load(data / "out/backends/a/plda.safetensors")
    made = read_embeddings(data / "a.npz")
    scored = read_scores(data / "out/scores/a/plda-none.txt")
    prepared = loaded.prepare(made.vectors)
    matrix = loaded.sides(prepared, prepared).matrix(torch.arange(len(made.ids))).numpy()
    rows = made.index(scored.trials.ids)
    expected = matrix[rows[scored.trials.enrol], rows[scored.trials.test]]
    assert scored.scores == pytest.approx(expected, abs=1e-8)


def test_models_of_several_utterances(data):
    ids = read_trials(data / "trials.txt").ids
    speakers = sorted({name[:3] for name in ids})
    with open(data / "enrol.txt", "w") as file:
        file.writelines(f"model-{s} {s}-0 {s}-1 {s}-2\n" for s in speakers)
    with open(data / "trials.txt", "w") as file:
        file.writelines(f"{int(s == t)} model-{s} {t}-3\n" for s in speakers for t in speakers)
    options = common(data) | training(data) | {"enrolment": data / "enrol.txt", "top_k": 20}
    assert run("score_plda.yaml", **options, speakers=data / "t.utt2spk") == 0
    rows = json.loads((data / "out/results.json").read_text())["systems"]
    assert len(rows) == 8 and all("eer" in row["intervals"] for row in rows)


def test_trials_without_labels_are_scored_alone(data):
    pairs = read_trials(data / "trials.txt")
    (data / "trials.txt").write_text("".join(pairs.name(k) + "\n" for k in range(9)))
    assert run("score.yaml", **common(data)) == 0
    found = read_scores(data / "out/scores/a/cosine-none.txt")
    assert found.trials.labels is None and len(found.scores) == 9
    assert not (data / "out/results.json").exists()


def test_a_refused_run_leaves_finished_results_as_they_were(data):
    assert run("score_plda.yaml", **common(data), **training(data), top_k=9) == 0
    out = data / "out"

    def files():
        found = [p for p in out.rglob("*") if p.is_file() and p.name != "score_log.txt"]
        return {path: path.read_bytes() for path in found}

    before = files()
    made = read_embeddings(data / "b.npz")
    write_embeddings(data / "b.npz", Embeddings(made.ids[1:], made.vectors[1:]))  # read as second
    changed = {**common(data), **training(data), "top_k": 8}
    refused(made.ids[0], "score_plda.yaml", **changed)
    targets = [line for line in (data / "trials.txt").read_text().splitlines() if line[0] == "1"]
    (data / "trials.txt").write_text("\n".join(targets) + "\n")
    refused(None, "score_plda.yaml", **{**common(data, "a"), **training(data, "a"), "top_k": 8})
    assert files() == before
    (data / "fused").mkdir()
    (data / "fused" / "inputs.json").write_text("{}")
    refused("fused", **{**common(data, "a"), "output_folder": data / "fused"})


def test_no_intervals_where_no_speakers_are_known(data):
    assert run("score.yaml", **common(data, "a")) == 0
    results = json.loads((data / "out/results.json").read_text())
    assert results["systems"][0]["intervals"] == {}
    assert "the speakers are not known" in (data / "out/results.md").read_text()
    assert run("score.yaml", **common(data, "a"), speaker_pattern=r"^t\d\d") == 0
    results = json.loads((data / "out/results.json").read_text())
    assert "eer" in results["systems"][0]["intervals"]


def test_training_on_test_speakers_is_refused(data):
    listing = (data / "r.utt2spk").read_text().replace(" r00", " t00")
    (data / "r.utt2spk").write_text(listing)
    options = common(data, "a") | training(data, "a") | {"speakers": data / "t.utt2spk", "top_k": 9}
    refused("'t00'", "score_plda.yaml", **options)
    assert not (data / "out").exists()
    assert run("score_plda.yaml", **options, allow_test_speakers=True) == 0


def test_utterances_of_the_trials_in_the_cohort_are_refused_though_no_speakers_are_known(data):
    options = common(data, "a") | {"training": f"{{a: {data}/a.npz}}"}
    snorm = "{s: !new:acorl_sb.scoring.normalise.SNorm {}}"
    refused("cohort.*t00-0", **options, normalisations=snorm)
    assert not (data / "out/results.json").exists()
    assert run("score.yaml", **options, normalisations=snorm, allow_test_speakers=True) == 0
    made = read_embeddings(data / "a.npz")
    noise = 1e-5 * np.random.default_rng(0).normal(size=made.vectors.shape).astype(np.float32)
    write_embeddings(data / "again.npz", Embeddings(made.ids, made.vectors + noise))
    again = {**options, "training": f"{{a: {data}/again.npz}}"}  # as embedded on another device
    refused("t00-0", **again, normalisations=snorm)
    # Other recordings under these names are none of them.
    write_embeddings(data / "other.npz", Embeddings(made.ids, made.vectors[::-1]))
    options["training"] = f"{{a: {data}/other.npz}}"
    assert run("score.yaml", **options, normalisations=snorm) == 0


def test_a_model_of_several_speakers_is_refused(data):
    (data / "enrol.txt").write_text("m t00-0 t01-1\nn t02-0\n")
    (data / "trials.txt").write_text("1 m t00-3\n0 m t02-3\n1 n t02-3\n0 n t03-3\n")
    options = common(data, "a") | {"enrolment": data / "enrol.txt"}
    refused("'m'", **options, speakers=data / "t.utt2spk")
    refused("'m'", **options, speaker_pattern=r"^t\d\d")
    (data / "enrol.txt").write_text("m t00-0 t00-1\nn t02-0\n")
    listed = (data / "t.utt2spk").read_text().replace("t00-1 t00\n", "")  # one of them will do
    (data / "t.utt2spk").write_text(listed)
    assert run("score.yaml", **options, speakers=data / "t.utt2spk") == 0
    (data / "t.utt2spk").write_text(listed.replace("t00-0 t00\n", ""))
    refused("t00-0", **options, speakers=data / "t.utt2spk")


def test_what_is_wrong_is_said_in_one_sentence(data):
    good = common(data, "a")
    plda = {**good, **training(data, "a")}
    refused("'sytems'", **{**good, "sytems": 1})
    refused("systems", **{**good, "systems": "{}"})
    refused("'systems'", **{**good, "systems": "x"})
    refused("trials", **{**good, "trials": "null"})
    refused("nowhere", **{**good, "systems": "{a: nowhere}"})
    refused("a/b", **{**good, "systems": "{a/b: x}"})
    refused("'Y'", **good, protocol="Y")
    refused(r"VoxCeleb1-O", **good, protocol="VoxCeleb1-O")
    refused(r"'points\[0\]'", **good, points="[1.5]")
    refused("'replicates'", **{**good, "replicates": -1})
    refused("replicates", **{**good, "replicates": 1})
    refused("'level'", **good, level=95)
    refused(None, **good, speaker_pattern="^t")
    refused("'a'", "score_plda.yaml", **good)
    refused("top_k", "score_plda.yaml", **plda, top_k=300)
    refused("'top_k'", "score_plda.yaml", **plda, top_k=1)
    del plda["training_speakers"]
    unknown = {**plda, "output_folder": data / "unknown"}
    refused("training_speakers", "score_plda.yaml", **unknown, top_k=5)
    assert not (data / "unknown").exists()
    (data / "trials.txt").write_text("1 t00-0 t00-1\n1 t00-0 nobody\n")
    refused("'nobody'", **good)
    (data / "trials.txt").write_text("1 t00-0 t00-1\n")
    refused(None, **good)


def test_an_encoders_folder_is_a_system(tmp_path):
    speech = runs.utterances(tmp_path / "speech", speakers=4, each=3)
    folder = runs.finished(tmp_path / "run", speech, {"one": 1})
    encoder = folder / "members" / "one"
    trials = read_trials(folder / "manifest/test_trials.txt")
    options = {
        "systems": f"{{one: {encoder}}}",
        "trials": folder / "manifest/test_trials.txt",
        "output_folder": tmp_path / "out",
        "replicates": 0,
    }
    refused("manifest", **options)
    options["manifest"] = folder / "manifest/test.csv"
    assert run("score.yaml", **options, seconds=0.5) == 0
    vectors = embed_utterances(load_member(encoder), speech, 0.5).numpy()
    rows = Embeddings([u.id for u in speech], vectors).index(trials.ids)
    expected = cosine_scores(vectors, rows[trials.enrol], rows[trials.test])
    found = read_scores(tmp_path / "out/scores/one/cosine-none.txt").scores
    assert found == pytest.approx(expected, abs=1e-5)
    kept = read_embeddings(tmp_path / "out/embeddings/one/trials")
    assert sorted(kept.ids) == sorted(trials.ids)
    # The encoder says whom it was trained on; here two of the speakers of the trials.
    end = f"{CategoricalEncoder.EXTRAS_SEPARATOR}'starting_index' => 0\n"
    (encoder / "label_encoder.ckpt").write_text(f"'s1' => 0\n's3' => 1\n{end}")
    refused("'s1', 's3'", **options, speakers=options["manifest"])
    # A voice at another speed is that speaker's.
    (encoder / "label_encoder.ckpt").write_text(f"'s1 x0.9' => 0\n'else' => 1\n{end}")
    refused("'s1'", **options, speakers=options["manifest"])


def test_a_run_of_train_py_is_scored_with_its_own_training_set(tmp_path):
    speech = runs.utterances(tmp_path / "speech", speakers=14, each=3, seconds=0.2)
    test, train = speech[:12], speech[12:]
    folder = runs.finished(tmp_path / "run", test, {"one": 1, "two": 2})
    write_manifest(folder / "manifest/train.csv", train)
    write_json(folder / "results.json", {"score_seconds": None})
    options = {"run_folder": folder, "output_folder": tmp_path / "out", "replicates": 0}
    plda = "{lda: !new:acorl_sb.scoring.backends.plda.PLDA {lda_dim: 6, enrolment: average}}"
    assert run("score_plda.yaml", **options, backends=plda, concatenate=True) == 0
    rows = json.loads((tmp_path / "out/results.json").read_text())["systems"]
    assert [row["system"] for row in rows[::2]] == ["one", "two", "concatenation"]
    kept = read_embeddings(tmp_path / "out/embeddings/two/training")
    assert kept.ids == [u.id for u in train]
    # A training set that is given is used, not the run's.
    mine = {name: f"{tmp_path}/{name}.npz" for name in ("one", "two")}
    for path in mine.values():
        vectors = np.random.default_rng(0).normal(size=(200, kept.vectors.shape[1]))
        ids = [f"mine{k}" for k in range(200)]
        write_embeddings(path, Embeddings(ids, vectors.astype(np.float32)))
    (tmp_path / "mine.utt2spk").write_text("".join(f"mine{k} other{k % 9}\n" for k in range(200)))
    given = {"training": mine, "training_speakers": tmp_path / "mine.utt2spk"}
    options["output_folder"] = tmp_path / "mine"
    assert run("score_plda.yaml", **options, **given, backends=plda, top_k=2) == 0
    assert not (tmp_path / "mine/embeddings/two/training").exists()
    refused(tmp_path.name, "score_plda.yaml", **{**options, "run_folder": tmp_path})
