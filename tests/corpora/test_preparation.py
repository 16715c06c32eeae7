"""From folder to manifests and trials: disjoint, repeatable, redone only when something changed."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import pytest

from acorl_sb import corpora
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trials import read_trials
from acorl_sb.utils.errors import UserError

FILES = [f"spk{s}/day{t}/{k}.wav" for s in range(8) for t in range(2) for k in range(2)]


def contents(splits):
    return [path.read_bytes() for path in splits]


def test_the_splits_are_disjoint_and_their_trials_are_theirs(audio_tree, tmp_path):
    splits = corpora.prepare("folder", audio_tree("data", FILES), tmp_path / "out")
    assert [path.name for path in splits] == [
        "train.csv",
        "dev.csv",
        "test.csv",
        "dev_trials.txt",
        "test_trials.txt",
    ]
    parts = [corpora.read_manifest(path) for path in splits[:3]]
    speakers = [{u.spk_id for u in part} for part in parts]
    assert [len(names) for names in speakers] == [4, 2, 2]
    assert len(set.union(*speakers)) == 8
    for part, path in zip(parts[1:], splits[3:], strict=True):
        speaker = {u.id: u.spk_id for u in part}
        session = {u.id: u.session for u in part}
        trials = read_trials(path)
        for enrol, test, target in zip(trials.enrol, trials.test, trials.labels, strict=True):
            a, b = trials.ids[enrol], trials.ids[test]
            assert target == (speaker[a] == speaker[b])
            assert not target or session[a] != session[b]


def test_sizes_can_be_chosen(audio_tree, tmp_path):
    splits = corpora.prepare(
        "folder", audio_tree("data", FILES), tmp_path / "out", dev_speakers=3, test_speakers=3
    )
    counts = [len({u.spk_id for u in corpora.read_manifest(path)}) for path in splits[:3]]
    assert counts == [2, 3, 3]


def test_one_seed_repeats_and_another_differs(audio_tree, tmp_path):
    data = audio_tree("data", FILES)
    first, again, other = (
        contents(corpora.prepare("folder", data, tmp_path / name, seed=seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again and first != other


def test_a_rerun_does_nothing(audio_tree, tmp_path, monkeypatch):
    data = audio_tree("data", FILES)
    splits = corpora.prepare("folder", data, tmp_path / "out")
    before = [path.stat().st_mtime_ns for path in splits]
    monkeypatch.setattr("acorl_sb.corpora.folder.collect", fail_like(corpora.folder.collect))
    assert corpora.prepare("folder", data, tmp_path / "out") == splits
    assert [path.stat().st_mtime_ns for path in splits] == before


def fail_like(function):
    """A stand-in with the options of ``function`` that must not be called."""

    def collect(data_folder):
        raise AssertionError("prepared again")

    assert collect.__code__.co_varnames[:1] == function.__code__.co_varnames[:1]
    return collect


def test_the_output_may_lie_in_the_data_folder(audio_tree):
    data = audio_tree("data", FILES)
    splits = corpora.prepare("folder", data, data / "out")
    before = [path.stat().st_mtime_ns for path in splits]
    assert corpora.prepare("folder", data, data / "out") == splits
    assert [path.stat().st_mtime_ns for path in splits] == before


@pytest.mark.parametrize("change", ["seed", "data", "removed", "edited", "record"])
def test_a_change_prepares_again(audio_tree, tmp_path, change):
    data = audio_tree("data", FILES)
    splits = corpora.prepare("folder", data, tmp_path / "out")
    before = contents(splits)
    seed = 0
    if change == "seed":
        seed = 1
    elif change == "data":
        audio_tree("data", ["spk9/day0/0.wav"])
    elif change == "removed":
        splits.dev.unlink()
    elif change == "edited":
        splits.test_trials.write_text("1 a b\n")
    elif change == "record":
        (tmp_path / "out" / "prepared.json").write_text("{")
    corpora.prepare("folder", data, tmp_path / "out", seed=seed)
    after = contents(splits)
    assert (after == before) == (change in ("removed", "edited", "record"))


def test_a_failure_leaves_the_finished_preparation(audio_tree, tmp_path):
    data = audio_tree("data", FILES)
    splits = corpora.prepare("folder", data, tmp_path / "out")
    before = contents(splits)
    (data / "spk0" / "day0" / "0.wav").write_text("no audio")
    with pytest.raises(UserError, match=r"0.wav"):
        corpora.prepare("folder", data, tmp_path / "out")
    assert contents(splits) == before


def test_files_that_a_member_was_trained_on_are_not_replaced(audio_tree, tmp_path):
    data, out = audio_tree("data", FILES), tmp_path / "out"
    splits = corpora.prepare("folder", data, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match=r"'first'.*seed"):
        corpora.prepare("folder", data, out, seed=1, trained_on_it="first")
    audio_tree("data", ["spk0/day0/more.wav"])
    with pytest.raises(UserError, match=r"'first'.*data"):
        corpora.prepare("folder", data, out, trained_on_it="first")
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    (data / "spk0" / "day0" / "more.wav").unlink()
    splits.train.unlink()  # the very same file is made again
    corpora.prepare("folder", data, out, trained_on_it="first")
    assert contents(splits) == [before[path] for path in splits]


def test_unknown_corpora_and_options_are_named(tmp_path):
    with pytest.raises(UserError, match="'timit'"):
        corpora.prepare("timit", tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="'listing'"):
        corpora.prepare("listing", tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="'speed'"):
        corpora.prepare("folder", tmp_path, tmp_path / "out", speed=2)
    with pytest.raises(UserError, match=r"'voices'.*n_voi"):
        corpora.prepare("voices", tmp_path, tmp_path / "out", voices=2)


@pytest.mark.parametrize("corpus", ["folder", "librispeech", "speechocean762"])
def test_missing_and_empty_folders_are_named(tmp_path, corpus):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for folder, where in [
        (None, None),
        (tmp_path / "none", "none"),
        (tmp_path / "empty", "empty"),
        (tmp_path / "file", "file"),
    ]:
        with pytest.raises(UserError, match=where):
            corpora.prepare(corpus, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def toy(monkeypatch):
    """A corpus that is nothing but a module of one's own."""
    module = types.ModuleType("toy")
    monkeypatch.setitem(sys.modules, "toy", module)
    return module


def utterances(split, speakers, count=2):
    return [
        Utterance(f"{split}{s}-{k}", 1.0, f"/{s}/{k}.wav", 0, 16000, f"{split}{s}")
        for s in range(speakers)
        for k in range(count)
    ]


def test_official_splits_are_kept(toy, tmp_path):
    found = corpora.Corpus(utterances("a", 5), utterances("b", 2), utterances("c", 3))
    toy.collect = lambda data_folder: found
    splits = corpora.prepare("toy", None, tmp_path)
    assert corpora.read_manifest(splits.train) == found.train
    assert corpora.read_manifest(splits.dev) == found.dev
    assert corpora.read_manifest(splits.test) == found.test


def test_held_out_speakers_keep_a_limited_number_of_utterances(toy, tmp_path):
    found = corpora.Corpus(utterances("a", 9, 10), test=utterances("c", 3, 10))
    toy.collect = lambda data_folder: found
    splits = corpora.prepare("toy", None, tmp_path, dev_speakers=2, utterances_per_speaker=4)
    train, dev, test = (corpora.read_manifest(path) for path in splits[:3])
    # The corpus's own test set stays as it is.
    assert (len(train), len(dev), len(test)) == (70, 8, 30)


def test_overlapping_official_splits_are_refused(toy, tmp_path):
    found = corpora.Corpus(utterances("a", 5), utterances("b", 3), utterances("a", 3))
    toy.collect = lambda data_folder: found
    with pytest.raises(UserError):
        corpora.prepare("toy", None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_training_speakers_with_one_utterance_leave_the_test_speakers_to_be_shared(toy, tmp_path):
    toy.collect = lambda data_folder: corpora.Corpus(
        train=utterances("a", 9, count=1), test=utterances("c", 7)
    )
    splits = corpora.prepare("toy", None, tmp_path)
    counts = [len({u.spk_id for u in corpora.read_manifest(path)}) for path in splits[:3]]
    assert counts == [9, 3, 4]


@pytest.mark.parametrize(
    ("found", "sizes"),
    [
        (corpora.Corpus(utterances("a", 5)), {}),
        (corpora.Corpus(utterances("a", 9)), {"test_speakers": 8}),
        (corpora.Corpus(utterances("a", 9)), {"dev_speakers": 1}),
        (corpora.Corpus(utterances("a", 9, 1)), {}),
        (corpora.Corpus(utterances("a", 1), utterances("b", 2), utterances("c", 2)), {}),
        (corpora.Corpus(utterances("a", 9), utterances("b", 2), utterances("c", 1)), {}),
        (corpora.Corpus(utterances("a", 9), utterances("b", 2), utterances("c", 2, 1)), {}),
    ],
)
def test_too_few_speakers_are_counted(toy, tmp_path, found, sizes):
    toy.collect = lambda data_folder: found
    with pytest.raises(UserError):
        corpora.prepare("toy", None, tmp_path / "out", **sizes)
    assert not (tmp_path / "out").exists()


def test_further_corpora_train_under_names_of_their_own(audio_tree, tmp_path):
    data = audio_tree("data", FILES)
    more = audio_tree("more", [f"spk{s}/{k}.wav" for s in range(3) for k in range(2)])
    options = {"more_training": {"folder": more}, "dev_speakers": 2, "test_speakers": 2}
    splits = corpora.prepare("folder", data, tmp_path / "out", **options)
    alone = corpora.prepare("folder", data, tmp_path / "alone", dev_speakers=2, test_speakers=2)
    assert contents(splits)[1:] == contents(alone)[1:]  # nobody of them develops or tests
    train, own = (corpora.read_manifest(paths.train) for paths in (splits, alone))
    assert train[: len(own)] == [replace(u, attributes={"corpus": "folder"}) for u in own]
    assert {u.spk_id for u in train[len(own) :]} == {"folder-spk0", "folder-spk1", "folder-spk2"}
    assert len(train) == len(own) + 6

    (more / "spk2" / "1.wav").unlink()  # is noticed like a change of the data folder itself
    again = corpora.prepare("folder", data, tmp_path / "out", **options)
    assert len(corpora.read_manifest(again.train)) == len(own) + 5


def test_with_further_corpora_the_manifest_says_of_which_one_an_utterance_is(
    toy, audio_tree, tmp_path
):
    more = audio_tree("more", ["spk0/0.wav", "spk1/0.wav"])
    rows = utterances("a", 5)
    rows[:2] = [replace(u, attributes={"corpus": "its own", "room": "big"}) for u in rows[:2]]
    toy.collect = lambda data_folder: corpora.Corpus(
        list(rows), utterances("b", 2), utterances("c", 2)
    )
    for key in ("more_training", "more_unlabelled"):
        splits = corpora.prepare("toy", None, tmp_path / key, **{key: {"folder": more}})
        train = corpora.read_manifest(splits.train)
        said = ["its own"] * 2 + ["toy"] * 8 + ["folder"] * 2
        assert [u.attributes["corpus"] for u in train] == said
        assert train[0].attributes["room"] == "big"


def test_long_training_utterances_are_cut_and_others_are_not(audio_tree, tmp_path):
    data = audio_tree("data", FILES)  # 0.1 s each
    whole = corpora.prepare("folder", data, tmp_path / "whole")
    cut = corpora.prepare("folder", data, tmp_path / "cut", segment_seconds=0.04)
    assert contents(whole)[1:] == contents(cut)[1:]
    pieces, utterances = (corpora.read_manifest(paths.train) for paths in (cut, whole))
    assert len(pieces) == 2 * len(utterances)
    assert [(u.start, u.stop) for u in pieces[:2]] == [(0, 800), (800, 1600)]
    assert {u.duration for u in pieces} == {0.05}
    assert len({u.id for u in pieces}) == len(pieces)


def test_a_segment_of_no_length_is_refused(audio_tree, tmp_path):
    with pytest.raises(UserError, match="segment_seconds"):
        corpora.prepare("folder", audio_tree("data", FILES), tmp_path, segment_seconds=0)
