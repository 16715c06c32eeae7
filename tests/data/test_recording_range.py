"""What a calibration has seen, and what is unlike it."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from acorl_sb.data.recording_range import (
    OutOfRangeWarning,
    RecordingRange,
    estimate_snr,
    out_of_range,
)
from tests import spoken, tiny


@pytest.mark.parametrize("snr", [0, 10, 25])
def test_the_estimate_is_the_ratio_of_loud_and_quiet_halves(snr):
    quiet = spoken.noise(2, 0.01)
    loud = spoken.noise(2, 0.01 * 10 ** (snr / 20), seed=1)
    assert estimate_snr(np.concatenate([quiet, loud])) == pytest.approx(snr, abs=3)


def test_noise_lowers_the_estimate():
    speech = spoken.sentence()
    levels = [0, 0.001, 0.003, 0.01, 0.03]
    found = [estimate_snr(speech + spoken.noise(len(speech) / 16000, v)) for v in levels]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("seconds", [None, 0.4])
def test_what_was_seen_is_in_range_and_survives_json(tmp_path, seconds):
    utterances = tiny.hums(tmp_path, speakers=2, each=3)
    seen = RecordingRange.of(utterances, seconds)
    lengths = [min(u.duration, seconds or 9) for u in utterances]
    assert (seen.shortest, seen.longest) == pytest.approx((min(lengths), max(lengths)), abs=1e-3)
    assert RecordingRange.from_json(json.loads(json.dumps(seen._asdict()))) == seen


@pytest.mark.parametrize(
    "value", [None, [], {}, {"shortest": 1.0}, {"shortest": 1, "longest": "2", "lowest_snr": 3}]
)
def test_what_is_no_range(value):
    with pytest.raises(ValueError):
        RecordingRange.from_json(value)


def test_warnings_are_collected_and_others_let_through():
    seen, wave = RecordingRange(1.0, 2.0, -1.0), spoken.noise(1.5)
    with pytest.warns(RuntimeWarning), out_of_range() as said:
        seen.warn(wave, "a")
        seen.warn(wave[:8000], "b")
        seen.warn(np.tile(wave, 2), "c")
        warnings.warn("another", RuntimeWarning, stacklevel=1)
    assert [text[0] for text in said] == ["b", "c"]
    strict = RecordingRange(1.0, 2.0, 20.0)
    with pytest.warns(OutOfRangeWarning):
        strict.warn(wave, "d")
    with out_of_range() as said:
        strict.warn(wave, "d", noise=False)
    assert not said
