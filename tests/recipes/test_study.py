"""The study: a pair per candidate beside one first member, resumable, figures of its runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import ruamel.yaml
import soundfile

from acorl_sb import metrics
from acorl_sb.corpora.splits import make_trials
from acorl_sb.data.embeddings import Embeddings, read_embeddings, write_embeddings
from acorl_sb.data.manifest import Utterance, write_manifest
from acorl_sb.data.scorefiles import read_scores
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.data.trials import TrialList, write_trials
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.fusion.models import MeanZNorm
from acorl_sb.metrics.bootstrap import Measure
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json
from acorl_sb.utils.hparams import build
from acorl_sb.utils.options import read

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "speechocean762"
sys.path.insert(0, str(RECIPE))

import study  # noqa: E402
from pairs import figures, jobs, tables  # noqa: E402
from pairs.candidates import read_candidates  # noqa: E402
from pairs.compare import difference, error  # noqa: E402
from pairs.conditions import Condition, noisy, read_conditions  # noqa: E402
from pairs.results import Results  # noqa: E402
from pairs.write import write_study  # noqa: E402


def run(*args):
    return subprocess.run(
        [sys.executable, RECIPE / "study.py", *map(str, args)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def candidates(text):
    return read_candidates(ruamel.yaml.YAML().load(text), {})


def test_strengths_make_a_candidate_of_each():
    found = candidates(
        """
        plain: {objective: null}
        alike:
            objective: !name:acorl_sb.complementarity.CKA {}
            strengths: [0.5, 2]
            crop_seconds: 1.0
        late:
            objective: !name:acorl_sb.complementarity.CKA
                schedule: !new:acorl_sb.complementarity.Ramp {start: 0.5, weight: 9}
            strengths: [3.0]
            against: alike_2
        """
    )
    assert list(found) == ["plain", "alike_0.5", "alike_2", "late_3"]
    assert [c.strength for c in found.values()] == [None, 0.5, 2, 3.0]
    assert found["plain"].against == ()
    assert found["alike_2"].family == "alike" and found["alike_2"].against == ("plain",)
    assert found["alike_0.5"].changes["objective"]["schedule"]["weight"] == 0.5
    assert found["alike_2"].changes["objective"]["schedule"]["weight"] == 2
    assert found["alike_2"].changes["crop_seconds"] == 1.0
    late = found["late_3"].changes["objective"]["schedule"]
    assert dict(late) == {"start": 0.5, "weight": 3.0}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{a: {objective: null, strengths: [1]}}", None),
        ("{first: {objective: null}}", "'first'"),
        ("{a: {reference: nobody}}", "'nobody'.*'references'"),
        ("{a: {member: b}}", "'b'"),
        ("{a: {start: b}}", "'b'"),
        ("{a: {against: b}}", "'b'"),
        ("{a: {objective: null}, b: {member: a, lr: 1}}", None),
    ],
)
def test_candidates_that_make_no_sense_are_named(text, where):
    with pytest.raises(UserError, match=where):
        candidates(text)


def test_every_candidate_of_the_recipe_can_be_built():
    argv = [str(RECIPE / "hparams" / "study.yaml"), "--data_folder", "x"]
    loaded = read(study.StudyOptions, argv)
    found = read_candidates(loaded.lazy["candidates"], loaded.lazy["references"])
    assert set(loaded.hparams["chosen"]) <= set(found)
    for name, candidate in found.items():
        if candidate.changes.get("objective") is not None:
            objective = build({"x": candidate.changes["objective"]}, name)["x"](
                dim=8, reference_dims=[4], n_classes=5
            )
            wanted = candidate.strength
            parts = getattr(objective, "parts", [objective])
            assert wanted is None or [part.schedule(1.0) for part in parts] == [
                pytest.approx(wanted, rel=1e-3)
            ]
        if "encoder" in candidate.changes:
            assert build_encoder(candidate.changes["encoder"], name).embedding_dim == 128


def test_conditions_begin_with_a_clean_one_and_noise_needs_a_folder():
    tree = {"a": {"seconds": 2.0}, "b": {"seconds": None, "snr": 5}}
    assert [c.name for c in read_conditions(tree, "noise")] == ["a", "b"]
    assert [c.name for c in read_conditions(tree, None)] == ["a"]
    with pytest.raises(UserError, match=r"conditions\.a.*'loud'"):
        read_conditions({"a": {"seconds": 1, "loud": 2}}, None)
    with pytest.raises(UserError):
        read_conditions({"b": tree["b"]}, "noise")


def test_noise_has_its_level_and_follows_from_the_utterance(tmp_path):
    generator = np.random.default_rng(0)
    # Half of the first file is silence, which is no noise.
    noise = np.concatenate([np.zeros(16000), generator.normal(0, 0.1, 16000)])
    soundfile.write(tmp_path / "a.wav", noise, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", generator.normal(0, 0.01, 4000), 16000, subtype="FLOAT")
    wave = generator.normal(0, 0.05, 8000).astype(np.float32)
    added = {}
    for name in (f"u{i}" for i in range(20)):
        utterance = Utterance(name, 0.5, "x.wav", 0, 8000, "s")
        for snr in (10, 0):
            added[name, snr] = noisy(str(tmp_path), snr)(wave, utterance) - wave
            ratio = np.mean(wave**2) / np.mean(added[name, snr] ** 2)
            assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.01)
        again = noisy(str(tmp_path), 0)(wave, utterance) - wave
        np.testing.assert_array_equal(again, added[name, 0])
        np.testing.assert_allclose(added[name, 0], added[name, 10] * 10**0.5, atol=1e-6)
    assert len({added[f"u{i}", 0].tobytes() for i in range(20)}) > 5


def test_silent_noise_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    with pytest.raises(UserError):
        noisy(str(tmp_path), 0)(np.ones(100, np.float32), Utterance("u", 1, "x", 0, 100, "s"))


@pytest.fixture
def front_door(tmp_path, monkeypatch):
    """In place of train.py: notes when it began and ended, fails where its YAML says so."""
    (tmp_path / "train.py").write_text(
        textwrap.dedent("""
        import pathlib, sys, time
        yaml = pathlib.Path(sys.argv[1])
        folder = yaml.parent
        if "fails: true" in yaml.read_text():
            print("error: it failed")
            sys.exit(2)
        (folder / "began").write_text(str(time.monotonic()))
        time.sleep(0.2)
        (folder / "ended").write_text(str(time.monotonic()))
        (folder / "results.json").write_text("{}")
        """)
    )
    monkeypatch.setattr(jobs, "ROOT", tmp_path)
    return tmp_path


def at(folder, what):
    return float((folder / what).read_text())


def test_jobs_run_side_by_side_after_what_they_need_and_once(front_door):
    a, b, c = (front_door / name for name in "abc")
    seen = []
    plan = [
        jobs.Job(b, {}, (a,), lambda: seen.append(b)),
        jobs.Job(a, {}, (), lambda: seen.append(a), noted={"precision": "fp32"}),
        jobs.Job(c, {}),
    ]
    order = [job.folder for job in jobs.run_all(plan, front_door / "base.yaml", 2)]
    assert sorted(order) == [a, b, c] and seen == [a, b]
    assert at(b, "began") >= at(a, "ended")
    assert at(c, "began") < at(a, "ended")
    before = at(a, "began")
    assert len(list(jobs.run_all(plan, front_door / "base.yaml", 2))) == 3
    assert at(a, "began") == before and len(seen) == 4  # what comes after is asked for again
    for other in (jobs.Job(a, {"lr": 1}), jobs.Job(a, {}, noted={"precision": "bf16"})):
        with pytest.raises(UserError, match=r"a/job.yaml"):
            list(jobs.run_all([other], front_door / "base.yaml", 1))


def test_a_failing_job_ends_the_study_in_one_sentence(front_door):
    plan = [jobs.Job(front_door / "a", {"fails": True}), jobs.Job(front_door / "b", {})]
    with pytest.raises(UserError, match=r"a/output.txt"):
        list(jobs.run_all(plan, front_door / "base.yaml", 1))
    assert not (front_door / "b" / "results.json").exists()


def test_the_difference_is_of_means_over_seeds_and_zero_for_the_same():
    generator = np.random.default_rng(0)
    utterances = [Utterance(f"{s}-{k}", 1, "x", 0, 1, str(s)) for s in range(30) for k in range(4)]
    rows, columns = np.triu_indices(len(utterances), 1)
    labels = rows // 4 == columns // 4
    trials = TrialList([u.id for u in utterances], rows, columns, labels)
    side = TrialSet(utterances, trials, rows, columns)

    def scores(d):
        return [labels * d + generator.normal(size=len(labels)) for _ in range(3)]

    better, worse = scores(2.5), scores(2.0)

    def judged(scores, kind, replicates):
        return [error(s, side, kind, replicates) for s in scores]

    eer, dcf = Measure("eer"), Measure("min_dcf", 0.01)
    found = difference(judged(better, eer, 200), judged(worse, eer, 200))
    errors = np.array([[metrics.eer(s, labels) for s in group] for group in (better, worse)])
    assert found.change == pytest.approx((errors[0] - errors[1]).mean())
    assert found.spread == pytest.approx((errors[0] - errors[1]).std(ddof=1))
    assert found.relative == pytest.approx(found.change / errors[1].mean())
    assert found.interval[0] < found.change < found.interval[1] < 0
    assert found.relative_interval[0] < found.relative < found.relative_interval[1] < 0
    same = difference(judged(worse, dcf, 50), judged(worse, dcf, 50))
    assert same[:3] == (0, (0, 0), 0)


@pytest.fixture
def finished(tmp_path):
    """A study of two seeds whose members are vectors made here: the speaker's, plus noise.

    The second member of ``good`` has less noise, that of ``copy`` is the first one again.
    """
    generator = np.random.default_rng(0)
    utterances = {}
    for part in ("dev", "test"):
        utterances[part] = [
            Utterance(f"{part}{s}-{k}", 1.0, "x.wav", 0, 16000, f"{part}{s}")
            for s in range(20)
            for k in range(4)
        ]
        write_manifest(tmp_path / "manifest" / f"{part}.csv", utterances[part])
        trials = make_trials(utterances[part], 0)
        write_trials(tmp_path / "manifest" / f"{part}_trials.txt", trials)
    own = generator.normal(size=(20, 8)).repeat(4, axis=0)
    conditions = [Condition("clean", 2.0), Condition("loud", 2.0, 0.0)]
    for seed in (1, 2):
        for member, noise in (("first", 1.0), ("independent", 1.0), ("good", 0.4), ("copy", None)):
            folder = tmp_path / f"seed{seed}" / member
            record = {"parameters": 1_500_000, "seconds": 60.0}
            write_json(folder / "members" / "second" / "member.json", record)
            for condition, part in (("clean", "dev"), ("clean", "test"), ("loud", "test")):
                path = folder / "heard" / condition / part
                if noise is None:
                    found = read_embeddings(folder.parent / "first" / "heard" / condition / part)
                else:
                    louder = noise * (2 if condition == "loud" else 1)
                    z = own + generator.normal(size=own.shape) * louder
                    found = Embeddings([u.id for u in utterances[part]], z.astype(np.float32))
                write_embeddings(path, found)
    made = candidates("""
        independent: {objective: null}
        good: {objective: null}
        copy: {objective: !name:acorl_sb.complementarity.CKA {}, strengths: [1, 2]}
    """)
    for strength in (1, 2):
        shutil.copytree(tmp_path / "seed1" / "copy", tmp_path / "seed1" / f"copy_{strength}")
    wanted = [("copy_1", 1), ("copy_2", 1)]
    chosen = ["independent", "good"]
    wanted += [(name, seed) for seed in (1, 2) for name in chosen]
    return Results(tmp_path, made, wanted, chosen, [1, 2], conditions)


def test_results_of_known_members(finished):
    finished.update()
    row = finished.of("copy_1")[0]
    assert row["test"]["first"] == row["test"]["second"] == row["test"]["fused"]
    for key in ("correlation_target", "correlation_nontarget", "cka", "error_overlap"):
        assert row["test"][key] == pytest.approx(1)
    assert row["test"]["r2_of_probe"] > 0.99
    good = finished.against("good", "independent", "clean", Measure("eer"))
    means = [tables.mean(finished.of(name), "test", "fused") for name in ("good", "independent")]
    assert good.change == pytest.approx(means[0] - means[1]) and good.interval[1] < 0
    assert finished.against("good", "copy_1", "clean", Measure("eer")) is None  # of one seed alone
    for row in finished.rows:
        assert row["conditions"]["clean"]["fused"] == row["test"]["fused"]
        # Pairs that are only screened are heard under the first condition alone.
        assert ("loud" in row["conditions"]) == (row["candidate"] in finished.chosen)
        loud = row["conditions"].get("loud", {"fused": 1})
        assert loud["fused"] > row["test"]["fused"]


def test_the_page_shows_every_pair_and_says_the_difference(finished):
    finished.update()
    write_study(finished)
    page = (finished.folder / "study.md").read_text()
    assert page.count("\n| good | ") == 5 and page.count("\n| copy_1 | ") == 1
    good = finished.against("good", "independent", "clean", Measure("eer"))
    low, high = good.interval
    difference = f"| {100 * good.change:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}] |"
    assert difference.replace("-", "−") in page
    assert "| 1.50 M | 60 |" in page
    for picture in ("correlation", "strength"):
        assert (finished.folder / f"{picture}.png").stat().st_size > 5000


def test_a_member_that_is_trained_again_is_measured_again(finished):
    finished.update()
    before = finished.of("good", [1])[0]["test"]
    heard = finished.folder / "seed1" / "good" / "heard"
    shutil.rmtree(heard)
    shutil.copytree(finished.folder / "seed1" / "first" / "heard", heard)
    later = time.time() + 10
    for path in heard.rglob("*"):
        os.utime(path, (later, later))
    figures.scores.cache_clear()  # as in a new process
    finished.update()
    after = finished.of("good", [1])[0]["test"]
    assert after["second"] == after["first"] == before["first"] != before["second"]


def test_a_pair_is_left_out_until_its_members_are_heard(finished):
    shutil.rmtree(finished.folder / "seed2" / "good" / "heard" / "loud")
    finished.update()
    assert [(row["candidate"], row["seed"]) for row in finished.rows][-3:] == [
        *[("independent", 1), ("good", 1), ("independent", 2)]
    ]


def test_an_unknown_candidate_is_refused():
    done = run(RECIPE / "hparams" / "study.yaml", "--data_folder", "x", "--chosen", "[nobody]")
    assert done.returncode == 2 and "'nobody'" in done.stderr


def test_candidates_on_real_speech_and_again(real_data, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"""
inherit: {RECIPE}/hparams/study.yaml
base: {RECIPE.parents[1]}/hparams/acorl_ecapa.yaml
data_folder: {real_data}/speechocean762
output_folder: {tmp_path}/out
noise_folder: {real_data}/ESC-10
common:
    {{epochs: 1, epoch_steps: 2, channels: 8, embedding_dim: 8, batch_size: 8, crop_seconds: 0.5,
    dev_seconds: 0.5, score_seconds: 0.5, cache_mb: 0,
    prepare_options: {{dev_speakers: 10, max_targets: 500}}}}
conditions:
    short: {{seconds: 0.5}}
    noisy: {{seconds: 0.5, snr: 0}}
screening_seeds: [1]
seeds: [1]
chosen: [cka_5]
candidates:
    independent: {{objective: null}}
    cka:
        objective: !name:acorl_sb.complementarity.CKA {{}}
        strengths: [5.0]
    beside: {{reference: cka_5, member: independent}}
    warm: {{objective: null, start: cka_5}}
""")
    out = tmp_path / "out"
    done = run(mine)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((out / "study.json").read_text())
    rows = {row["candidate"]: row for row in rows}
    assert list(rows) == ["independent", "cka_5", "beside", "warm"]
    plain, cka, beside = (rows[name] for name in ("independent", "cka_5", "beside"))
    assert plain["test"]["first"] == cka["test"]["first"]
    assert plain["test"]["second"] != cka["test"]["second"]
    # The borrowed member stands beside the other one.
    assert beside["test"]["first"] == cka["test"]["second"]
    assert beside["test"]["second"] == plain["test"]["second"]
    assert list(cka["conditions"]) == list(plain["conditions"]) == ["short", "noisy"]
    assert list(rows["warm"]["conditions"]) == ["short"]  # neither chosen nor compared with
    assert cka["conditions"]["noisy"]["first"] > cka["conditions"]["short"]["first"]

    # The same errors from the score files that train.py wrote.
    parts = {}
    for part in ("dev", "test"):
        files = [out / "seed1/cka_5/scores" / name / f"{part}.txt" for name in ("first", "second")]
        files = [read_scores(path) for path in files]
        parts[part] = np.stack([file.scores for file in files])
        labels = files[0].trials.labels
    fused = MeanZNorm().fit(parts["dev"])(parts["test"])
    assert cka["test"]["fused"] == pytest.approx(metrics.eer(fused, labels))
    wanted = np.corrcoef(parts["test"][:, ~labels])[0, 1]
    assert cka["test"]["correlation_nontarget"] == pytest.approx(wanted)

    heard = out / "seed1" / "cka_5" / "heard"
    clean, noise = (read_embeddings(heard / name / "test") for name in ("short", "noisy"))
    assert clean.ids == noise.ids and not np.allclose(clean.vectors, noise.vectors, atol=1e-3)

    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*.ckpt")}
    assert len(stamps) == 4 * 3
    assert run(mine).returncode == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in out.rglob("*.ckpt")}
