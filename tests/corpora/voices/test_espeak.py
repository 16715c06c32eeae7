"""eSpeak NG: the same request gives the same bits; voice, rate and pitch are obeyed."""

from __future__ import annotations

import numpy as np
import pytest

from acorl_sb.corpora.voices import espeak
from acorl_sb.utils.errors import UserError


def test_speech_depends_on_the_request_alone():
    first = espeak.Job("en-us+f3", "hello there")
    noisy = espeak.Job("de+whisper", "12 13", rate=150, pitch=70, range=20)
    alone, after = espeak.speak([first]), espeak.speak([noisy, first])
    np.testing.assert_array_equal(alone[0], espeak.speak([first])[0])
    np.testing.assert_array_equal(after[0], espeak.speak([noisy])[0])
    assert alone[0].dtype == np.float32 and 0.1 < np.abs(alone[0]).max() <= 1


def test_rate_and_pitch_are_heard():
    slow, fast, low, high = espeak.speak(
        [espeak.Job("en-us+m1", "one two three four five", rate, pitch, 0)
         for rate, pitch in ((100, 50), (200, 50), (175, 10), (175, 90))]
    )  # fmt: skip
    assert len(slow) > 1.5 * len(fast)
    assert period(high) < 0.8 * period(low)


def period(wave):
    """The pitch period (s) as the lag of the autocorrelation's peak, of the loudest 40 ms."""
    frames = wave[: len(wave) // 640 * 640].reshape(-1, 640)
    frame = frames[(frames**2).sum(axis=1).argmax()]
    correlation = np.correlate(frame, frame, "full")[639:]
    return (32 + correlation[32:400].argmax()) / 16000


def test_unknown_voices_are_named():
    with pytest.raises(UserError, match=r"'xx\+f3'"):
        espeak.speak([espeak.Job("xx+f3", "hello")])
