"""Held-out speech is told by its files and stretches, under whatever name it comes again."""

from __future__ import annotations

import pytest

from acorl_sb import corpora
from acorl_sb.corpora.overlap import HeldOut
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError

FILES = [f"spk{s}/{k}.wav" for s in range(8) for k in range(3)]


def stretch(wav, start, stop):
    return Utterance(f"{wav}-{start}", (stop - start) / 16000, str(wav), start, stop, "a")


def as_kaldi(folder, files):
    folder.mkdir()
    names = [f"{p.parent.name}-{p.stem}" for p in files]
    rows = zip(names, files, strict=True)
    (folder / "wav.scp").write_text("".join(f"{name} {p}\n" for name, p in rows))
    (folder / "utt2spk").write_text("".join(f"{name} {name.split('-')[0]}\n" for name in names))
    return folder


@pytest.mark.parametrize("key", ["more_training", "more_unlabelled"])
def test_held_out_speech_does_not_train_under_another_name(audio_tree, tmp_path, key):
    data = audio_tree("data", FILES)
    further = {"kaldi": as_kaldi(tmp_path / "kaldi", sorted(data.rglob("*.wav")))}
    with pytest.raises(UserError, match=rf"{key}.*kaldi.*\.wav"):
        corpora.prepare("folder", data, tmp_path / "out", **{key: further})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("by", ["itself", "folder link", "file links"])
def test_nor_do_the_corpuss_own_files(audio_tree, tmp_path, by):
    data = audio_tree("data", FILES)
    more = data if by == "itself" else tmp_path / "more"
    if by == "folder link":
        more.symlink_to(data)
    elif by == "file links":
        for i, file in enumerate(FILES):  # names do not tell either
            link = more / f"other{i // 3}" / f"{i}.wav"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(data / file)
    with pytest.raises(UserError, match=r"more_training.*\.wav"):
        corpora.prepare("folder", data, tmp_path / "out", more_training={"folder": more})
    assert not (tmp_path / "out").exists()


def test_nor_does_what_own_trials_name(audio_tree, tmp_path):
    data, trials = audio_tree("data", FILES), tmp_path / "trials.txt"
    trials.write_text("1 spk0/0 spk0/1\n0 spk0/0 spk1/2\n")
    options = {"own_trials": {"test": trials}, "dev_speakers": 2}
    alone = corpora.prepare("folder", data, tmp_path / "alone", **options)
    train = [u.wav for u in corpora.read_manifest(alone.train)]
    own = as_kaldi(tmp_path / "own", [tmp_path / wav for wav in train])
    # What trains already may train twice.
    corpora.prepare("folder", data, tmp_path / "out", **options, more_training={"kaldi": own})
    with_test = as_kaldi(tmp_path / "with", [data / "spk0" / "1.wav", data / "spk1" / "0.wav"])
    with pytest.raises(UserError, match=r"spk0/1\.wav"):
        corpora.prepare(
            "folder", data, tmp_path / "none", **options, more_training={"kaldi": with_test}
        )


def test_a_file_may_be_shared_where_its_stretches_are_not(tmp_path):
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    held = HeldOut({"test": [stretch(a, 1000, 2000)], "development": [stretch(b, 0, 500)]})
    fine = [stretch(a, 0, 1000), stretch(a, 2000, 3000), stretch(b, 500, 900)]
    held.refuse([*fine, stretch(tmp_path / "c.wav", 0, 3000)], "further")
    for u in (stretch(a, 1999, 3000), stretch(a, 0, 3000), stretch(a, 0, 1001)):
        with pytest.raises(UserError, match=r"^further.*a\.wav.*test"):
            held.refuse([*fine, u], "further")
    with pytest.raises(UserError, match=r"b\.wav.*development"):
        held.refuse([stretch(f"{tmp_path}/x/../b.wav", 499, 600)], "further")


def test_places_in_a_shard_are_files_of_their_own(tmp_path):
    (tmp_path / "b.tar").symlink_to(tmp_path / "a.tar")
    held = HeldOut({"test": [stretch(f"{tmp_path}/a.tar#512+32044", 0, 1000)]})
    held.refuse([stretch(f"{tmp_path}/b.tar#33280+32044", 0, 1000)], "further")
    with pytest.raises(UserError, match=r"b\.tar"):
        held.refuse([stretch(f"{tmp_path}/b.tar#512+32044", 0, 1000)], "further")
