"""Attributes of speakers: columns of manifests and tables, bands of numbers, faults by name."""

from __future__ import annotations

import pytest

from acorl_sb.data.attributes import band, group_order, read_attributes
from acorl_sb.data.manifest import Utterance, write_manifest
from acorl_sb.utils.errors import UserError


@pytest.fixture
def manifest(tmp_path):
    """ann with two sessions, 9 years; bob without an age."""
    rows = [
        ("a1", "ann", "s1", "f", "9"),
        ("a2", "ann", "s2", "f", "9"),
        ("b1", "bob", "", "m", ""),
    ]
    write_manifest(
        tmp_path / "m.csv",
        [
            Utterance(
                name, 1.0, f"{name}.wav", 0, 16000, s, session, gender, {"age": age} if age else {}
            )
            for name, s, session, gender, age in rows
        ],
    )
    return tmp_path / "m.csv"


def test_columns_of_manifest_and_table(manifest, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("speaker,accent,age\nann,Welsh,9\nbob,,40\ncid,Scots,70\n")
    known = read_attributes([manifest, table])
    assert known.names == ["gender", "age", "accent"]  # ann's sessions differ
    people = ["ann", "bob", "cid", "dan"]
    assert known.groups("gender", people) == ["f", "m", "", ""]
    assert known.groups("accent", people) == ["Welsh", "", "Scots", ""]
    assert known.groups("age", people) == ["below 13", "18 to 60", "60 or more", ""]
    assert known.groups("age", people, {"age": [30]}) == ["below 30", "30 or more"] + [
        "30 or more",
        "",
    ]
    assert known.groups("gender+age", people) == ["f, below 13", "m, 18 to 60", "", ""]


def test_what_differs_within_a_speaker_of_one_file_is_no_attribute_of_any(manifest, tmp_path):
    other = tmp_path / "other.csv"
    write_manifest(other, [Utterance("c1", 1.0, "c.wav", 0, 16000, "cid", "s1", "m")])
    for order in ([manifest, other], [other, manifest]):
        assert "session" not in read_attributes(order).names


def test_words_are_no_numbers(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("spk_id,age\nann,teens\nbob,sixties\n")
    known = read_attributes([table])
    assert known.groups("age", ["ann", "bob"]) == ["teens", "sixties"]
    with pytest.raises(UserError, match="age"):
        known.groups("age", ["ann"], {"age": [13]})


def test_groups_are_sorted_by_the_numbers_of_their_bands():
    ordered = ["below 8", "8 to 18", "18 to 60", "60 to 100", "100 or more", "unsaid"]
    assert sorted(sorted(ordered), key=group_order) == ordered
    pairs = ["f, below 8", "f, 8 to 18", "f, 18 to 60", "m, below 8", "m, 100 or more"]
    assert sorted(sorted(pairs), key=group_order) == pairs
    assert sorted(["10", "9", "-1.5"], key=group_order) == ["-1.5", "9", "10"]


def test_bands_by_their_lower_ends():
    ends = [18, 13]
    found = [band(v, ends, "age") for v in ("12.9", "13", "17", "18")]
    assert found == ["below 13", "13 to 18", "13 to 18", "18 or more"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name,age\nann,9\n", "line 1"),
        ("", "t.csv"),
        ("speaker,age\nann\n", "line 2"),
        ("speaker,age\n,9\n", "line 2"),
        ("speaker,age\nann,9,Welsh\n", "line 2"),
        ("speaker,age\nann,9\nann,9\n", "ann"),
        ("speaker,age\nann,10\n", "ann"),  # the manifest says 9
    ],
)
def test_faults_are_named(manifest, tmp_path, text, named):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=named):
        read_attributes([manifest, tmp_path / "t.csv"])


def test_a_missing_column_is_named(manifest):
    with pytest.raises(UserError, match="weight"):
        read_attributes([manifest]).groups("gender+weight", ["ann"])
    with pytest.raises(UserError, match="weight"):
        read_attributes([manifest]).groups("gender", ["ann"], {"weight": [60]})
