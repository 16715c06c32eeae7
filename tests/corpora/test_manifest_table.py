"""A table of one's own recordings, CSV and JSON, as a corpus, and what is refused."""

from __future__ import annotations

import csv
import json

import pytest
import soundfile

from acorl_sb.corpora import manifest_table, prepare, read_manifest, write_manifest
from acorl_sb.utils.errors import UserError

ROWS = [
    {"wav": "a/1.wav", "speaker": "ann", "start": 0.5, "end": 0.75, "gender": "female"},
    {"wav": "a/1.wav", "id": "tail", "speaker": "ann", "start": 0.5, "mood": "glad"},
    {"wav": "b/1.wav", "speaker": "bob", "session": "day1", "split": "test"},
]


@pytest.fixture
def root(audio_tree):
    """Two recordings of one second."""
    folder = audio_tree("data", ["a/1.wav", "b/1.wav"], rate=160_000)
    for path in folder.rglob("*.wav"):
        samples, _ = soundfile.read(path)
        soundfile.write(path, samples, 16000)
    return folder


def written(root, name, rows):
    """The table as a file: CSV, a JSON list, or a JSON object by ID."""
    path = root / name
    if path.suffix == ".csv":
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
    elif name == "object.json":
        path.write_text(json.dumps({row.get("id", str(i)): row for i, row in enumerate(rows)}))
    else:
        path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("name", ["table.csv", "list.json", "object.json"])
def test_columns_mean_the_same_in_every_form(root, name):
    found = manifest_table.collect(written(root, name, ROWS))
    first, tail = found.train
    (other,) = found.test
    assert (first.spk_id, first.gender, first.start, first.stop) == ("ann", "f", 8000, 12000)
    assert (tail.id, tail.start, tail.stop, tail.gender) == ("tail", 8000, 16000, "")
    assert (other.session, other.wav) == ("day1", str(root / "b/1.wav"))
    assert (dict(tail.attributes), dict(other.attributes)) == ({"mood": "glad"}, {})
    if name != "object.json":
        assert (first.id, other.id) == ("a/1", "b/1")


def test_speechbrains_names_count_samples(root):
    row = {"ID": "u", "wav": "a/1.wav", "spk_id": "s", "start": 1600, "stop": 4800, "duration": 0.2}
    (u,) = manifest_table.collect(written(root, "table.csv", [row])).train
    assert (u.id, u.spk_id, u.start, u.stop) == ("u", "s", 1600, 4800)
    write_manifest(root / "ours.csv", [u])
    assert manifest_table.collect(root / "ours.csv").train == [u]


def test_it_is_prepared_by_its_name_and_again_when_it_has_changed(root, tmp_path):
    rows = [
        {"id": f"{s}{k}", "wav": "a/1.wav", "speaker": s, "start": k / 5, "end": (k + 1) / 5}
        for s in "abcdefgh"
        for k in range(3)
    ]
    path = written(root, "table.csv", rows)
    options = {"dev_speakers": 2, "test_speakers": 2}
    made = prepare("manifest", path, tmp_path / "out", **options)
    assert [len(read_manifest(part)) for part in made[:3]] == [12, 6, 6]
    written(root, "table.csv", rows[:-1])
    made = prepare("manifest", path, tmp_path / "out", **options)
    assert sum(len(read_manifest(part)) for part in made[:3]) == 23


BAD = {
    "no wav": {"speaker": "a"},
    "no speaker": {"wav": "a/1.wav"},
    "no such file": {"wav": "gone.wav", "speaker": "a"},
    "a start that is no number": {"wav": "a/1.wav", "speaker": "a", "start": "x"},
    "an infinite end": {"wav": "a/1.wav", "speaker": "a", "end": "inf"},
    "an end before the start": {"wav": "a/1.wav", "speaker": "a", "start": 0.5, "end": 0.4},
    "an end far beyond the file": {"wav": "a/1.wav", "speaker": "a", "end": 2},
    "a stretch too short": {"wav": "a/1.wav", "speaker": "a", "end": 0.05},
    "end and stop": {"wav": "a/1.wav", "speaker": "a", "end": 1, "stop": 16000},
    "an unknown split": {"wav": "a/1.wav", "speaker": "a", "split": "training"},
    "an unknown gender": {"wav": "a/1.wav", "speaker": "a", "gender": "x"},
    "a column misspelt": {"wav": "a/1.wav", "speaker": "a", "strat": 0.1},
    "an id of two words": {"wav": "a/1.wav", "speaker": "a", "id": "a b"},
    "two speakers": {"wav": "a/1.wav", "speaker": "a", "spk_id": "b"},
    "two ids": {"wav": "a/1.wav", "speaker": "a", "id": "a", "ID": "b"},
    "an id twice": {"wav": "a/1.wav", "speaker": "a", "id": "good"},
}


@pytest.mark.parametrize("name", ["table.csv", "list.json"])
@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_row_is_said(root, case, name):
    path = written(root, name, [{"id": "good", **ROWS[0]}, BAD[case]])
    with pytest.raises(UserError) as error:
        manifest_table.collect(path)
    place = "line" if name == "table.csv" else "entry"
    assert f"{path} {place}" in str(error.value) or "gone.wav" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""), ("a.csv", b"wav,speaker\n"), ("a.csv", b"wav,speaker\nx\n"),
        ("a.csv", b"wav,speaker\nx,y,z\n"), ("a.csv", b"\xff\xfe"), ("a.json", b"{"),
        ("a.json", b"[]"), ("a.json", b"7"), ("a.json", b"[1]"), ("a.json", b'{"a": [1]}'),
        ("a.json", b'[{"wav": {"a": 1}}]'), ("a.json", b"[" * 100_000),
    ],
)  # fmt: skip
def test_what_is_no_table_is_said(root, name, content):
    (root / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        manifest_table.collect(root / name)
    with pytest.raises(UserError):
        manifest_table.collect(None)
