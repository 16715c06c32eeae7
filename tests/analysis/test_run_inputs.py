"""What is known of utterances beside the manifest's own columns."""

from __future__ import annotations

import pytest

from acorl_sb.analysis.run_inputs import read_attributes
from acorl_sb.data.manifest import Utterance, read_manifest, write_manifest


@pytest.mark.parametrize(
    ("ages", "known"),
    [(["9", "31", ""], {"age": ["9", "31", ""]}), (["teens", "thirties", "9"], {}), ([""] * 3, {})],
)
def test_a_column_of_ages_is_taken_where_they_are_numbers(tmp_path, ages, known):
    rows = [
        Utterance(f"u{n}", 1.0, "a.wav", 0, 16000, f"s{n}", attributes={"age": age} if age else {})
        for n, age in enumerate(ages)
    ]
    write_manifest(tmp_path / "m.csv", rows)
    utterances = read_manifest(tmp_path / "m.csv")
    assert read_attributes(tmp_path / "m.csv", utterances, {}) == known
