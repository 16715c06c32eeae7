"""What is known of utterances beside the manifest's own columns."""

from __future__ import annotations

import csv

import pytest

from acorl_sb.analysis.run_inputs import known_of
from acorl_sb.data.manifest import Utterance, read_manifest, write_manifest
from acorl_sb.utils.errors import UserError


@pytest.mark.parametrize(
    ("ages", "taken"),
    [(["9", "31", ""], True), (["teens", "thirties", "9"], False), ([""] * 3, False)],
)
def test_a_column_of_ages_is_taken_where_they_are_numbers(tmp_path, ages, taken):
    rows = [
        Utterance(f"u{n}", 1.0, "a.wav", 0, 16000, f"s{n}", attributes={"age": age} if age else {})
        for n, age in enumerate(ages)
    ]
    write_manifest(tmp_path / "m.csv", rows)
    with open(tmp_path / "m.csv", newline="") as file:
        column = [row.get("age", "") for row in csv.DictReader(file)]
    assert column == ages
    expected = {"age": column} if taken else {}
    assert known_of(read_manifest(tmp_path / "m.csv"), {}) == expected


@pytest.mark.parametrize(
    ("genders", "taken"),
    [("ffm", True), ("ff-", True), ("fmo", False), ("123", False), ("---", False)],
)
def test_genders_are_taken_where_there_are_two_kinds_of_them(genders, taken):
    column = [gender.strip("-") for gender in genders]
    rows = [
        Utterance(f"u{n}", 1.0, "a.wav", 0, 16000, f"s{n}", gender=gender)
        for n, gender in enumerate(column)
    ]
    assert known_of(rows, {}) == ({"gender": column} if taken else {})


def test_a_file_of_genders_goes_before_the_manifest(tmp_path):
    rows = [
        Utterance(f"u{n}", 1.0, "a.wav", 0, 16000, f"s{n}", gender=g) for n, g in enumerate("fmo")
    ]
    table = tmp_path / "spk2gender"
    table.write_text("s0 f\ns1 m\n")
    assert known_of(rows, {"gender": str(table)}) == {"gender": ["f", "m", ""]}


def test_a_file_that_contradicts_itself_is_refused(tmp_path):
    heard = [Utterance(f"u{n}", 1.0, "a.wav", 0, 16000, f"s{n}") for n in range(2)]
    ages = tmp_path / "spk2age"
    ages.write_text("s0 9\ns1 31\ns0 9\n")
    assert known_of(heard, {"age": str(ages)}) == {"age": ["9", "31"]}
    ages.write_text("s0 9\ns1 31\ns0 10\n")
    with pytest.raises(UserError, match="s0"):
        known_of(heard, {"age": str(ages)})
