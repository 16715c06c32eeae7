"""Who speaks in which utterance."""

from __future__ import annotations

import numpy as np
import pytest

from acorl_sb.data import speakers
from acorl_sb.data.manifest import Utterance, write_manifest
from acorl_sb.data.trials import TrialList
from acorl_sb.utils.errors import UserError


def test_from_a_manifest_and_from_utt2spk(tmp_path):
    write_manifest(tmp_path / "m.csv", [Utterance("u1", 1.0, "u1.wav", 0, 16000, "anna")])
    assert speakers.read_speakers(tmp_path / "m.csv") == {"u1": "anna"}
    (tmp_path / "utt2spk").write_text("u1 anna\nu2 bert\n\nu1 anna\n")
    table = speakers.read_speakers(tmp_path / "utt2spk")
    assert speakers.by_table(["u2", "u1"], table, "utt2spk") == ["bert", "anna"]
    with pytest.raises(UserError, match=r"utt2spk.*'v'.*'w'"):
        speakers.by_table(["u1", "v", "w"], table, "utt2spk")
    (tmp_path / "utt2spk").write_text("u1 anna\nu1 bert\n")
    with pytest.raises(UserError, match=r"line 2.*'u1'"):
        speakers.read_speakers(tmp_path / "utt2spk")
    (tmp_path / "utt2spk").write_text("u1 anna 3\n")
    with pytest.raises(UserError, match="line 1"):
        speakers.read_speakers(tmp_path / "utt2spk")


def test_from_a_pattern_and_from_the_folder():
    assert speakers.by_pattern(["ab-1", "cd-2"], r"^(\w+)-") == ["ab", "cd"]
    assert speakers.by_pattern(["ab-1", "cd-2"], r"^\w+") == ["ab", "cd"]
    with pytest.raises(UserError, match="'x'"):
        speakers.by_pattern(["ab-1", "x"], r"^(\w+)-")
    with pytest.raises(UserError, match=r"'\('"):
        speakers.by_pattern(["x"], "(")
    assert speakers.by_folder(["id1/v/1.wav", "id2/v/1.wav"]) == ["id1", "id2"]
    assert speakers.by_folder(["id1/v/1.wav", "x"]) is None
    assert speakers.by_folder(["/abs/x.wav"]) is None


def test_one_numbering_for_all_lists():
    first, second = speakers.number(["b", "a", "b"], ["c", "a"])
    np.testing.assert_array_equal(first, [1, 0, 1])  # by name, whatever the order of lines
    np.testing.assert_array_equal(second, [2, 0])


def test_contradictions_between_labels_and_speakers():
    trials = TrialList(
        ["u", "v", "w"], np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([True, False, True])
    )
    speaker = np.array([0, 0, 1])
    np.testing.assert_array_equal(speakers.contradictions(trials, speaker), [2])
