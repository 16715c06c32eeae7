"""What a bad day does to a finished run of train.py: nothing."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from acorl_sb.utils.locks import HOLDER, locked
from tests import tiny
from tests.commands import checksums, refused, run, started

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = "finished work is kept"
SPLITS = "{dev_speakers: 2, test_speakers: 3}"  # three, for the cross-validation of analyse


def training(speech: Path, out: object, **changes: object) -> list[object]:
    """The command of a run of seconds on ``speech``, with other keys than usual."""
    keys = {
        **{"device": "cpu", "channels": 8, "embedding_dim": 16, "batch_size": 8, "epochs": 1},
        **{"epoch_steps": 2, "crop_seconds": 0.4, "dev_seconds": 0.4, "score_seconds": 0.4},
        **{"corpus": "folder", "data_folder": speech, "prepare_options": SPLITS},
        **{"output_folder": out, "report": "false", **changes},
    }
    words = [word for key, value in keys.items() for word in (f"--{key}", value)]
    return ["train.py", ROOT / "hparams" / "acorl_ecapa.yaml", *words]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "speech"
    tiny.hums(folder, speakers=7)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, speech):
    """A finished run; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = run(training(speech, folder))
    assert done.code == 0, done.stderr[-3000:]
    return folder


@pytest.fixture()
def copy(finished, tmp_path):
    """The finished run elsewhere, to be harmed."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def one_of(name: str) -> str:
    return f"[{{name: '{name}', encoder: {{}}}}]"


# --- Refused before anything is written ----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 0.1}, "lr"),
        ({"seed": 2}, "seed"),
        ({"crop_seconds": 0.3}, "crop_seconds"),
        ({"lamda": 3}, "lamda"),
        ({"view": "all"}, "view"),
        ({"corpus": "timit"}, "timit"),
        ({"corpus": "librispeech"}, "librispeech"),
        ({"data_folder": "nowhere"}, "nowhere"),
        ({"data_folder": "tests"}, "tests"),
        ({"prepare_options": "{dev_speakers: 3, test_speakers: 3}"}, "dev_speakers"),
        ({"prepare_options": "{speakers: 3}"}, "speakers"),
        ({"prepare_options": "{save_folder: elsewhere}"}, "save_folder"),
        ({"references": "[{name: mine, folder: nowhere}]"}, "nowhere"),
        ({"references": "[{name: first, folder: nowhere}]"}, "first"),
        ({"trials": "nowhere.txt"}, "nowhere.txt"),
        ({"dev_trials": "README.md"}, "README.md"),
        ({"members": "[]"}, "members"),
        ({"members": one_of("..")}, "'..'"),
        ({"members": one_of("score-mean")}, "'score-mean'"),
        ({"grad_accumulation_factor": 3}, "grad_accumulation_factor"),
    ],
    ids=str,
)
def test_a_refused_run_changes_no_file_of_the_finished_one(finished, speech, changes, named):
    before = checksums(finished)
    assert named in refused(run(training(speech, finished, **changes)))
    assert checksums(finished) == before


def noise(path: Path) -> None:
    soundfile.write(path, 0.1 * np.random.default_rng(7).standard_normal(9000), 16000)


def test_changed_data_are_refused_and_what_is_finished_still_works(finished, speech, tmp_path):
    before, again = checksums(finished), training(speech, finished)
    added = speech / "s0" / "more.wav"
    for write in (lambda path: path.write_text("no audio"), noise):
        write(added)
        try:
            assert str(speech) in refused(run(again))
        finally:
            added.unlink()
        assert checksums(finished) == before
    kept = speech / "s1" / "u1.wav"
    kept.rename(tmp_path / "away.wav")
    try:
        assert "train.csv" in refused(run(again)) or "dev.csv" in refused(run(again))
        assert checksums(finished) == before
    finally:
        (tmp_path / "away.wav").rename(kept)
    scoring = ["-m", "acorl_sb.cli.score", "hparams/score.yaml", "--replicates", 0]
    commands = (
        ["fuse.py", "--replicates", 0, "--no-report"],
        [*scoring, "--normalisations", "{none: null}", "--device", "cpu"],
    )
    for number, command in enumerate(commands):
        out = ["--run_folder", finished, "--output_folder", tmp_path / str(number)]
        done = run([*command, *out])
        assert done.code == 0, done.stderr[-2000:]
    assert checksums(finished) == before


def test_data_that_are_only_newer_are_taken(copy, speech):
    """Other times of change, the same files: nothing is trained again."""
    for path in speech.rglob("*.wav"):
        os.utime(path, (1e9, 1e9))
    before = {name: h for name, h in checksums(copy).items() if "log" not in name}
    assert run(training(speech, copy)).code == 0
    after = checksums(copy)
    kept = [name for name in before if name.startswith(("members", "manifest", "scores"))]
    assert all(after[name] == before[name] for name in kept if "prepared" not in name)


# --- Frozen reference encoders -------------------------------------------------------------------


def disturb(member: Path) -> None:
    """Other weights in a member's folder."""
    state = torch.load(member / "embedding_model.ckpt", weights_only=True)
    name = next(key for key, value in state.items() if value.is_floating_point())
    torch.save({**state, name: state[name] + 1}, member / "embedding_model.ckpt")


def test_a_member_is_not_kept_beside_another_reference_encoder(copy, speech):
    record = json.loads((copy / "members" / "second-tuned" / "member.json").read_text())
    assert len(record["settings"]["reference_weights"]["first"]) == 64
    disturb(copy / "members" / "first")
    before = checksums(copy)
    line = refused(run(training(speech, copy)))
    assert "'first'" in line and "members/second-tuned" in line
    assert checksums(copy) == before


def test_a_reference_encoder_trained_again_to_the_same_weights_is_the_same(copy, speech):
    before = checksums(copy / "members" / "second-tuned")
    shutil.rmtree(copy / "members" / "first")
    done = run(training(speech, copy))
    assert done.code == 0, done.stderr[-2000:]
    assert checksums(copy / "members" / "second-tuned") == before


@pytest.mark.parametrize("kind", ["folder", "encoder"])
def test_an_external_reference_whose_weights_change_is_refused(finished, speech, tmp_path, kind):
    mine = Path(shutil.copytree(finished / "members" / "first", tmp_path / "mine"))
    said = {
        "folder": f"folder: {mine}",
        "encoder": f"weights: {mine}/embedding_model.ckpt\n      "
        "encoder: !include:encoders/ecapa.yaml\n        channels: 8\n        embedding_dim: 16",
    }[kind]
    root = ROOT / "hparams"
    text = f"""\
inherit: {root}/acorl_ecapa.yaml
references:
    - name: mine
      {said}
members:
    - name: third
      encoder: !include:encoders/ecapa.yaml
        channels: 8
        embedding_dim: 16
      objective: !name:acorl_sb.complementarity.CKA
        schedule: !new:acorl_sb.complementarity.WeightSchedule {{weight: 1.0}}
"""
    yaml = tmp_path / "mine.yaml"
    yaml.write_text(text.replace("!include:", f"!include:{root}/"))
    out = tmp_path / "out"
    command = training(speech, out)
    command[1] = yaml
    done = run(command)
    assert done.code == 0, done.stderr[-2000:]
    disturb(mine)
    before = checksums(out)
    line = refused(run(command))
    assert "'mine'" in line and "third" in line
    assert checksums(out) == before


# --- Interrupted, killed, started twice ----------------------------------------------------------


LONG = {"epochs": 8, "epoch_steps": 1}


def wait_for(found, process, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert process.is_alive(), Path(process.stderr).read_text()[-2000:]
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.01)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_member_goes_on_under_its_own_settings_only(speech, tmp_path, sent):
    out = tmp_path / "out"
    save = out / "members" / "first" / "save"
    with started(training(speech, out, **LONG)) as process:
        wait_for(lambda: list(save.glob("CKPT*")), process)
        os.kill(process.pid, sent)
        process.join(60)
        said = Path(process.stderr).read_text()
        wanted = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[sent]
        assert process.exitcode == wanted
        assert "Traceback" not in said and (SENTENCE in said) == (sent != signal.SIGKILL)
    log = (out / "members" / "first" / "train_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == list(range(1, len(log) + 1))
    (out / HOLDER).unlink(missing_ok=True)  # of a run that was killed
    before = checksums(out)
    nowhere = "!new:acorl_sb.training.pair_loss.DLoss {per_class: 2, within: nothing}"
    for changes, named in (
        ({"lr": 0.1}, "first.*lr"),
        ({"precision": "bf16"}, "first.*precision"),
        ({"dev_seconds": 0.3}, "first.*dev_seconds"),
        ({"tuning_pair_loss": nowhere}, "nothing"),
    ):
        assert re.search(named, refused(run(training(speech, out, **LONG, **changes))))
    assert checksums(out) == before
    if sent == signal.SIGTERM:
        done = run(training(speech, out, **LONG))
        assert done.code == 0, done.stderr[-2000:]
        log = (out / "members" / "first" / "train_log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in log] == list(range(1, 9))
    elif sent == signal.SIGKILL:
        for file in save.glob("CKPT*/encoder.ckpt"):
            file.write_bytes(file.read_bytes()[:100])
        assert str(save) in refused(run(training(speech, out, **LONG)))


def test_a_second_run_is_told_who_holds_the_folder(speech, tmp_path):
    out = tmp_path / "out"
    command = training(speech, out, **LONG)
    with started(command) as process:
        wait_for((out / HOLDER).is_file, process)
        wait_for(lambda: list(out.glob("members/first/save/CKPT*")), process)
        line = refused(run(command))
        assert process.is_alive(), "the second run waited for the first"
        assert f"process {process.pid} " in line
        process.join(120)
        assert process.exitcode == 0, Path(process.stderr).read_text()[-2000:]
    assert not (out / HOLDER).exists()
    assert run(command).code == 0


@pytest.mark.parametrize("command", ["fuse", "score", "analyse"])
def test_other_commands_respect_the_lock_and_only_read_the_run(finished, tmp_path, command):
    words = {
        "fuse": ["fuse.py", "--replicates", 0, "--no-report"],
        "score": ["-m", "acorl_sb.cli.score", "hparams/score.yaml", "--replicates", 0],
        "analyse": ["-m", "acorl_sb.cli.analyse", "hparams/analyse.yaml", "--part", "test"],
    }[command]
    if command != "fuse":
        words += ["--device", "cpu"]
    # What reads a run needs no lock on it; what writes beside it needs its own.
    with locked(finished), locked(tmp_path / "out"):
        line = refused(run([*words, "--run_folder", finished, "--output_folder", tmp_path / "out"]))
        assert f"process {os.getpid()} " in line


# --- Names and places ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", ".hidden", "a\\nb", "", "x" * 101, "-x", "score-logistic"]
)
@pytest.mark.parametrize("kind", ["members", "references"])
def test_names_that_are_none(speech, tmp_path, name, kind):
    said = f'[{{name: "{name}", encoder: {{}}}}]'
    (tmp_path / "here").mkdir()
    command = training(speech, tmp_path / "out", **{kind: said})
    assert f"{kind}[0]" in refused(run(command, cwd=tmp_path / "here"))
    assert checksums(tmp_path) == {}


def test_output_folders_that_are_none(speech, finished, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in ('""', '" "', "file", "file/below", "x" * 300, "/proc/none", "file/../file/x"):
        refused(run(training(speech, folder), cwd=tmp_path))
        command = ["fuse.py", "--run_folder", finished, "--output_folder", folder]
        refused(run(command, cwd=tmp_path))
    assert set(checksums(tmp_path)) == {"file"}
    assert (tmp_path / "file").read_text() == "mine"


def test_fuse_and_score_do_not_overwrite_other_results(finished, copy, tmp_path):
    command = ["fuse.py", "--replicates", 0, "--no-report", "--run_folder"]
    assert run([*command, finished], cwd=tmp_path).code == 0
    before = checksums(tmp_path / "results")
    for more in ([copy], [finished, "--prior", 0.1], [finished, "--names", "first-tuned"]):
        assert "--output_folder" in refused(run([*command, *more], cwd=tmp_path))
        assert checksums(tmp_path / "results") == before
    model = tmp_path / "results" / "fusion" / "fusion_model.json"
    scores = [finished / "scores" / name / "test.txt" for name in ("first", "second")]
    apply = ["fuse.py", "--apply", model, "--test", *scores]
    assert "--output_folder" in refused(run(apply, cwd=tmp_path))
    assert checksums(tmp_path / "results") == before
    assert run([*command, finished], cwd=tmp_path).code == 0, "its own it may"
    before = checksums(copy)
    into = ["--run_folder", finished, "--output_folder", copy, "--device", "cpu"]
    refused(run(["-m", "acorl_sb.cli.score", "hparams/score.yaml", *into]))
    assert checksums(copy) == before


@pytest.mark.parametrize("limit", [1000, 3000, 20_000, 60_000])
def test_a_full_disk_is_one_sentence_and_harms_nothing(copy, speech, limit):
    """No file may grow beyond ``limit`` bytes, so that the log, the YAML, a checkpoint fails."""
    shutil.rmtree(copy / "members" / "second")
    before = checksums(copy / "members")
    with started(training(speech, copy)) as process:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        process.join(120)
        said = Path(process.stderr).read_text()
    assert process.exitcode == 2 and "Traceback" not in said, said[-3000:]
    assert said.count("error: ") == 1 and str(copy) in said.splitlines()[-1]
    after = checksums(copy / "members")
    assert {name: after[name] for name in before} == before
    assert not list(copy.rglob("partial")) and not list(copy.rglob(".*.ckpt"))
    if limit == 20_000:
        done = run(training(speech, copy))
        assert done.code == 0, done.stderr[-2000:]
