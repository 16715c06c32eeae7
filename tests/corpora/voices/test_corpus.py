"""Synthetic voices: the same bytes for the same settings, speakers that differ, sessions too."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
import soundfile

from acorl_sb import corpora
from acorl_sb.corpora.voices import corpus as voices
from acorl_sb.corpora.voices import espeak, sessions
from acorl_sb.utils.errors import UserError

TINY = {"n_voices": 2, "sessions": 2, "utterances_per_session": 1}


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.wav"))
    }


def test_at_least_80_distinct_voices():
    names = voices.voice_names()
    assert len(names) == len(set(names)) >= 80
    for twins in (("klatt6", "adam"), ("iven2", "iven3"), ("steph", "steph3")):
        assert not set(twins) <= set(names)
    assert set(espeak.variants()) >= voices.NEAR_DUPLICATES


def test_same_settings_same_bytes(tmp_path):
    first, again, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    voices.collect(first, **TINY)
    voices.collect(again, **TINY)
    voices.collect(other, **TINY, audio_seed=1)
    assert hashes(first) == hashes(again) and len(hashes(first)) == 4
    assert not set(hashes(first).values()) & set(hashes(other).values())


def test_more_voices_leave_the_others_as_they_are(tmp_path):
    # What a voice says does not depend on the company that it is in.
    voices.collect(tmp_path, **TINY)
    before = hashes(tmp_path)
    found = voices.collect(tmp_path, **{**TINY, "n_voices": 4})
    after = hashes(tmp_path)
    assert before.items() <= after.items()
    assert len({u.spk_id for u in found.train}) == 4


def test_manifest_of_voices(tmp_path):
    found = voices.collect(tmp_path, **TINY).train
    assert len(found) == 4 and {u.session for u in found} == {"s1", "s2"}
    for utterance in found:
        info = soundfile.info(utterance.wav)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert info.frames == utterance.stop > 16000
        assert utterance.gender in ("", "m", "f")


def test_audio_is_made_once_and_again_for_other_settings(tmp_path, monkeypatch):
    voices.collect(tmp_path, **TINY)
    before = hashes(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(espeak, "speak", lambda jobs: pytest.fail("made again"))
        voices.collect(tmp_path, **TINY)
    voices.collect(tmp_path, **TINY, snr_range=(0, 1))
    changed = hashes(tmp_path)
    assert changed.keys() == before.keys()
    assert not set(changed.values()) & set(before.values())


def test_an_interrupted_voice_is_made_whole(tmp_path, monkeypatch):
    original, calls = voices.record, []

    def record(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(voices, "record", record)
        patch.setattr("os.cpu_count", lambda: 1)
        voices.collect(tmp_path / "a", **TINY)
    assert len(hashes(tmp_path / "a")) == 2
    voices.collect(tmp_path / "a", **TINY)
    voices.collect(tmp_path / "b", **TINY)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_the_cache_folder_is_found_without_a_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sizes = {"n_voices": 6, "sessions": 2, "utterances_per_session": 1}
    splits = corpora.prepare("voices", None, tmp_path / "out", **sizes)
    (folder,) = (tmp_path / "cache" / "acorl_sb").iterdir()
    assert corpora.read_manifest(splits.train)[0].wav.startswith(str(folder))
    assert (
        voices.default_folder(**sizes) == folder == voices.default_folder(**sizes | {"n_voices": 9})
    )
    assert voices.default_folder(**sizes, audio_seed=1) != folder


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"n_voices": 1}, "n_voices"),
        ({"n_voices": 500}, "n_voices"),
        ({"sessions": 0}, None),
        ({"utterances_per_session": 1.5}, "utterances_per_session"),
        ({"rt60_range": (0, 1)}, None),
        ({"snr_range": (9, 1)}, "snr_range"),
    ],
)
def test_options_that_make_no_sense_are_named(tmp_path, options, where):
    with pytest.raises(UserError, match=where):
        voices.collect(tmp_path / "a", **options)


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError):
        voices.collect(tmp_path, **TINY)
    with pytest.raises(UserError, match=r"thesis.txt"):
        voices.collect(tmp_path / "thesis.txt", **TINY)


# --- The recording ------------------------------------------------------------------------------


def session(**changes):
    values = {
        "language": "en-us",
        "rate": 175,
        "pitch": 50,
        "range": 50,
        "rt60": 0.3,
        "direct": 0.0,
        "band": (60, 7600),
        "snr": 20.0,
        "tilt": 0.0,
        "level": -6.0,
    }
    return sessions.Session(**{**values, **changes})


def test_the_room_decays_by_60_db_in_rt60():
    response = sessions.room(session(rt60=0.5, direct=0.0), np.random.default_rng(0))
    assert np.isclose((response**2).sum(), 1)
    # 0 dB: the direct sound has half of the energy.
    assert np.isclose(response[0] ** 2, 0.5)
    early, late = (response[i + 1 : i + 801] for i in (0, 3200))  # 0.2 s apart: 24 dB
    assert np.isclose(10 * np.log10((early**2).sum() / (late**2).sum()), 24, atol=1.5)


def test_the_noise_is_at_its_snr():
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(32000)
    dry = np.array([1.0])
    clean = sessions.record(wave, session(snr=200), dry, np.random.default_rng(1))
    noisy = sessions.record(wave, session(snr=10), dry, np.random.default_rng(1))
    scale = (clean @ noisy) / (clean @ clean)
    snr = 10 * np.log10((scale**2 * clean @ clean) / ((noisy - scale * clean) ** 2).sum())
    assert np.isclose(snr, 10, atol=0.5)


def test_band_level_and_length():
    wave = np.random.default_rng(0).standard_normal(16000)
    heard = sessions.record(
        wave, session(band=(300, 3400), level=-12.0), np.array([1.0]), np.random.default_rng(1)
    )
    assert heard.shape == wave.shape and heard.dtype == np.float32
    assert np.isclose(20 * np.log10(np.abs(heard).max()), -12, atol=1e-3)
    power = np.abs(np.fft.rfft(heard)) ** 2  # 1 Hz a bin
    assert power[:150].mean() < 0.01 * power[500:3000].mean()
    assert power[5000:].mean() < 0.01 * power[500:3000].mean()


def test_sessions_stay_in_their_ranges():
    settings = {
        "languages": ["de", "es"],
        "rate_range": 10,
        "pitch_range": 80,
        "rt60_range": [0.2, 0.3],
        "snr_range": [3, 4],
    }
    drawn = [sessions.draw_session(random.Random(i), settings) for i in range(200)]
    assert {s.language for s in drawn} == {"de", "es"}
    assert all(165 <= s.rate <= 185 and 0 <= s.pitch <= 99 for s in drawn)
    assert all(0.2 <= s.rt60 <= 0.3 and 3 <= s.snr <= 4 for s in drawn)
    assert len({s.band for s in drawn}) > 2
