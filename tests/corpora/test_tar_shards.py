"""Tar shards, as webdataset writes them, as a corpus: the same samples, and what is refused."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
import soundfile
import webdataset

from acorl_sb.corpora import folder as folders_of_speakers
from acorl_sb.corpora import prepare, read_manifest
from acorl_sb.corpora import tar_shards as corpus
from acorl_sb.data.audio import read_audio
from acorl_sb.training.dataset import CropDataset, StepBatches
from acorl_sb.training.samplers import StepSampler
from acorl_sb.utils.errors import UserError
from tests import tiny


@pytest.fixture
def speech(tmp_path):
    return tiny.hums(tmp_path / "speech", speakers=8, each=3, seconds=0.6)


def key_of(utterance):
    return utterance.id.replace("-", "/")


@pytest.fixture
def shards(tmp_path, speech):
    """The speech in shards of five, written by webdataset."""
    (tmp_path / "shards").mkdir()
    pattern = str(tmp_path / "shards" / "%03d.tar")
    with webdataset.ShardWriter(pattern, maxcount=5, verbose=0) as writer:
        for u in speech:
            known = {"speaker": u.spk_id, "session": "day1", "gender": "f"}
            with open(u.wav, "rb") as file:
                writer.write({"__key__": key_of(u), "wav": file.read(), "json": known})
    return tmp_path / "shards"


def test_samples_are_those_of_the_files(speech, shards):
    found = corpus.collect(shards).train
    assert [(u.id, u.spk_id, u.session, u.gender) for u in found] == [
        (key_of(u), u.spk_id, "day1", "f") for u in speech
    ]
    for one, other in zip(found, speech, strict=True):
        assert one.stop == other.stop
        np.testing.assert_array_equal(read_audio(one.wav), read_audio(other.wav))
        np.testing.assert_array_equal(read_audio(one.wav, 33, 99), read_audio(other.wav, 33, 99))


def test_batches_are_the_same_bits_from_shards_at_every_step_and_after_a_stop(speech, shards):
    """A step's random state is its number alone, so a killed run goes on to the same crops."""
    made = []
    for utterances in (speech, corpus.collect(shards).train):
        data = CropDataset(utterances, list(range(len(utterances))), 0.3, seed=3)
        sampler = StepSampler(len(data), batch_size=6, steps_per_epoch=4, seed=3)
        sampler.seek(epoch=2, step=1)  # as a run that was stopped there
        batches = StepBatches(data, sampler)
        made.append([batches(step) for step in range(6, 10)])
    for one, other in zip(*made, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_folder_corpus_may_be_put_into_a_tar_as_it_is(speech, tmp_path):
    (tmp_path / "plain").mkdir()
    with tarfile.open(tmp_path / "plain" / "all.tar", "w") as shard:
        shard.add(tmp_path / "speech", arcname=".")
    by_file = folders_of_speakers.collect(tmp_path / "speech").train
    found = corpus.collect(tmp_path / "plain").train
    assert sorted((u.id, u.spk_id) for u in found) == sorted((u.id, u.spk_id) for u in by_file)
    splits = prepare("shards", tmp_path / "plain", tmp_path / "manifest", dev_speakers=2)
    for path in (splits.train, splits.dev, splits.test):
        for utterance in read_manifest(path):
            assert len(read_audio(utterance.wav, 0, utterance.stop)) == utterance.stop


def sound(form="WAV", samples=8000):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).uniform(-0.1, 0.1, samples), 16000, format=form)
    return file.getvalue()


def tar(path, files, mode="w"):
    with tarfile.open(path, mode) as shard:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            shard.addfile(entry, io.BytesIO(data))


def test_speakers_are_told_by_json_cls_or_folder(tmp_path):
    flac = sound("FLAC")
    files = [("a.flac", flac), ("a.cls", b"ann\n"), ("x/bob/u.flac", flac), ("b.flac", flac)]
    files += [("b.json", b'{"speaker": 7, "text": "hello"}'), ("README", b"no sample")]
    tar(tmp_path / "s.tar", files)
    found = {u.id: (u.spk_id, u.session) for u in corpus.collect(tmp_path).train}
    assert found == {"a": ("ann", ""), "x/bob/u": ("x", "bob"), "b": ("7", "")}


BAD = {
    "no speaker": [("a.wav", sound())],
    "not JSON": [("a.wav", sound()), ("a.json", b"{")],
    "a list": [("a.wav", sound()), ("a.json", b"[1]")],
    "gender": [("a/b.wav", sound()), ("a/b.json", b'{"gender": "x"}')],
    "two of a key": [("a/b.wav", sound()), ("a/b.flac", sound("FLAC"))],
    "no audio": [("a/b.txt", b"hello")],
    "text as audio": [("a/b.wav", b"hello" * 99)],
    "too short": [("a/b.wav", sound(samples=100))],
    "two keys of one ID": [("a/b.wav", sound()), ("a/b .wav", sound())],
}


@pytest.mark.parametrize("files", BAD.values(), ids=BAD)
def test_a_shard_that_is_wrong_is_named(tmp_path, files):
    tar(tmp_path / "bad.tar", files)
    with pytest.raises(UserError, match=r"bad\.tar"):
        corpus.collect(tmp_path)


@pytest.mark.parametrize("keep", [100, 5000, 16500])
def test_a_shard_that_is_cut_off_or_packed_is_named(tmp_path, keep):
    tar(tmp_path / "bad.tar", [("a/b.wav", sound()), ("a/c.wav", sound())])
    data = (tmp_path / "bad.tar").read_bytes()
    (tmp_path / "bad.tar").write_bytes(data[:keep])
    with pytest.raises(UserError, match=r"bad\.tar"):
        corpus.collect(tmp_path)
    tar(tmp_path / "bad.tar", [("a/b.wav", sound())], "w:gz")
    with pytest.raises(UserError, match=r"bad\.tar"):
        corpus.collect(tmp_path)


def test_the_same_key_in_two_shards_and_a_folder_without_shards(tmp_path):
    for name in ("one", "two"):
        tar(tmp_path / f"{name}.tar", [("a/b.wav", sound())])
    with pytest.raises(UserError, match=r"two\.tar.*one\.tar"):
        corpus.collect(tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"{name}.tar").rename(tmp_path / f"{name}.tgz")
    with pytest.raises(UserError, match=tmp_path.name):
        corpus.collect(tmp_path)
    splits = [tmp_path / name for name in ("train", "test")]
    for number, folder in enumerate(splits):
        folder.mkdir()
        tar(folder / "s.tar", [(f"a/{number}.wav", sound())])
    found = corpus.collect(tmp_path)
    assert ([u.id for u in found.train], [u.id for u in found.test]) == (["a/0"], ["a/1"])
