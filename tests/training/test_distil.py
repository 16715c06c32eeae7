"""``acorl distil``: the teachers of a finished run, and a student that is a complete member."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch

from acorl_sb import corpora
from acorl_sb.cli import distil, train
from acorl_sb.data.manifest import read_manifest
from acorl_sb.encoders.member_folder import load_member
from acorl_sb.training.distil import LISTS, teachers, train_arguments
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils.errors import UserError
from tests.tiny import hums

SMALL = [
    *("--channels", "8", "--embedding_dim", "16", "--batch_size", "8", "--epochs", "1"),
    *("--epoch_steps", "2", "--crop_seconds", "0.4", "--augment", "null", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A finished run of two members, of few channels and steps, on hums."""
    root = tmp_path_factory.mktemp("distil")
    hums(root / "data")
    out = root / "run"
    data = ["--corpus", "folder", "--data_folder", str(root / "data"), "--dev_seconds", "0.4"]
    data += ["--prepare_options", "{dev_speakers: 2, test_speakers: 2}", "--score_seconds", "0.4"]
    words = ["hparams/acorl_scratch.yaml", *SMALL, *data, "--output_folder", str(out)]
    assert train.main(words) == 0
    return out


def test_the_student_is_a_member_like_any_other(run_folder):
    assert distil.main(["--run_folder", str(run_folder), *SMALL]) == 0
    out = run_folder / "distilled"
    record = json.loads((out / "members" / "student" / "member.json").read_text())
    assert list(record["settings"]["references"]) == ["first", "second"]
    log = [
        json.loads(x) for x in (out / "members/student/train_log.jsonl").read_text().splitlines()
    ]
    assert {"embedding_loss", "score_loss", "posterior_loss"} <= log[-1].keys()
    encoder = load_member(out / "members" / "student")
    assert encoder(torch.randn(2, 8000)).shape == (2, 16)
    systems = json.loads((out / "results.json").read_text())["systems"]
    assert [row["name"] for row in systems if row["kind"] == "member"] == [
        "first",
        "second",
        "student",
    ]
    # Same corpus, same splits.
    for name in ("train.csv", "test_trials.txt"):
        assert (out / "manifest" / name).read_bytes() == (
            run_folder / "manifest" / name
        ).read_bytes()


@pytest.fixture
def tried(run_folder, tmp_path):
    """The run as if it had been tried on lists of the user's own."""
    out, lists = tmp_path / "run", {key: tmp_path / f"my_{key}.txt" for key in LISTS}
    lists["trials"].write_text("1 s4/u0 s4/u1\n0 s4/u0 s1/u0\n")
    lists["dev_trials"].write_text("1 s2/u0 s2/u1\n0 s2/u0 s5/u0\n")
    shutil.copytree(run_folder / "members", out / "members")
    text = (run_folder / "hyperparams.yaml").read_text()
    for key, path in lists.items():
        text, count = re.subn(rf"(?m)^{key}:.*$", f"{key}: {path}", text)
        assert count == 1
    (out / "hyperparams.yaml").write_text(text)
    own = {part: lists[key] for key, part in LISTS.items()}
    corpora.prepare("folder", run_folder.parent / "data", out / "manifest", own_trials=own)
    return out, lists


def speakers(out):
    return [
        {u.spk_id for u in read_manifest(out / "manifest" / f"{part}.csv")}
        for part in ("train", "dev", "test")
    ]


@pytest.mark.filterwarnings("ignore::acorl_sb.fusion.checks.FusionWarning")
def test_the_student_is_tried_on_the_runs_own_trials(tried):
    out, _ = tried
    assert distil.main(["--run_folder", str(out), *SMALL]) == 0
    assert (
        speakers(out / "distilled") == speakers(out) == [{"s0", "s3"}, {"s2", "s5"}, {"s1", "s4"}]
    )
    for name in ("dev_trials.txt", "test_trials.txt"):
        now, then = (folder / "manifest" / name for folder in (out / "distilled", out))
        assert now.read_bytes() == then.read_bytes()


@pytest.mark.parametrize("key", ["trials", "dev_trials"])
@pytest.mark.parametrize("change", ["gone", "another"])
def test_a_list_that_is_not_the_runs_any_more_must_be_said(tried, tmp_path, key, change):
    out, lists = tried
    old, moved = lists[key], tmp_path / "moved.txt"
    old.rename(moved)
    if change == "another":
        old.write_text("1 s0/u0 s0/u1\n0 s0/u0 s3/u0\n")
    with pytest.raises(UserError, match=rf"\b{key}\b.*{old.name}"):
        distil.main(["--run_folder", str(out), *SMALL])
    assert not (out / "distilled").exists()
    for word in (f"--{key}={moved}", f"--{key}=null"):
        assert [w for w in train_arguments(out, [word]) if w.startswith(f"--{key}=")] == [word]


def test_lists_of_the_run_are_none_of_another_corpus(tried):
    out, lists = tried
    lists["trials"].unlink()
    for word in ("--corpus=librispeech", "--data_folder=other"):
        made = train_arguments(out, [word])
        assert not any(w.startswith(("--trials", "--dev_trials")) for w in made)


def test_what_is_said_goes_before_what_the_run_says(run_folder):
    argv = train_arguments(run_folder, ["mine.yaml", "--seed=5", "--output_folder", "x"])
    assert argv[:4] == ["mine.yaml", "--seed=5", "--output_folder", "x"]
    keys = [word.partition("=")[0] for word in argv[4:]]
    assert "--seed" not in keys and "--output_folder" not in keys
    assert {"--references", "--corpus", "--data_folder", "--dev_seconds"} <= set(keys)
    references, settings = teachers(run_folder)
    assert [reference["name"] for reference in references] == ["first", "second"]
    assert settings["corpus"] == "folder" and settings["dev_seconds"] == 0.4


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "run_folder"),
        (["--run_folder"], "run_folder"),
        (["--run_folder", "a", "--run_folder=b"], "run_folder"),
        (["--run_folder", "nowhere"], "nowhere"),
    ],
)
def test_faults_are_named(argv, named):
    with pytest.raises(UserError, match=named):
        distil.main(argv)


def test_a_run_that_is_not_finished_or_has_unnamed_teachers(tmp_path):
    yaml = tmp_path / "hyperparams.yaml"
    yaml.write_text("members: [{name: one}]\n")
    with pytest.raises(UserError, match="one"):
        teachers(tmp_path)
    yaml.write_text("references: [{name: ge2e, encoder: {a: 1}}]\n")
    with pytest.raises(UserError, match="ge2e"):
        teachers(tmp_path)
    yaml.write_text("seed: 1\n")
    with pytest.raises(UserError, match="hyperparams"):
        teachers(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "corpus: '!apply:pathlib.Path.touch [!new:pathlib.Path [RAN]]'",
        "corpus: !apply:pathlib.Path.touch [!new:pathlib.Path [RAN]]",
        "data_folder: '(!!python/object/apply:os.mkdir [RAN])'",
        "prepare_options: {a: ['(!!python/object/apply:os.mkdir [RAN])']}",
    ],
)
def test_no_value_of_the_run_becomes_code(tmp_path, line):
    ran = tmp_path / "ran"
    (tmp_path / "hyperparams.yaml").write_text(
        f"references: [{{name: a, source: {tmp_path}}}]\n{line.replace('RAN', str(ran))}\n"
    )
    with pytest.raises(UserError):
        distil.main(["--run_folder", str(tmp_path), "--device", "cpu"])
    assert not ran.exists()


def test_a_run_cannot_ask_for_a_corpus_of_its_own(tmp_path, monkeypatch):
    """A module in the working folder is on Python's path with ``python -m``."""
    (tmp_path / "brought.py").write_text(
        "import pathlib\npathlib.Path(__file__ + '.ran').touch()\n"
    )
    (tmp_path / "hyperparams.yaml").write_text(
        f"references: [{{name: a, source: {tmp_path}}}]\ncorpus: brought\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"hyperparams\.yaml.*'brought'"):
        distil.main(["--run_folder", str(tmp_path), "--device", "cpu"])
    assert not (tmp_path / "brought.py.ran").exists()
    assert "--corpus=brought" in train_arguments(tmp_path, ["--corpus=brought"])


@pytest.mark.parametrize("key", ["more_training", "more_unlabelled"])
def test_nor_for_a_further_one(tmp_path, monkeypatch, key):
    (tmp_path / "brought.py").write_text(
        "import pathlib\npathlib.Path(__file__ + '.ran').touch()\n"
    )
    options = f"{{{key}: {{folder: {tmp_path}, brought: null}}}}"
    (tmp_path / "hyperparams.yaml").write_text(
        f"references: [{{name: a, source: {tmp_path}}}]\ncorpus: voices\n"
        f"prepare_options: {options}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"hyperparams\.yaml.*'brought'"):
        distil.main(["--run_folder", str(tmp_path), "--device", "cpu"])
    assert not (tmp_path / "brought.py.ran").exists()
    # The user's own words may name it.
    said = f"--prepare_options={options}"
    assert [w for w in train_arguments(tmp_path, [said]) if "brought" in w] == [said]
    if key == "more_unlabelled":
        made = train_arguments(tmp_path, [], "{brought: null}")
        assert '--prepare_options={"more_unlabelled": {"brought": null}}' in made


def test_options_of_a_run_that_are_none_are_named(tmp_path):
    (tmp_path / "hyperparams.yaml").write_text(
        f"references: [{{name: a, source: {tmp_path}}}]\nprepare_options: [more_training]\n"
    )
    for more in (None, "{librispeech: null}"):
        with pytest.raises(UserError, match=r"hyperparams\.yaml.*prepare_options"):
            train_arguments(tmp_path, [], more)


def test_a_run_cannot_ask_for_trust(tmp_path):
    (tmp_path / "hyperparams.yaml").write_text(
        f"references: [{{name: a, source: {tmp_path}, trust: true}}]\n"
    )
    with pytest.raises(UserError, match="trust"):
        teachers(tmp_path)


def test_unlabelled_speech_teaches_without_being_classes(run_folder, tmp_path):
    hums(tmp_path / "more", speakers=3, each=2)
    out = tmp_path / "student"
    more = f"--more_unlabelled={{folder: {tmp_path / 'more'}}}"
    # Of another corpus, since speakers of the very same may be held out.
    with pytest.raises(UserError, match="more_unlabelled"):
        distil.main(["--run_folder", str(run_folder), more, *SMALL, "--output_folder", str(out)])
    as_kaldi(tmp_path / "more", tmp_path / "kaldi")
    more = f"--more_unlabelled={{kaldi: {tmp_path / 'kaldi'}}}"
    words = ["--run_folder", str(run_folder), more, *SMALL, "--output_folder", str(out)]
    assert distil.main(words) == 0
    train = read_manifest(out / "manifest" / "train.csv")
    marked = [u for u in train if u.attribute("unlabelled")]
    assert len(marked) == 6 and all(u.spk_id.startswith("kaldi-") for u in marked)
    data = TrainingSet(train, lambda encoder: 0.1)
    assert data.labels.count(-1) == 6
    assert data.classes == sorted({u.spk_id for u in train if u not in marked})
    record = json.loads((out / "members" / "student" / "member.json").read_text())
    assert record["settings"]["training"]["prepare_options"]["more_unlabelled"]


def test_a_plain_member_refuses_unlabelled_speech(run_folder, tmp_path):
    hums(tmp_path / "more", speakers=3, each=2)
    as_kaldi(tmp_path / "more", tmp_path / "kaldi")
    options = f"{{dev_speakers: 2, test_speakers: 2, more_unlabelled: {{kaldi: {tmp_path}/kaldi}}}}"
    words = ["hparams/acorl_ecapa.yaml", *SMALL, "--corpus", "folder", "--prepare_options", options]
    words += ["--data_folder", str(run_folder.parent / "data")]
    with pytest.raises(UserError, match="more_unlabelled"):
        train.main([*words, "--output_folder", str(tmp_path / "out")])


@pytest.mark.parametrize("more", ["", "librispeech", "[a]", "{a: 1}", "{"])
def test_a_more_unlabelled_of_another_form_is_named(run_folder, more):
    with pytest.raises(UserError, match="more_unlabelled"):
        distil.main(["--run_folder", str(run_folder), f"--more_unlabelled={more}"])


def as_kaldi(source, kaldi):
    """A folder of speakers as a corpus of Kaldi's form."""
    kaldi.mkdir()
    files = sorted(source.rglob("*.wav"))
    names = [f"{p.parent.name}-{p.stem}" for p in files]
    wav = "".join(f"{n} {p}\n" for n, p in zip(names, files, strict=True))
    (kaldi / "wav.scp").write_text(wav)
    (kaldi / "utt2spk").write_text("".join(f"{n} {n.split('-')[0]}\n" for n in names))
