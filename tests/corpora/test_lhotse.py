"""Lhotse's manifests, as Lhotse writes them, as a corpus; and what is refused."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet

from acorl_sb.corpora import lhotse as corpus
from acorl_sb.utils.errors import UserError


@pytest.fixture
def made(tmp_path):
    """Two recordings of two seconds; two utterances in the first, one in the other."""
    recordings = []
    for number, name in enumerate("ab"):
        samples = np.random.default_rng(number).uniform(-0.1, 0.1, 16000)
        soundfile.write(tmp_path / f"{name}.wav", samples, 8000)
        recordings.append(Recording.from_file(tmp_path / f"{name}.wav"))
    more = {"language": "English", "gender": "female", "custom": {"age": 9, "list": [1]}}
    spoken = [
        SupervisionSegment("a-1", "a", 0.25, 0.5, speaker="ann", **more),
        SupervisionSegment("a-2", "a", 1.0, 1.0, speaker="bob"),
        SupervisionSegment("b-1", "b", 0.0, 2.0, speaker="ann", **more),
    ]
    return RecordingSet.from_recordings(recordings), SupervisionSet.from_segments(spoken)


def found(utterances):
    return {u.id: (u.spk_id, u.session, u.start, u.stop, u.wav[-5:]) for u in utterances}


SPANS = {
    "a-1": ("ann", "a", 4000, 12000, "a.wav"),
    "a-2": ("bob", "a", 16000, 32000, "a.wav"),
    "b-1": ("ann", "b", 0, 32000, "b.wav"),
}


def test_recordings_and_supervisions(made, tmp_path):
    made[0].to_file(tmp_path / "x_recordings.jsonl.gz")
    made[1].to_file(tmp_path / "x_supervisions.jsonl.gz")
    utterances = corpus.collect(tmp_path).train
    assert found(utterances) == SPANS
    first, second, _ = utterances
    assert first.gender == "f" and second.gender == ""
    assert dict(first.attributes) == {"language": "English", "age": "9"}


def test_cuts_mean_the_same_whether_whole_or_trimmed(made, tmp_path):
    cuts = CutSet.from_manifests(*made)
    cuts.to_file(tmp_path / "whole.jsonl")
    cuts.trim_to_supervisions().to_file(tmp_path / "trimmed.jsonl.gz")
    for name in ("whole.jsonl", "trimmed.jsonl.gz"):
        assert found(corpus.collect(tmp_path / name).train) == SPANS


def test_parts_are_splits(made, tmp_path):
    cuts = CutSet.from_manifests(*made)
    for part, names in (("train-all", ["a"]), ("test", ["b"])):
        some = cuts.filter(lambda cut, names=names: cut.recording_id in names).to_eager()
        some.to_file(tmp_path / f"my_cuts_{part}.jsonl.gz")
    split = corpus.collect(tmp_path)
    assert [u.id for u in split.train] == ["a-1", "a-2"] and [u.id for u in split.test] == ["b-1"]
    cuts.to_file(tmp_path / "my_cuts_other.jsonl.gz")
    with pytest.raises(UserError, match="my_cuts_other"):
        corpus.collect(tmp_path)


def source(**change):
    return lambda rows: rows[0]["recording"]["sources"][0].update(change)


SPOILED = {
    "a command": source(type="command", source="touch ran"),
    "an address": source(type="url", source="https://localhost/a.wav"),
    "two channels": source(channels=[0, 1]),
    "no audio": source(source="nowhere.wav"),
    "an augmentation": lambda rows: rows[0]["recording"].update(
        transforms=[{"name": "Speed", "kwargs": {"factor": 0.9}}]
    ),
    "no speaker": lambda rows: rows[0]["supervisions"][0].pop("speaker"),
    "no supervision": lambda rows: rows[0].pop("supervisions"),
    "features only": lambda rows: rows[0].pop("recording"),
    "a start that is no number": lambda rows: rows[0]["supervisions"][0].update(start="x"),
    "no channels": source(channels=None),
    "a list for custom": lambda rows: rows[0]["supervisions"][0].update(custom=[1]),
    "another kind": lambda rows: rows[0].update(type="Mixture"),
    "twice": lambda rows: rows.append(rows[0]),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_refused_is_named_and_nothing_runs(made, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    rows = [cut.to_dict() for cut in CutSet.from_manifests(*made)]
    SPOILED[what](rows)
    path = tmp_path / "cuts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"cuts\.jsonl|nowhere\.wav"):
        corpus.collect(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]\n", b'{"id": 1}\n', b"\x1f\x8b\x08"])
def test_damaged_manifests_are_named(tmp_path, content):
    for name, data in (("cuts.jsonl", content), ("cuts.jsonl.gz", gzip.compress(content)[:-1])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=r"cuts\.jsonl"):
            corpus.collect(tmp_path / name)


def test_a_folder_must_be_whole(made, tmp_path):
    with pytest.raises(UserError):
        corpus.collect(tmp_path)
    made[1].to_file(tmp_path / "supervisions.jsonl")
    with pytest.raises(UserError, match=r"supervisions\.jsonl"):
        corpus.collect(tmp_path)
