"""Enrolment and decisions, against the fusion's formula and the run's own score files."""

from __future__ import annotations

import contextlib
import math
import threading
import warnings

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from acorl_sb.data.recording_range import (
    OutOfRangeWarning,
    RecordingRange,
    estimate_snr,
    out_of_range,
)
from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.inference import Verifier
from acorl_sb.store.opening import open_store
from acorl_sb.utils.errors import UserError
from tests import spoken


class Bands(nn.Module):
    """An embedding that can be worked out by hand: means of some stretches of the wave."""

    def __init__(self, parts):
        super().__init__()
        self.embedding_dim = parts

    def forward(self, waves):
        return torch.stack([part.mean(1) for part in waves.chunk(self.embedding_dim, 1)], 1)


@pytest.fixture()
def verifier():
    ensemble = FrozenEnsemble()
    ensemble.add("two", Bands(2))
    ensemble.add("three", Bands(3))
    state = LogisticFusion().state() | {"weights": [2.0, 3.0], "bias": -1.0, "n_systems": 2}
    return Verifier(ensemble, LogisticFusion.from_state(state), 0.01, c_fa=2.0, sample_rate=16000)


def steps(*levels):
    """A wave of stretches of 800 samples, 50 ms, each at its level."""
    return np.repeat(np.array(levels, dtype=float), 800)


def test_threads_that_enrol_first_share_one_store(verifier, monkeypatch):
    both, made = threading.Barrier(2, timeout=0.5), verifier.store_model

    def slowly():
        with contextlib.suppress(threading.BrokenBarrierError):  # only one comes here
            both.wait()
        return made()

    monkeypatch.setattr(verifier, "store_model", slowly)
    waves = {"a": [steps(1, 0, 0, 0, 0, 0)], "b": [steps(0, 0, 1, 0, 0, 0)]}
    threads = [threading.Thread(target=verifier.enrol, args=pair) for pair in waves.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.name for row in verifier.store.speakers()] == ["a", "b"]


def test_llr_and_threshold_by_hand(verifier):
    a, b = steps(1, 0, 0, 0, 0, 0), steps(0, 0, 0, 0, 0, 2)
    verifier.enrol("a", [a])
    assert verifier.verify("a", 5 * a).llr == pytest.approx(2 + 3 - 1, abs=1e-6)
    decision = verifier.verify("a", b)
    assert decision.llr == pytest.approx(-1, abs=1e-6) and not decision.accepted
    assert decision.threshold == pytest.approx(math.log(2 * 0.99 / 0.01))
    verifier.threshold = -1.5
    assert verifier.verify("a", b).accepted


def test_enrolment_on_several_waves_is_the_mean_of_unit_embeddings(verifier):
    a, b = steps(4, 0, 0, 0, 0, 0), steps(0, 0, 0, 0, 0, 1)
    verifier.enrol("both", [a, b])
    wanted = (2 + 3) / math.sqrt(2) - 1  # 45 degrees from either, whatever their levels
    assert verifier.verify("both", a).llr == pytest.approx(wanted, abs=1e-6)
    assert verifier.verify("both", b).llr == pytest.approx(wanted, abs=1e-6)


def test_identification_is_sorted(verifier):
    a, b = steps(1, 0, 0, 0, 0, 0), steps(0, 0, 0, 0, 0, 1)
    verifier.enrol("a", [a])
    verifier.enrol("b", [b])
    names, llrs = zip(*verifier.identify(b + 0.1 * a), strict=True)
    assert names == ("b", "a") and llrs[0] > llrs[1]


def test_a_store_in_a_file_gives_the_llrs_of_the_formula(verifier, tmp_path):
    """Bias plus weighted cosines, each member by itself; after opening it again as well."""
    rng = np.random.default_rng(3)
    waves = [rng.uniform(-0.5, 0.5, 4800) for _ in range(30)]
    test = rng.uniform(-0.5, 0.5, 4800)
    verifier.open(tmp_path / "speakers.db")
    expected = {}
    for k in range(10):
        enrolled = [verifier.embed(wave) for wave in waves[3 * k : 3 * k + 3]]
        verifier.enrol(f"s{k}", waves[3 * k : 3 * k + 3])
        cosines = [
            float(nn.functional.cosine_similarity(torch.stack(e).mean(0), t, dim=0))
            for e, t in zip(zip(*enrolled, strict=True), verifier.embed(test), strict=True)
        ]
        expected[f"s{k}"] = 2 * cosines[0] + 3 * cosines[1] - 1
    again = Verifier(
        verifier.ensemble, verifier.model, store=tmp_path / "speakers.db", sample_rate=16000
    )
    for found in (dict(verifier.identify(test)), dict(again.identify(test))):
        assert found == pytest.approx(expected, abs=1e-5)
    for name, llr in expected.items():
        assert again.verify(name, test).llr == pytest.approx(llr, abs=1e-5)
    best = max(expected, key=expected.get)
    assert [name for name, _ in again.identify(test, top=1)] == [best]
    assert [row.seconds for row in again.store.speakers()] == pytest.approx([0.9] * 10)


def test_a_verifier_closes_what_it_opened_and_nothing_else(verifier, tmp_path):
    wave = steps(1, 0, 0, 0, 0, 0)
    paths = [tmp_path / name for name in ("a.db", "b.db")]
    stores = []
    with Verifier(verifier.ensemble, verifier.model, sample_rate=16000) as own:
        for path in paths:
            own.open(path)
            own.enrol(path.stem, [wave])
            stores.append(own.store)
        with pytest.raises(UserError):
            stores[0].speakers()
        (tmp_path / "none.db").write_text("no store")
        with pytest.raises(UserError, match=r"none\.db"):
            own.open(tmp_path / "none.db")
        assert "b" in own.store  # the one before is kept
        given = open_store(paths[0], own.store_model())
        own.open(given)
        with pytest.raises(UserError):
            stores[1].speakers()
    assert "a" in given  # somebody else's
    given.close()
    with pytest.raises(UserError):  # what is enrolled now would be in no file
        own.enrol("late", [wave])
    own.open(paths[0])
    own.enrol("late", [wave])
    own.close()
    assert sorted(row.name for row in open_store(paths[0], own.store_model()).speakers()) == [
        "a",
        "late",
    ]


def test_two_waves_are_compared_and_the_parts_make_the_whole(verifier):
    a, b = np.random.default_rng(4).uniform(-0.5, 0.5, (2, 4800))
    made = verifier.compare(a, b)
    verifier.enrol("a", [a])
    assert made.llr == pytest.approx(verifier.verify("a", b).llr, abs=1e-5)
    parts = [made.cosines[name] * made.weights[name] for name in ("two", "three")]
    assert made.llr == pytest.approx(sum(parts) - 1)
    assert (made.bias, made.threshold, made.accepted) == (-1, verifier.threshold, False)


def test_a_fusion_fitted_anew_needs_no_new_enrolments_but_other_encoders_do(verifier, tmp_path):
    verifier.open(tmp_path / "speakers.db")
    verifier.enrol("a", [steps(1, 0, 0, 0, 0, 0)])
    state = verifier.model.state() | {"weights": [1.0, 1.0], "bias": 0.5}
    model = LogisticFusion.from_state(state)
    anew = Verifier(verifier.ensemble, model, store=verifier.store, sample_rate=16000)
    assert anew.verify("a", steps(2, 0, 0, 0, 0, 0)).llr == pytest.approx(2.5, abs=1e-6)
    ensemble = FrozenEnsemble()
    ensemble.add("two", Bands(3))
    ensemble.add("three", Bands(2))
    for store in (tmp_path / "speakers.db", verifier.store):
        with pytest.raises(UserError):
            Verifier(ensemble, model, store=store)


def test_enrolling_anew_is_said(verifier):
    a, b = steps(1, 0, 0, 0, 0, 0), steps(0, 0, 0, 0, 0, 1)
    verifier.enrol("a", [a])
    with pytest.raises(UserError):
        verifier.enrol("a", [b])
    verifier.enrol("a", [b], replace=True)
    assert verifier.verify("a", b).llr == pytest.approx(2 + 3 - 1, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda v: v.verify("x", np.ones(6)), "'x'"),
        (lambda v: v.enrol("x", []), None),
        (lambda v: v.enrol("x", "file.wav"), None),
        (lambda v: v.embed(np.ones((2, 3))), None),
        (lambda v: v.embed(np.zeros(0)), None),
        (lambda v: v.embed(np.array([1.0, np.nan])), None),
        (lambda v: v.embed("nowhere.wav"), "nowhere.wav"),
        (lambda v: v.embed(np.zeros(16000)), None),
        (lambda v: v.embed((np.full(16000, 0.3), 8000)), None),
        (lambda v: v.enrol("x", [torch.zeros(16000)]), None),
        (lambda v: v.embed(steps(1, 0)[:1599]), None),
        (lambda v: v.embed((steps(1, 0), 17000)), None),
        (lambda v: v.embed((steps(1, 0, 1), 1)), None),
        (lambda v: v.embed((steps(1, 0, 1), 15999)), None),
        (lambda v: v.embed((steps(1, 0, 1), 16000.0)), None),
        (lambda v: v.embed((steps(1, 0, 1), 16000, 3)), None),
        (lambda v: v.embed(["a", "b"]), None),
        (lambda v: Verifier(v.ensemble, v.model).embed(steps(1, 0, 1)), None),
        (lambda v: Verifier.from_run("nowhere"), "hyperparams.yaml"),
    ],
)
def test_faults_are_said(verifier, call, where):
    with pytest.raises(UserError, match=where):
        call(verifier)


def test_silence_is_refused_in_a_file_too(verifier, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    with pytest.raises(UserError):
        verifier.enrol("x", [tmp_path / "silent.wav"])
    assert not len(verifier.store)


def test_silence_alone_in_the_part_that_is_embedded_is_refused(verifier):
    verifier.score_seconds = 0.2
    with pytest.raises(UserError):
        verifier.embed(np.concatenate([np.ones(100), np.zeros(8000), np.ones(100)]))


def test_the_centre_of_a_wave_is_embedded(verifier, tmp_path):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 9601).astype(np.float32)
    whole = verifier.embed(wave[2400:7200])
    verifier.score_seconds = 0.3
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    for given in (wave, torch.from_numpy(wave), (wave, 16000), tmp_path / "a.wav"):
        for found, expected in zip(verifier.embed(given), whole, strict=True):
            assert torch.equal(found, expected)


def test_samples_of_another_rate_are_those_of_a_file_of_that_rate(verifier, tmp_path):
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 22050).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 44100, subtype="FLOAT")
    verifier.score_seconds = 0.25
    pairs = zip(verifier.embed((wave, 44100)), verifier.embed(tmp_path / "a.wav"), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_member_that_finds_nothing_is_named():
    class Nothing(Bands):
        def forward(self, waves):
            return super().forward(waves) * 0

    ensemble = FrozenEnsemble()
    ensemble.add("empty", Nothing(2))
    with pytest.raises(UserError, match="empty"):
        Verifier(ensemble, LogisticFusion()).embed((steps(1, 0, 1), 16000))


def test_many_waves_are_embedded_as_each_alone(verifier):
    rng = np.random.default_rng(2)
    waves = [rng.standard_normal(length) for length in (6000, 4800, 6000, 6000, 4800)]
    many = verifier.embed_many(iter(waves), batch_size=2)
    assert [z.shape for z in many] == [(5, 2), (5, 3)]
    for i, wave in enumerate(waves):
        for z, alone in zip(many, verifier.embed(wave), strict=True):
            torch.testing.assert_close(z[i], alone)
    assert [z.shape for z in verifier.embed_many([])] == [(0, 2), (0, 3)]


def test_many_trials_are_decided_as_each_alone(verifier):
    rng = np.random.default_rng(3)
    waves = [rng.standard_normal(4800) for _ in range(4)]
    verifier.enrol("a", waves[:1])
    verifier.enrol("b", waves[1:2])
    trials = [(name, wave) for name in ("a", "b") for wave in waves]
    for (name, wave), decision in zip(trials, verifier.verify_many(trials, 3), strict=True):
        alone = verifier.verify(name, wave)
        assert decision.llr == pytest.approx(alone.llr, abs=1e-5)
        assert decision.threshold == alone.threshold and decision.accepted == alone.accepted
    with pytest.raises(UserError, match="nobody_else"):
        verifier.verify_many([("a", waves[0]), ("nobody_else", waves[0])])


def test_the_wave_among_many_in_which_nothing_is_found_is_named(verifier, tmp_path):
    soundfile.write(tmp_path / "opposed.wav", steps(1, -1, 1, -1, 1, -1) / 2, 16000)
    with pytest.raises(UserError, match=r"opposed\.wav"):
        verifier.embed_many([steps(1, 0, 0, 0, 0, 0), tmp_path / "opposed.wav"])


def test_an_encoder_that_no_yaml_describes_is_not_saved(verifier, tmp_path):
    with pytest.raises(UserError, match="two"):
        verifier.save(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


# --- Speech only ---------------------------------------------------------------------------------


class Spectrum(nn.Module):
    """The mean power of a wave in bands, in decibels about their mean."""

    embedding_dim = 24

    def forward(self, waves):
        window = torch.hann_window(512)
        power = torch.stft(waves, 512, 256, window=window, return_complex=True).abs().square()
        bands = power.mean(2)[:, :240].reshape(len(waves), 24, 10).mean(2)
        return nn.functional.layer_norm(10 * torch.log10(bands + 1e-9), (24,))


def of_spectra(**options):
    ensemble = FrozenEnsemble()
    ensemble.add("spectrum", Spectrum())
    state = LogisticFusion().state() | {"weights": [20.0], "bias": -10.0, "n_systems": 1}
    return Verifier(ensemble, LogisticFusion.from_state(state), sample_rate=16000, **options)


@pytest.mark.parametrize("seconds", [None, 3.0], ids=["whole", "centre"])
def test_noise_after_the_speech_moves_the_llr_little_with_vad_and_much_without(seconds):
    a, b = spoken.sentence(), spoken.sentence("en-us+m3")[8000:]
    noisy = np.concatenate([b, spoken.noise(5, 0.1)])
    moved = {}
    for vad in (False, True):
        verifier = of_spectra(vad=vad, score_seconds=seconds)
        moved[vad] = abs(verifier.compare(a, noisy).llr - verifier.compare(a, b).llr)
    assert moved[False] > 1.5 and moved[True] < moved[False] / 3


def test_too_little_speech_is_refused_at_enrolment_and_nobody_is_enrolled(tmp_path):
    verifier = of_spectra(vad=True, store=tmp_path / "speakers.db")
    with pytest.raises(UserError):
        verifier.enrol("a", [spoken.sentence(), spoken.noise(5)])
    assert not (tmp_path / "speakers.db").exists()
    made = verifier.enrol("a", [spoken.sentence()])
    assert 0.5 < made.seconds < len(spoken.sentence()) / 16000


# --- Unlike what the calibration has seen --------------------------------------------------------


def test_a_recording_out_of_range_gives_a_warning_and_an_answer():
    speech = spoken.sentence()
    snr = estimate_snr(speech)
    verifier = of_spectra(calibrated_on=RecordingRange(2.0, 8.0, snr - 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verifier.compare(speech, speech[: 3 * 16000])
    for odd in (speech[:16000], np.tile(speech, 3), speech + spoken.noise(len(speech) / 16000)):
        with out_of_range() as said:
            made = verifier.compare(speech, odd)
        assert len(said) == 1 and math.isfinite(made.llr)
        with pytest.warns(OutOfRangeWarning):
            verifier.embed(odd)
