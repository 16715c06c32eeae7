"""Choosing trials, reading crops, averages over trials and speakers."""

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from acorl_sb.analysis import attributed_trials as trials
from acorl_sb.analysis.crop_trials import choose_trials, read_crops
from acorl_sb.analysis.folds import trial_mean
from acorl_sb.analysis.map_summaries import summarise_member
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.data.trials import TrialList
from acorl_sb.encoders.encoder import SpeakerEncoder


def side(speakers=6, each=5, short=()):
    """All pairs of a small set; utterances named in ``short`` last half a second."""
    utterances = [
        Utterance(f"s{s}-{u}", 0.5 if f"s{s}-{u}" in short else 3.0, "none", 0, 48000, f"s{s}")
        for s in range(speakers)
        for u in range(each)
    ]
    first, second = np.triu_indices(len(utterances), k=1)
    speaker = np.array([u.spk_id for u in utterances])
    labels = speaker[first] == speaker[second]
    ids = [u.id for u in utterances]
    return TrialSet(utterances, TrialList(ids, first, second, labels), first, second)


def test_chosen_trials_are_half_target_and_spread_over_speakers():
    everything = side()
    chosen = choose_trials(everything, 24, 2.0, seed=0)
    assert chosen.labels.sum() == 24 and len(chosen.labels) == 48
    targets = chosen.own[:24][chosen.labels[:24]]
    assert np.unique(targets, return_counts=True)[1].tolist() == [2] * 6
    np.testing.assert_array_equal(chosen.utterances[chosen.opposite][:24], chosen.utterances[24:])
    np.testing.assert_array_equal(chosen.own == chosen.others, chosen.labels)
    again = choose_trials(everything, 24, 2.0, seed=0)
    np.testing.assert_array_equal(chosen.utterances, again.utterances)
    other = choose_trials(everything, 24, 2.0, seed=1)
    assert (chosen.utterances != other.utterances).any()


def test_short_utterances_come_last():
    short = ("s0-0", "s3-2")
    chosen = choose_trials(side(short=short), 40, 2.0, seed=0)
    names = {side().utterances[i].id for i in chosen.utterances}
    assert not names & set(short)
    whole = choose_trials(side(short=short), 10_000, 2.0, seed=0)
    assert len(whole.labels) == 2 * len(side().enrol)  # all there are, each once


def test_elsewhere_is_another_speaker():
    chosen = choose_trials(side(), 24, 2.0, seed=0)
    assert (chosen.own[chosen.elsewhere] != chosen.own).all()


def test_part_takes_both_sides_and_both_classes():
    chosen = choose_trials(side(), 24, 2.0, seed=0)
    rows = chosen.part(6)
    assert len(rows) == 12 and chosen.labels[rows].sum() == 6
    np.testing.assert_array_equal(chosen.opposite[rows[:6]], rows[6:])
    assert len(chosen.part(100)) == 48


def test_crops_are_centred_and_short_ones_repeated(tmp_path):
    wave = np.linspace(-0.5, 0.5, 16000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    long = Utterance("a", 1.0, str(tmp_path / "a.wav"), 0, 16000, "s")
    short = Utterance("b", 0.25, str(tmp_path / "a.wav"), 4000, 8000, "s")
    crops = read_crops([long, short], 0.5, 16000)
    np.testing.assert_allclose(crops[0], wave[4000:12000])
    np.testing.assert_allclose(crops[1], np.tile(wave[4000:8000], 2))


def test_trial_mean_of_independent_values():
    """One trial a speaker: the plain standard error."""
    values = np.random.default_rng(0).normal(size=300)
    speakers = np.arange(300)
    mean, low, high = trial_mean(values, speakers, speakers)
    assert mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 300**0.5, rel=0.1)


def test_trial_mean_knows_that_trials_of_a_speaker_go_together():
    """Ten copies of each speaker's trial bring no new evidence."""
    values = np.random.default_rng(0).normal(size=100)
    once = trial_mean(values, np.arange(100), np.arange(100))
    tenfold = trial_mean(np.tile(values, 10), *[np.tile(np.arange(100), 10)] * 2)
    assert tenfold == pytest.approx(once)
    assert trial_mean(np.array([np.nan]), np.array(["a"]), np.array(["b"]))[0] != 0


class WaveNetwork(nn.Module):
    def forward(self, wave):
        return wave[:, :4]


def test_a_network_of_waves_has_no_map():
    with pytest.raises(trials.NoMelInput):
        chosen = choose_trials(side(), 4, 2.0, seed=0)
        trials.attribute_member(SpeakerEncoder(WaveNetwork(), 4), [], chosen)


def test_band_centres_of_speechbrains_filters():
    from speechbrain.lobes.features import Fbank

    centres = trials.band_centres(SpeakerEncoder(WaveNetwork(), 4, Fbank(n_mels=24)))
    assert len(centres) == 24 and (np.diff(centres) > 0).all() and centres[-1] < 8000
    assert trials.band_centres(SpeakerEncoder(WaveNetwork(), 4, nn.Identity())) is None


def test_a_random_map_is_reported_as_worthless():
    """The verdict follows from the drops alone."""
    rng = np.random.default_rng(0)
    chosen = choose_trials(side(), 60, 2.0, seed=0)
    count = len(chosen.labels)
    cells = torch.randn(count, 20, 4)
    found = trials.attribution.Attribution(
        cells, torch.rand(count), torch.zeros(count), torch.zeros(count)
    )
    noise = rng.normal(size=(3, count))
    names = ("map", "random", "another trial's map")

    def verdict(shift):
        drops = dict(zip(names, 0.01 * noise + np.array([[shift], [0], [0]]), strict=True))
        curves = {name: np.zeros((count, 5)) for name in names}
        classes = rng.integers(0, 3, (count, 20))
        made = trials.MemberMaps(
            cells, found, classes, None, drops, curves, np.arange(count), np.zeros(4)
        )
        return summarise_member(made, chosen)["deletion"]

    assert verdict(0.0)["worthless"] and not verdict(0.0)["specific"]
    assert not verdict(0.2)["worthless"] and verdict(0.2)["specific"]
    assert verdict(-0.2)["worthless"]
