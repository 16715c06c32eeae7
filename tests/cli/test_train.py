"""The front door as a user meets it: a whole run on a few voices, and what people bring wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ruamel.yaml
import soundfile
import torch
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from acorl_sb.analysis.run_inputs import read_inputs
from acorl_sb.cli import train as train_command
from acorl_sb.data.scorefiles import read_scores
from acorl_sb.fusion.systems import from_run_folder
from acorl_sb.utils.errors import UserError
from tests import tiny

ROOT = Path(__file__).resolve().parents[2]
ENSEMBLE = ("first", "second")
TUNED = [f"{name}-tuned" for name in ENSEMBLE]  # what the front door ends with
TINY = [
    *("--channels", "8", "--embedding_dim", "16", "--crop_seconds", "0.5", "--batch_size", "8"),
    *("--epochs", "2", "--epoch_steps", "3", "--dev_seconds", "0.5", "--score_seconds", "0.5"),
    *("--device", "cpu"),
]


def train(*args, yaml="hparams/acorl_ecapa.yaml"):
    return subprocess.run(
        [sys.executable, ROOT / "train.py", ROOT / yaml, *map(str, args)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def refused(done):
    """The one sentence of a run that ended over bad input."""
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The front door on its own default corpus, as small as it gets."""
    folder = tmp_path_factory.mktemp("front") / "out"
    options = "{n_voices: 12, sessions: 2, utterances_per_session: 3}"
    args = ["--data_folder", folder.parent / "voices", "--prepare_options", options]
    args = [*TINY, *args, "--output_folder", folder]
    done = train(*args)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, args, done


def test_results_agree_with_the_score_files_and_with_scikit_learn(run):
    folder, _, done = run
    systems = json.loads((folder / "results.json").read_text())["systems"]
    names = [system["name"] for system in systems]
    assert names == [*TUNED, "embedding-concatenation", "score-mean", "score-logistic"]
    for system in systems:
        assert f"| {system['name']} |" in done.stdout
        for part in ("dev", "test"):
            file = read_scores(folder / "scores" / system["name"] / f"{part}.txt")
            fpr, tpr, _ = roc_curve(file.trials.labels, file.scores, drop_intermediate=False)
            eer = brentq(lambda x, fpr=fpr, tpr=tpr: 1 - x - np.interp(x, fpr, tpr), 0, 1)
            assert system[part]["eer"] == pytest.approx(eer, abs=1e-9)
            assert system[part]["eer_hull"] <= system[part]["eer"]
            for p in (0.01, 0.05):
                dcf = (p * (1 - tpr) + (1 - p) * fpr).min() / p
                assert system[part]["min_dcf"][str(p)] == pytest.approx(dcf, abs=1e-6)
    alone = [system["parameters"] for system in systems[:2]]
    assert systems[2]["parameters"] == sum(alone) and min(alone) > 10_000
    assert all(s["train_seconds"] > 0 and s["real_time_factor"] > 0 for s in systems)
    assert (folder / "results.md").read_text().count("\n| ") >= 5


def test_the_table_has_counts_and_intervals_or_says_why_not(run):
    folder, _, done = run
    results = json.loads((folder / "results.json").read_text())
    counts, speakers = results["trials"]["test"], results["trials"]["test"]["speakers"]
    labels = read_scores(folder / "scores" / "first-tuned" / "test.txt").trials.labels
    assert counts["target"] == labels.sum() and counts["nontarget"] == (~labels).sum()
    assert f"of {speakers} speakers" in done.stdout
    for system in results["systems"]:
        # A handful of speakers may be too few for an interval.
        for low, high in system["intervals"].values():
            assert low <= high
    assert results["intervals"]["method"] in done.stdout


def test_a_run_ends_with_its_page(run):
    folder, _, _ = run
    page = (folder / "report.html").read_text()
    for key in ("det", "bayes-score-logistic", "training-dev-eer", "training-task-loss"):
        assert f'id="figure-{key}"' in page and (folder / "figures" / f"{key}.svg").is_file()
    results = json.loads((folder / "results.json").read_text())
    assert f">{100 * results['systems'][0]['test']['eer']:.2f}" in page


def test_the_log_says_what_happened(run):
    folder, _, _ = run
    log = (folder / "train_log.txt").read_text()
    assert "checked to be disjoint" in log
    for member, tuned in zip(ENSEMBLE, TUNED, strict=True):
        assert log.count(f"{member}: epoch") == 2 and log.count(f"{tuned}: epoch") == 1
    of_tuning = ("pair_loss", "pair_d_prime")
    for figure in ("loss", "task_loss", *of_tuning, "dev_eer"):
        assert f" {figure} " in log
    assert "\x1b" not in log


def test_the_log_names_the_parts_of_a_combined_objective(run, tmp_path):
    _, args, _ = run
    done = train(*args[:-1], tmp_path / "out", "--no-report", yaml="hparams/acorl_scratch.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    log = (tmp_path / "out" / "train_log.txt").read_text()
    for figure in ("adversarial.adversary_loss", "adversarial.weight", "nontarget.weight"):
        assert f" {figure} " in log


def test_a_second_run_trains_nothing_and_says_the_same(run):
    folder, args, first = run
    weights = folder / "members" / "second-tuned" / "embedding_model.ckpt"
    stamp = weights.stat().st_mtime_ns
    again = train(*args)
    assert again.returncode == 0 and weights.stat().st_mtime_ns == stamp
    rows = [
        [line.split("|")[1:6] for line in out.splitlines() if line.startswith("| s")]
        for out in (first.stdout, again.stdout)
    ]
    assert rows[0] == rows[1] and rows[0]


def test_an_override_shows_in_the_saved_yaml(run):
    folder, _, _ = run
    text = (folder / "hyperparams.yaml").read_text()
    said = "\n".join(line.split("#")[0] for line in text.splitlines())
    assert "crop_seconds: 0.5" in said and "!ref" not in said and "!include" not in said


def test_changed_settings_leave_finished_work_alone(run):
    folder, args, _ = run
    before = {p: p.stat().st_mtime_ns for p in (folder / "members").rglob("*") if p.is_file()}
    assert "training.lr_schedule.lr" in refused(train(*args, "--lr", "0.1"))
    assert before == {
        p: p.stat().st_mtime_ns for p in (folder / "members").rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def complemented(run, tmp_path_factory):
    """The front door with no learning rate to speak of."""
    _, args, _ = run
    folder = tmp_path_factory.mktemp("complemented") / "out"
    args = (*args[:-1], folder, "--lr", "1e-9")
    done = train(*args)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, args


def test_members_that_are_fine_tuned_are_the_ensemble(complemented):
    folder, _ = complemented
    systems = json.loads((folder / "results.json").read_text())["systems"]
    assert [system["name"] for system in systems[:3]] == [*TUNED, "embedding-concatenation"]
    for name, of in zip(TUNED, ENSEMBLE, strict=True):
        before, after = weights(folder, of), weights(folder, name)
        for key in before:
            if "running" not in key and "tracked" not in key:
                assert torch.allclose(before[key], after[key], atol=1e-6), key
    second, first = (
        json.loads((folder / "members" / name / "member.json").read_text())
        for name in reversed(TUNED)
    )
    assert second["settings"]["references"] == ["first"]
    assert first["settings"]["references"] == ["second-tuned"]


def test_other_commands_read_the_members_that_are_fine_tuned(complemented, tmp_path):
    from acorl_sb.fusion.finished_run import load_run
    from acorl_sb.training.distil import teachers

    folder, _ = complemented
    assert load_run(folder).ensemble.names == TUNED
    assert load_run(folder, members=TUNED[1:]).ensemble.names == TUNED[1:]
    with pytest.raises(UserError, match="'first'"):
        load_run(folder, members=["first"])
    assert [teacher["name"] for teacher in teachers(folder)[0]] == TUNED
    assert score_systems(folder, tmp_path) == TUNED
    made = json.loads((tmp_path / "results.json").read_text())["systems"]
    ours = json.loads((folder / "results.json").read_text())["systems"]
    for one, other in zip(made, ours[:2], strict=True):
        assert one["eer"] == pytest.approx(other["test"]["eer"], abs=0.02)


def test_a_plain_run_becomes_one_whose_members_are_fine_tuned(complemented, tmp_path):
    folder, args = complemented
    own = (*args[:-3], tmp_path / "out", *args[-2:])
    assert train(*own, yaml="hparams/heterogeneous_ecapa.yaml").returncode == 0
    before = {name: weights(tmp_path / "out", name) for name in ENSEMBLE}
    done = train(*own)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "first: already trained" in done.stderr and "second: already trained" in done.stderr
    for name in (*ENSEMBLE, *TUNED):
        now = weights(tmp_path / "out", name)
        assert all(torch.equal(v, now[k]) for k, v in before.get(name, now).items())
        assert all(torch.equal(v, now[k]) for k, v in weights(folder, name).items())
    # Embeddings of the first table are still there.
    assert score_systems(tmp_path / "out", tmp_path / "scored") == TUNED
    assert list(read_inputs(tmp_path / "out").members) == TUNED
    every = ["first", "second", *TUNED]
    assert list(read_inputs(tmp_path / "out", members=every).members) == every
    assert [s.name for s in from_run_folder(tmp_path / "out")[0]] == TUNED


def test_results_keep_their_yaml_until_there_are_new_ones(complemented, tmp_path, monkeypatch):
    folder, args = complemented
    shutil.copytree(folder, tmp_path / "out")
    before = (folder / "hyperparams.yaml").read_bytes()
    words = [*map(str, args[:-3]), str(tmp_path / "out"), *map(str, args[-2:])]
    words = [str(ROOT / "hparams/acorl_ecapa.yaml"), *words, "--report", "False"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_command, "train_members", interrupt)
        train_command.main(words)
    assert (tmp_path / "out" / "hyperparams.yaml").read_bytes() == before
    assert train_command.main(words) == 0
    after = (tmp_path / "out" / "hyperparams.yaml").read_bytes()
    assert yaml_key(after, "report") is False and yaml_key(before, "report") is True


def yaml_key(text, key):
    return ruamel.yaml.YAML().load(text)[key]


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def score_systems(run, out):
    from acorl_sb.cli import score

    words = ["hparams/score.yaml", "--run_folder", str(run), "--output_folder", str(out)]
    assert score.main(words) == 0
    return [row["system"] for row in json.loads((out / "results.json").read_text())["systems"]]


def weights(run, name):
    return torch.load(run / "members" / name / "embedding_model.ckpt")


def test_members_load_in_plain_speechbrain(run):
    from speechbrain.inference.speaker import SpeakerRecognition

    from acorl_sb.encoders.member_folder import load_member

    folder, _, _ = run
    member = folder / "members" / "second-tuned"
    theirs = SpeakerRecognition.from_hparams(source=str(member), savedir=str(folder / "sb"))
    ours = load_member(member)
    torch.manual_seed(0)
    waves = torch.randn(3, 8000) * 0.1
    with torch.no_grad():
        torch.testing.assert_close(
            theirs.encode_batch(waves).squeeze(1), ours(waves), atol=1e-5, rtol=0
        )
    score, decision = theirs.verify_batch(waves[:1], waves[:1])
    assert float(score) == pytest.approx(1, abs=1e-5) and bool(decision)
    labels = theirs.hparams.label_encoder
    assert len(labels.lab2ind) == theirs.mods.classifier.weight.shape[0] > 2
    *_, name = theirs.classify_batch(waves)
    assert set(name) <= set(labels.lab2ind)


def test_a_verifier_of_the_run_gives_the_llrs_of_its_score_file(run):
    from acorl_sb.data.manifest import read_manifest
    from acorl_sb.inference import Verifier

    folder, _, _ = run
    verifier = Verifier.from_run(folder)
    file = read_scores(folder / "scores" / "score-logistic" / "test.txt")
    assert verifier.score_seconds == 0.5
    assert verifier.calibrated_on.longest == 0.5 >= verifier.calibrated_on.shortest
    waves = {u.id: u.wav for u in read_manifest(folder / "manifest" / "test.csv")}
    for i in range(0, len(file.scores), len(file.scores) // 5):
        enrol, test = (file.trials.ids[side[i]] for side in (file.trials.enrol, file.trials.test))
        verifier.enrol(enrol, [waves[enrol]], replace=True)
        assert verifier.verify(enrol, waves[test]).llr == pytest.approx(file.scores[i], abs=1e-3)


def folder_corpus(tmp_path, **changes):
    """speaker/utterance.wav for six speakers; ``changes`` name files to write otherwise."""
    tiny.hums(tmp_path / "speech")
    for name, (samples, rate) in changes.items():
        soundfile.write(
            tmp_path / "speech" / name.replace("__", "/"), samples, rate, subtype="FLOAT"
        )
    return tmp_path / "speech"


def on_folder(speech, tmp_path, *args):
    options = "{dev_speakers: 2, test_speakers: 2}"
    return train(
        *TINY,
        "--no-report",
        "--corpus",
        "folder",
        "--data_folder",
        speech,
        "--prepare_options",
        options,
        "--output_folder",
        tmp_path / "out",
        *args,
    )


def test_a_wrong_sample_rate_is_resampled_and_said_once(tmp_path):
    speech = folder_corpus(tmp_path)
    for path in sorted(speech.rglob("*.wav")):
        wave, _ = soundfile.read(path)
        soundfile.write(path, np.repeat(wave, 2), 32000)
    done = on_folder(speech, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    log = (tmp_path / "out" / "train_log.txt").read_text()
    assert log.count("resampling 32000 Hz") == 1


@pytest.mark.parametrize(
    ("samples", "where"),
    [
        (np.zeros(0), "s3/u9.wav"),
        (np.full(9000, np.nan), "s3/u9.wav"),
    ],
)
def test_bad_audio_is_named(tmp_path, samples, where):
    speech = folder_corpus(tmp_path, **{"s3__u9.wav": (samples, 16000)})
    assert where in refused(on_folder(speech, tmp_path))


def test_unreadable_audio_is_named(tmp_path):
    speech = folder_corpus(tmp_path)
    (speech / "s0" / "u0.wav").write_text("not audio")
    assert "s0/u0.wav" in refused(on_folder(speech, tmp_path))


def test_bad_audio_is_named_from_a_loader_process_too(tmp_path):
    speech = folder_corpus(
        tmp_path,
        **{
            f"s{i}__u{u}.wav": (np.full(9000, np.nan), 16000)
            for i in range(6)
            for u in (0, 1, 2, 3)
        },
    )
    line = refused(on_folder(speech, tmp_path, "--workers", "1", "--cache_mb", "0"))
    assert re.search(r"s\d/u\d\.wav", line) and "Caught" not in line


@pytest.mark.parametrize(
    ("args", "where"),
    [
        (["--lamda", "3"], "'lamda'"),
        (["--corpus", "voxcelebb"], "voxcelebb"),
        (
            ["--corpus", "librispeech", "--data_folder", "nowhere", "--prepare_options", "{}"],
            "nowhere",
        ),
        (["--noise_folder", "nowhere"], "nowhere"),
        (["--view", "all"], "'view'"),
        (["--references", "[{name: mine, folder: nowhere}]"], "nowhere"),
        (["--members", "[]"], "'members'"),
        (["--prepare_options", "{n_voice: 3}"], "n_voice"),
    ],
)
def test_bad_keys_and_paths_are_named(tmp_path, args, where):
    options = ["--prepare_options", "{n_voices: 12, sessions: 2, utterances_per_session: 3}"]
    if "--prepare_options" in args:
        options = []
    if "--data_folder" not in args:
        options += ["--data_folder", tmp_path / "v"]
    done = train(*TINY, *options, "--output_folder", tmp_path / "out", *args)
    assert where in refused(done)


def test_an_unknown_yaml_key_and_a_missing_file(tmp_path):
    text = (ROOT / "hparams" / "acorl_ecapa.yaml").read_text()
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"inherit: {ROOT}/hparams/acorl_ecapa.yaml\nbatchsize: 3\n")
    line = refused(train(yaml=mine))
    assert "'batchsize'" in line and "'batch_size'" in line
    mine.write_text(text.replace("!include:", f"!include:{ROOT}/hparams/") + "\nbatchsize: 3\n")
    assert "'batchsize'" in refused(train(yaml=mine))
    mine.write_text("a: [1\n")
    assert "mine.yaml" in refused(train(yaml=mine))
    assert "none.yaml" in refused(train(yaml=tmp_path / "none.yaml"))


def test_a_members_own_module_needs_no_trust_in_its_own_run(tmp_path):
    """The run's YAML has said the class; whoever loads the folder elsewhere has to say it again."""
    from acorl_sb.encoders.member_folder import load_member
    from acorl_sb.inference import Verifier

    (tmp_path / "my_net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(torch.nn.Conv1d(24, 16, 5), torch.nn.ReLU())\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.transpose(1, 2)).mean(2)\n"
    )
    encoder = (
        "{embedding_dim: 16, embedding_model: !new:my_net.Net {}, compute_features: "
        "!new:speechbrain.lobes.features.Fbank {n_mels: 24}}"
    )
    members = f"[{{name: a, encoder: {encoder}}}, {{name: b, encoder: {encoder}}}]"
    speech = folder_corpus(tmp_path)
    code = "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); runpy.run_path('train.py', "
    for _ in range(2):  # the second run keeps both
        done = subprocess.run(
            [sys.executable, "-c", f"{code}run_name='__main__')", tmp_path]
            + [
                "hparams/acorl_ecapa.yaml",
                *TINY,
                "--no-report",
                "--corpus",
                "folder",
                "--data_folder",
                speech,
            ]
            + ["--prepare_options", "{dev_speakers: 2, test_speakers: 2}", "--members", members]
            + ["--output_folder", tmp_path / "out"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(UserError, match="trust"):
            load_member(tmp_path / "out" / "members" / "a")
        with pytest.raises(UserError, match="trust"):
            Verifier.from_run(tmp_path / "out")
        assert len(Verifier.from_run(tmp_path / "out", trust=True).ensemble) == 2
    finally:
        sys.path.remove(str(tmp_path))


def test_a_missing_gpu_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also where there is one
    done = train("--output_folder", tmp_path, "--device", "cuda:0")
    assert "cuda:0" in refused(done)
