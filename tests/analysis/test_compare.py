"""What is read out of a member's embeddings, and of whom."""

from __future__ import annotations

import dataclasses

import numpy as np

from acorl_sb.analysis.compare import read_out_attributes
from acorl_sb.data.manifest import Utterance
from tests.analysis.pairs import SPEAKERS, noise


def heard(in_two_sessions: int) -> list[Utterance]:
    """60 speakers, 20 utterances each, all of one session but for the first speakers'."""
    return [
        Utterance(
            f"u{n}", 1.0 + n % 7, "a.wav", 0, 16000, speaker,
            session="b" if n % 2 and n < 20 * in_two_sessions else "a",
        )
        for n, speaker in enumerate(SPEAKERS)
    ]  # fmt: skip


def test_a_reading_of_sessions_counts_those_whom_the_probe_has_seen():
    readings = read_out_attributes(noise(8, 1), heard(12), {})
    assert (readings["session"]["utterances"], readings["session"]["speakers"]) == (240, 12)
    duration = readings["log duration"]
    assert (duration["utterances"], duration["speakers"]) == (1200, 60)


def test_a_reading_of_sessions_does_not_depend_on_speakers_of_one_session():
    rows = noise(8, 1)
    some, all_of_them = heard(12)[:240], heard(12)
    alone = read_out_attributes(rows[:240], some, {})["session"]
    assert read_out_attributes(rows, all_of_them, {})["session"] == alone


def test_sessions_of_few_speakers_are_left_out():
    assert "session" not in read_out_attributes(noise(8, 1), heard(4), {})
    unknown = [dataclasses.replace(u, session="") for u in heard(12)]
    assert "session" not in read_out_attributes(noise(8, 1), unknown, {})


def test_genders_that_are_known_are_read():
    genders = np.where(np.arange(1200) // 20 % 2, "f", "m")
    rows = noise(8, 1)
    rows[:, 0] += 6.0 * (np.arange(1200) // 20 % 2)
    made = read_out_attributes(rows, heard(0), {"gender": list(genders)})
    assert made["gender"]["measure"] == "auc" and made["gender"]["value"] > 0.99
