"""A manifest comes back as it was written; every fault is named with its line."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from speechbrain.dataio.dataio import load_data_csv

from acorl_sb.data.manifest import FIELDS, Utterance, read_manifest, write_manifest
from acorl_sb.utils.errors import UserError

UTTERANCES = [
    Utterance("a/1.wav", 1.5, "/data/with, comma/1.wav", 0, 24000, "anna", "kitchen", "f"),
    Utterance("b-2", 0.25, '/data/"quoted"/ü.flac', 100, 4100, "bob"),
]
HEADER = ",".join(FIELDS)


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "train.csv"
    write_manifest(path, UTTERANCES)
    assert path.read_text(encoding="utf-8").splitlines()[0] == HEADER
    assert read_manifest(path) == UTTERANCES


def test_speechbrain_reads_it(tmp_path):
    write_manifest(tmp_path / "a.csv", UTTERANCES)
    data = load_data_csv(tmp_path / "a.csv")
    assert list(data) == ["a/1.wav", "b-2"]
    assert data["a/1.wav"]["duration"] == 1.5
    assert data["b-2"]["wav"] == UTTERANCES[1].wav


def test_speechbrains_own_manifests_are_read(tmp_path):
    path = tmp_path / "a.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "duration", "wav", "start", "stop", "spk_id", "note"])
        writer.writerow(["x", 2.0, "/x.wav", 0, 32000, "s", "kept"])
    kept = {"note": "kept"}
    assert read_manifest(path) == [Utterance("x", 2.0, "/x.wav", 0, 32000, "s", attributes=kept)]


def test_further_columns_come_back(tmp_path):
    path = tmp_path / "a.csv"
    first = replace(UTTERANCES[0], attributes={"age": "9", "accent": "Welsh, north"})
    write_manifest(path, [first, UTTERANCES[1]])
    assert path.read_text(encoding="utf-8").splitlines()[0] == f"{HEADER},accent,age"
    assert read_manifest(path) == [first, UTTERANCES[1]]
    names = ("age", "gender", "session", "weight")
    assert [first.attribute(name) for name in names] == ["9", "f", "kitchen", ""]


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ([], "line 1.*spk_id"),
        (["ID,duration,wav,start,stop"], "line 1.*spk_id"),
        ([HEADER], ""),
        ([HEADER, "a,1,/a.wav,0,16000,s,,", "b,1,/b.wav"], "line 3"),
        ([HEADER, "a,one,/a.wav,0,16000,s,,"], "line 2.*'one'"),
        ([HEADER, "a,1,/a.wav,0.5,16000,s,,"], "line 2"),
        ([HEADER, "a,1,/a.wav,16000,0,s,,"], "line 2"),
        ([HEADER, "a,0,/a.wav,0,16000,s,,"], "line 2"),
        ([HEADER, "a,nan,/a.wav,0,16000,s,,"], "line 2"),
        ([HEADER, "a,1,/a.wav,-5,16000,s,,"], "line 2"),
        ([HEADER, "a,1,/a.wav,0,16000,,,"], "line 2.*spk_id"),
        ([HEADER, "a,1,,0,16000,s,,"], "line 2.*spk_id"),
        ([HEADER, "a b,1,/a.wav,0,16000,s,,"], "line 2.*'a b'"),
        ([HEADER, ",1,/a.wav,0,16000,s,,"], "line 2"),
        (
            [HEADER, "a,1,/a.wav,0,16000,s,,", "a,1,/b.wav,0,16000,s,,"],
            "line 3.*'a'.*line 2",
        ),
    ],
)
def test_faults_are_named(tmp_path, lines, where):
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=rf"bad\.csv.*{where}"):
        read_manifest(path)


def test_missing_or_binary_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none.csv"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"ID,\xff\xfe\x00")
    with pytest.raises(UserError, match=r"b.csv"):
        read_manifest(tmp_path / "b.csv")


@pytest.mark.parametrize("name", ["a/1.wav", "a b"])
def test_writing_refuses_bad_ids_and_leaves_nothing(tmp_path, name):
    bad = Utterance(name, 1.0, "/z.wav", 0, 16000, "z")
    with pytest.raises(UserError, match=rf"m\.csv.*{name}"):
        write_manifest(tmp_path / "m.csv", [*UTTERANCES, bad])
    assert list(tmp_path.iterdir()) == []
