"""Encoders that exist on trials that exist, from audio to the page, as one command."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from acorl_sb import metrics
from acorl_sb.cli.evaluate import main
from acorl_sb.data.manifest import write_manifest
from acorl_sb.data.scorefiles import read_scores
from acorl_sb.encoders.named import load_named
from acorl_sb.fusion import embed_once
from acorl_sb.utils.errors import UserError
from tests import folders, tiny
from tests.commands import checksums

QUICK = ["--device", "cpu"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Speech of 15 voices in folders, two encoders as SpeechBrain publishes them, trial lists."""
    root = tmp_path_factory.mktemp("world")
    speech = tiny.hums(root / "speech", speakers=15, each=3, seconds=0.3)
    for kind in ("ecapa", "xvector"):
        folders.published(root / kind, kind)
    names = [f"s{s}/u{u}" for s in range(15) for u in range(3)]
    lines = {
        part: [
            f"{int(a[:-3] == b[:-3])} {a} {b}"
            for i, a in enumerate(names) if int(a[1:-3]) in speakers
            for b in names[:i] if int(b[1:-3]) in speakers
        ]
        for part, speakers in (("test", range(6)), ("dev", range(6, 12)))
    }  # fmt: skip
    for part, text in lines.items():
        (root / f"{part}.txt").write_text("\n".join(text) + "\n")
    (root / "utt2spk").write_text("".join(f"{name} {name[:-3]}\n" for name in names))
    write_manifest(root / "cohort.csv", [u for u in speech if int(u.spk_id[1:]) > 11])
    return root


def evaluate(world, out, *args):
    encoders = [world / "ecapa", world / "xvector"]
    common = [] if "--trials" in args else ["--trials", world / "test.txt"]
    common += [] if "--audio" in args else ["--audio", world / "speech"]
    draws = [] if "--replicates" in args else ["--replicates", "60"]
    words = [*encoders, *common, *QUICK, *draws, "--output_folder", out, *args]
    assert main([str(word) for word in words]) == 0
    return json.loads((Path(out) / "results.json").read_text())


def cosines(world, encoder, ids):
    """Embeddings of unit length, straight from the waves."""
    import soundfile

    network = load_named(str(world / encoder))
    with torch.no_grad():
        rows = [
            network(
                torch.from_numpy(soundfile.read(world / "speech" / f"{i}.wav", dtype="float32")[0])[
                    None
                ]
            )
            for i in ids
        ]
    z = torch.cat(rows).numpy()
    return z / np.linalg.norm(z, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "made"
    return out, evaluate(world, out, "--dev_trials", world / "dev.txt")


def test_scores_are_cosines_of_the_encoders_own_embeddings(world, made):
    out, _ = made
    for encoder in ("ecapa", "xvector"):
        for part in ("dev", "test"):
            file = read_scores(out / "scores" / encoder / f"{part}.txt")
            z = cosines(world, encoder, file.trials.ids)
            wanted = (z[file.trials.enrol] * z[file.trials.test]).sum(1)
            np.testing.assert_allclose(file.scores, wanted, atol=1e-5)


def test_it_ends_with_a_calibrated_system_and_its_page(made):
    out, results = made
    assert results["protocol"]["kind"] == "dev_test"
    assert results["protocol"]["parts"]["test"]["speakers"] == 6
    assert results["protocol"]["shared_speakers"] == 0
    names = [row["name"] for row in results["table"]]
    assert names[:2] == ["ecapa", "xvector"] and "logistic fusion" in names
    page = (out / "report.html").read_text()
    assert 'id="figure-det"' in page and all(f">{name}<" in page for name in names)
    assert (out / "fused_test.txt").is_file() and (out / "fusion_model.json").is_file()
    llrs = read_scores(out / "fused_test.txt")
    labels = llrs.trials.labels
    bits = [
        np.logaddexp(0, -llrs.scores[labels]).mean(),
        np.logaddexp(0, llrs.scores[~labels]).mean(),
    ]
    (fused,) = [row for row in results["table"] if row["name"] == results["fused_name"]]
    assert fused["cllr"] == pytest.approx(np.mean(bits) / np.log(2), abs=1e-4)


def test_without_development_trials_speakers_are_cross_validated_and_the_cohort_normalises(
    world, tmp_path
):
    results = evaluate(
        world, tmp_path, "--cohort", world / "cohort.csv", "--top_k", 3, "--folds", 3, "--no-report"
    )
    assert results["protocol"]["kind"] == "cross_validation"
    file = read_scores(tmp_path / "scores" / "ecapa" / "scores.txt")
    z = cosines(world, "ecapa", file.trials.ids)
    members = [f"s{s}/u{u}" for s in range(12, 15) for u in range(3)]
    cohort = cosines(world, "ecapa", members).reshape(3, 3, -1).mean(1)
    cohort /= np.linalg.norm(cohort, axis=1, keepdims=True)
    mean, std = (z @ cohort.T).mean(1), (z @ cohort.T).std(1, ddof=1)
    raw = (z[file.trials.enrol] * z[file.trials.test]).sum(1)
    sides = [(raw - mean[side]) / std[side] for side in (file.trials.enrol, file.trials.test)]
    np.testing.assert_allclose(file.scores, np.mean(sides, 0), rtol=1e-3, atol=1e-2)


def test_calibration_that_does_not_carry_over_is_warned_of(world, tmp_path, capsys):
    """Calibrated where a target trial is the same recording twice, no other one sounds like it."""
    names = [f"s{s}/u{u}" for s in range(6, 12) for u in range(3)]
    pairs = [f"1 {name} {name}" for name in names]
    pairs += [f"0 {a} {b}" for a, b in zip(names, names[3:], strict=False)]
    (tmp_path / "dev.txt").write_text("\n".join(pairs) + "\n")
    out = tmp_path / "out"
    results = evaluate(world, out, "--dev_trials", tmp_path / "dev.txt")
    rows = {row["name"]: row for row in results["table"]}
    assert all(rows[name]["cllr"] > 1 for name in ("ecapa", "xvector"))
    (warning,) = [said for said in results["warnings"] if "Cllr" in said]
    assert "ecapa (" in warning and "xvector (" in warning
    assert warning in (out / "report.html").read_text()
    assert warning in (out / "evaluate_log.txt").read_text() and warning in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"encoders": "nowhere"}, "nowhere"),
        ({"encoders": "a/b/c"}, "a/b/c"),
        ({"encoders": "test.txt"}, "test.txt"),
        ({"encoders": "ecapa ecapa"}, "ecapa"),
        ({"names": "one two"}, "names"),
        ({"trials": "nowhere.txt"}, "nowhere.txt"),
        ({"audio": "nowhere"}, "nowhere"),
        ({"audio": "cohort.csv"}, "test.txt"),
        ({"audio": None}, "test.txt"),
        ({"dev_trials": "cohort.csv"}, "cohort.csv"),
        ({"cohort": "ecapa"}, "ecapa"),
        ({"cohort": "speech"}, "cohort"),
        ({"cohort": "speech", "speaker_pattern": "s[0-9]+"}, "cohort"),
        ({"cohort": "speech", "speakers": "utt2spk"}, "cohort"),
        ({"cohort": "cohort.csv", "top_k": "4"}, "cohort.csv"),  # it has 3 speakers
        ({"folds": "9"}, "9"),
        ({"quality": "duration"}, "duration"),
        ({"quality": "uncertainty"}, "uncertainty"),
    ],
)
def test_what_does_not_fit_is_refused(world, tmp_path, monkeypatch, change, named):
    monkeypatch.chdir(world)
    keys = {"encoders": "ecapa", "trials": "test.txt", "audio": "speech", "device": "cpu", **change}
    words = [w for k, v in keys.items() if v for w in (f"--{k}", *v.split())]
    before = checksums(world)
    with pytest.raises(UserError, match=named):
        main([*words, "--output_folder", str(tmp_path / "out")])
    assert checksums(world) == before
    assert not (tmp_path / "out" / "embeddings").exists()


@pytest.fixture(scope="module")
def table(world, tmp_path_factory):
    """The test trials' audio as a table with gender, accent, and a column of the utterances."""
    lines = ["id,wav,speaker,gender,accent,place"]
    for s, u in itertools.product(range(12), range(3)):
        lines.append(f"s{s}/u{u},{world}/speech/s{s}/u{u}.wav,s{s},{'fm'[s > 4]},north,room{u}")
    path = tmp_path_factory.mktemp("table") / "audio.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_errors_by_group_are_those_of_the_groups_own_fused_trials(world, table, tmp_path):
    accents = tmp_path / "region.csv"
    accents.write_text("speaker,region\n" + "".join(f"s{s},r{s // 5}\n" for s in range(6)))
    words = ["--groups", "gender,region", "--attributes", accents, "--audio", table]
    results = evaluate(world, tmp_path / "out", "--dev_trials", world / "dev.txt", *words)
    file = read_scores(tmp_path / "out" / "fused_test.txt")
    dev = read_scores(tmp_path / "out" / "fused_dev.txt")
    found = results["groups"]
    threshold = metrics.eer_threshold(dev.scores, dev.trials.known_labels)
    assert found["threshold"] == pytest.approx(threshold, abs=1e-4)
    rows = {row["group"]: row for row in found["attributes"]["gender"]["groups"]}
    female = {i for i, name in enumerate(file.trials.ids) if name[:3] != "s5/"}
    inside = [
        a in female and b in female
        for a, b in zip(file.trials.enrol, file.trials.test, strict=True)
    ]
    own, labels = file.scores[inside], file.trials.known_labels[inside]
    assert rows["f"]["figures"]["eer"] == pytest.approx(metrics.eer(own, labels))
    assert rows["f"]["target"] == labels.sum() and rows["f"]["speakers"] == 5
    assert rows["m"]["figures"] is None and rows["m"]["speakers"] == 1  # too small
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'id="groups-gender"' in page and 'id="groups-region"' in page
    assert "## By region" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--groups", "weight"], "weight"),
        (["--groups", "place"], "place"),
        (["--groups", ","], "groups"),
        (["--attributes", "a.csv"], "attributes"),
        (["--groups", "gender", "--attributes", "a.csv"], "a.csv"),
        (["--groups", "gender", "--speaker_pattern", "u."], "s0/u1"),
    ],
)
def test_groups_that_cannot_be_made_are_told_of_first(world, table, tmp_path, words, named):
    with pytest.raises(UserError, match=named):
        evaluate(world, tmp_path / "out", *words, "--audio", table, "--folds", 3)
    assert not (tmp_path / "out").exists()


def test_a_list_may_name_files_and_one_that_is_not_labelled_is_only_scored(world, tmp_path):
    bare = [f"{a} {b}" for _, a, b in map(str.split, (world / "test.txt").read_text().splitlines())]
    named = [f"{world}/speech/{side}.wav" for line in bare[:9] for side in line.split()]
    trials = tmp_path / "paths.txt"
    trials.write_text("".join(f"{a} {b}\n" for a, b in zip(named[::2], named[1::2], strict=True)))
    words = [world / "ecapa", "--trials", trials, "--dev_trials", world / "dev.txt"]
    words += ["--dev_audio", world / "speech", *QUICK, "--output_folder", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    assert len(read_scores(tmp_path / "out" / "fused_test.txt").scores) == 9
    assert not (tmp_path / "out" / "report.html").exists()


def test_an_evaluation_goes_on_after_what_is_finished(world, tmp_path, monkeypatch):
    asked = []

    def embed(encoder, utterances, *args, **options):
        asked.append(encoder.embedding_model.__class__.__name__)
        return made(encoder, utterances, *args, **options)

    made = embed_once.embed_utterances
    monkeypatch.setattr(embed_once, "embed_utterances", embed)
    args = ["--dev_trials", world / "dev.txt", "--replicates", "0", "--no-report"]
    before = tmp_path / "before"
    evaluate(world, before, *args)
    tmp_path = before.rename(tmp_path / "moved")  # which is no other evaluation
    first = read_scores(tmp_path / "scores" / "xvector" / "dev.txt").scores
    assert asked == ["FrameMajorECAPA", "FrameMajorECAPA", "Xvector", "Xvector"]
    vectors = tmp_path / "embeddings" / "xvector" / "dev"
    (vectors / embed_once.RECORD).unlink()  # as if it had been stopped here
    evaluate(world, tmp_path, *args)
    assert asked[4:] == ["Xvector"]
    again = read_scores(tmp_path / "scores" / "xvector" / "dev.txt").scores
    np.testing.assert_allclose(again, first, atol=1e-5)
    (world / "speech" / "s6" / "u0.wav").touch()  # of the development trials
    evaluate(world, tmp_path, *args)
    assert asked[5:] == ["FrameMajorECAPA", "Xvector"]


def test_the_folder_keeps_results_of_other_encoders(world, made):
    out, _ = made
    before = checksums(out)
    with pytest.raises(UserError, match="output_folder"):
        evaluate(world, out, "--seconds", "0.2", "--dev_trials", world / "dev.txt")
    assert checksums(out) == before


def test_a_data_folder_of_kaldis_tells_audio_and_speakers(world, tmp_path):
    names = sorted(
        {name for line in (world / "test.txt").read_text().split("\n") for name in line.split()[1:]}
    )
    short = {name: f"u{n}" for n, name in enumerate(names)}
    kaldi = tmp_path / "kaldi"
    kaldi.mkdir()
    (kaldi / "wav.scp").write_text(
        "".join(f"{u} {world}/speech/{n}.wav\n" for n, u in short.items())
    )
    (kaldi / "utt2spk").write_text("".join(f"{u} {n[:2]}\n" for n, u in short.items()))
    rows = [line.split() for line in (world / "test.txt").read_text().splitlines()]
    (tmp_path / "t.txt").write_text("".join(f"{y} {short[a]} {short[b]}\n" for y, a, b in rows))
    words = [world / "ecapa", "--trials", tmp_path / "t.txt", "--audio", kaldi, "--folds", 3]
    words += [*QUICK, "--replicates", 60, "--no-report", "--output_folder", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["protocol"]["parts"]["scores"]["speakers"] == 6
    (kaldi / "utt2spk").write_text("".join(f"{u} s{k % 2}\n" for k, u in enumerate(short.values())))
    with pytest.raises(UserError, match="kaldi"):
        main([str(word) for word in words])


def test_folds_that_leave_one_class_are_told_of_before_anything_is_embedded(
    world, tmp_path, monkeypatch
):
    three = ("s0/", "s1/", "s2/")
    rows = [line.split() for line in (world / "test.txt").read_text().splitlines()]
    kept = [" ".join(r) for r in rows if r[1].startswith(three) and r[2].startswith(three)]
    trials = tmp_path / "three.txt"
    trials.write_text("\n".join(kept) + "\n")
    monkeypatch.setattr(embed_once, "embed_utterances", None)  # it must not come to that
    with pytest.raises(UserError, match="folds"):
        evaluate(world, tmp_path / "out", "--trials", trials, "--folds", 3)
    assert not (tmp_path / "out").exists()


def test_inputs_and_strange_files_in_the_output_folder_are_kept(world, tmp_path, monkeypatch):
    """A data folder of Kaldi's, a list of speakers, trials that are called as a result is."""
    kaldi = tmp_path / "kaldi"
    kaldi.mkdir()
    names = [f"s{s}/u{u}" for s in range(6) for u in range(3)]
    (kaldi / "wav.scp").write_text("".join(f"{n} {world}/speech/{n}.wav\n" for n in names))
    (kaldi / "utt2spk").write_text("".join(f"{n} {n[:2]}\n" for n in reversed(names)))
    for name in ("results.md", "evaluate_log.txt"):
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_bytes((world / "test.txt").read_bytes())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "utt2spk").write_text("x y\n")
    monkeypatch.setattr(embed_once, "embed_utterances", None)  # it must not come to that
    before = checksums(tmp_path)
    for folder, audio, trials, named in (
        ("kaldi", kaldi, world / "test.txt", "kaldi"),
        ("out", kaldi, tmp_path / "out" / "results.md", "results.md"),
        ("out", kaldi, tmp_path / "out" / "evaluate_log.txt", "evaluate_log.txt"),
        ("other", kaldi, world / "test.txt", "utt2spk"),
    ):
        words = [world / "ecapa", "--trials", trials, "--audio", audio, "--folds", 3, *QUICK]
        with pytest.raises(UserError, match=named):
            main([str(word) for word in [*words, "--output_folder", tmp_path / folder]])
        after = checksums(tmp_path)
        assert {k: v for k, v in after.items() if not k.endswith(".lock")} == before


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Trial lists of models, each of two utterances of a speaker, tested with the third."""
    root = tmp_path_factory.mktemp("models")
    for part, speakers in (("test", range(6)), ("dev", range(6, 12))):
        rows = [f"{int(s == t)} m{s} s{t}/u2" for s in speakers for t in speakers]
        (root / f"{part}.txt").write_text("\n".join(rows) + "\n")
    lines = [f"m{s} s{s}/u0 s{s}/u1" for s in range(12)]
    (root / "spk2utt").write_text("\n".join(lines) + "\n")
    return root


def test_models_of_several_utterances_are_means_of_unit_vectors(world, models, table, tmp_path):
    words = ["--trials", models / "test.txt", "--dev_trials", models / "dev.txt"]
    words += ["--enrolment", models / "spk2utt", "--audio", table, "--groups", "gender"]
    results = evaluate(world, tmp_path, *words, "--cohort", world / "cohort.csv", "--top_k", 3)

    def unit_mean(ids):
        mean = cosines(world, "ecapa", ids).mean(0)
        return mean / np.linalg.norm(mean)

    file = read_scores(tmp_path / "scores" / "ecapa" / "test.txt")
    spoken = {f"m{s}": [f"s{s}/u0", f"s{s}/u1"] for s in range(6)}
    z = np.stack([unit_mean(spoken.get(name, [name])) for name in file.trials.ids])
    cohort = [unit_mean([f"s{s}/u{u}" for u in range(3)]) for s in range(12, 15)]
    near = z @ np.stack(cohort).T
    mean, std = near.mean(1), near.std(1, ddof=1)
    raw = (z[file.trials.enrol] * z[file.trials.test]).sum(1)
    sides = [(raw - mean[side]) / std[side] for side in (file.trials.enrol, file.trials.test)]
    np.testing.assert_allclose(file.scores, np.mean(sides, 0), rtol=1e-3, atol=1e-2)
    assert "embedding concatenation, cosine" in {row["name"] for row in results["table"]}
    of = dict(map(str.split, (tmp_path / "utt2spk").read_text().splitlines()))
    assert of["m3"] == of["s3/u2"] == "s3"
    assert not any("spk2utt" in said or "test.txt" in said for said in results["warnings"])
    rows = results["groups"]["attributes"]["gender"]["groups"]
    assert {row["group"]: (row["speakers"], row["target"]) for row in rows}["f"] == (5, 5)


@pytest.mark.parametrize("known", [["--speakers", "utt2spk"], ["--speaker_pattern", "^s[0-9]+"]])
def test_a_models_speaker_is_its_utterances(world, models, tmp_path, monkeypatch, known):
    monkeypatch.chdir(world)
    words = ["ecapa", "--trials", models / "test.txt", "--enrolment", models / "spk2utt"]
    words += [*known, "--audio", "speech", "--folds", "3", "--replicates", "0", "--no-report"]
    own = tmp_path / "own.txt"  # a model that is tested with its own utterance
    own.write_text((models / "test.txt").read_text() + "1 m0 s0/u1\n")
    words[2] = own
    assert main([str(word) for word in [*words, *QUICK, "--output_folder", tmp_path]]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["protocol"]["parts"]["scores"]["speakers"] == 6
    assert any(str(own) in said for said in results["warnings"])


@pytest.mark.parametrize(
    ("line", "words", "named"),
    [
        ("", [], "'m0'"),
        ("m0 s0/u0 s1/u0", ["--speakers", "utt2spk"], "'m0'"),
        ("m0 s1/u0", ["--speakers", "utt2spk"], "'m0 s0/u2'"),
        ("m0 s0/u9", [], "'s0/u9'"),
        ("m0 s0/u0 s0/u0", [], "'m0'"),
        ("m0 s0/u0", ["--quality", "magnitude"], "'quality'"),
        ("m0 s0/u0", ["--dev_enrolment", "enrolled"], "'dev_enrolment'"),
        ("m0 s0/u0", ["--trials", "named.txt"], "'s1/u2'"),
    ],
)
def test_models_that_do_not_fit_are_told_of_first(
    world, models, tmp_path, monkeypatch, line, words, named
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "utt2spk").write_bytes((world / "utt2spk").read_bytes())
    (tmp_path / "named.txt").write_text("1 m0 s0/u2\n0 s1/u2 s0/u2\n0 m0 s1/u2\n")
    others = (models / "spk2utt").read_text().splitlines()[1:]
    lines = [line, *others, "s1/u2 s1/u0 s1/u1"]
    (tmp_path / "enrolled").write_text("\n".join(lines) + "\n")
    given = ["--trials", models / "test.txt"] * ("--trials" not in words)
    given += [world / "ecapa", "--enrolment", "enrolled", "--audio", world / "speech"]
    with pytest.raises(UserError, match=named):
        main([str(word) for word in [*given, *words, *QUICK, "--output_folder", "out"]])
    assert not (tmp_path / "out").exists()


def test_an_infinite_threshold_ends_nothing(world, table, tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "eer_threshold", lambda *_: np.inf)
    words = ["--groups", "gender", "--audio", table, "--dev_trials", world / "dev.txt"]
    results = evaluate(world, tmp_path, *words)
    assert results["groups"] is None and any("infinite" in said for said in results["warnings"])
    assert (tmp_path / "report.html").is_file() and (tmp_path / "results.md").is_file()
