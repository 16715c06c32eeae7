"""The recipe of the shipped encoder: what a batch hears, who trains, and what the card says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.data.trials import TrialList
from acorl_sb.encoders.shipped import OPEN, SHIPPED
from acorl_sb.training.dataset import change_speed
from tests import spoken

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
sys.path[:0] = [str(RECIPES / "Open"), str(RECIPES / "Complementarity")]

from open_speech import bank, card, evaluation, shipping  # noqa: E402

SPEEDS = (1.0, 0.9)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A bank of four pieces of noise of three speakers, and the waves."""
    folder = tmp_path_factory.mktemp("open")
    waves = [spoken.noise(0.5 + 0.1 * i, seed=i) for i in range(4)]
    pieces = []
    for i, wave in enumerate(waves):
        path = folder / f"{i}.wav"
        soundfile.write(path, wave, 16000, subtype="FLOAT")
        pieces.append(Utterance(f"u{i}", len(wave) / 16000, str(path), 0, len(wave), "aabc"[i]))
    (folder / "bank").mkdir()
    both = np.concatenate([bank.read_piece(piece) for piece in pieces], 1)
    np.save(folder / "bank" / "speech.npy", both)
    np.save(folder / "bank" / "noise.npy", bank.integers(spoken.noise(2.0, seed=9)))
    np.save(folder / "bank" / "rooms.npy", np.eye(1, 800, 3, dtype=np.float32))
    np.save(folder / "bank" / "dev.npy", np.zeros((2, 8000), np.int16))
    made = bank.Bank.load(folder, bank.edges(pieces), SPEEDS, "cpu")
    return made, pieces, waves


def places(made, *items):
    rows = [[int(made.starts[i]), int(made.lengths[i]), 0] for i in items]
    return torch.tensor(rows)


def test_a_crop_is_the_piece_at_its_speed(speech):
    made, pieces, waves = speech
    plain = torch.zeros(1, dtype=torch.long)
    for i, wave in enumerate(waves):
        (crop,) = bank.crops(made, places(made, i), len(wave), plain)
        torch.testing.assert_close(crop, torch.from_numpy(wave), rtol=0, atol=1e-4)
    item = len(pieces)  # the first piece at the second speed
    wanted = change_speed(torch.from_numpy(waves[0]), 0.9)
    (slow,) = bank.crops(made, places(made, item), int(made.lengths[item]), plain)
    torch.testing.assert_close(slow[50:-50], wanted[50 : len(slow) - 50], rtol=0, atol=1e-3)
    (twice,) = bank.crops(made, places(made, 0), 2 * len(waves[0]), plain)
    torch.testing.assert_close(twice[: len(waves[0])], twice[len(waves[0]) :], rtol=0, atol=0)


def test_codecs_keep_the_length_and_change_the_wave():
    wave = spoken.sentence()[:20001]
    rng = np.random.default_rng(0)
    for _ in range(12):
        heard = bank.coded(wave, rng)
        assert heard.shape == wave.shape
        assert not np.allclose(heard, wave, atol=1e-4)


def shares(**chosen):
    return {"coded": 0, "room": 0, "noise": 0, "band": 0} | chosen


def test_what_a_batch_hears(speech):
    made, _, waves = speech
    count, samples = 3, 6000
    at = places(made, *range(count))
    clean = torch.from_numpy(np.stack([wave[:samples] for wave in waves[:count]]))

    def heard(**chosen):
        torch.manual_seed(0)
        return bank.Heard(made, samples, shares(**chosen), (10, 10))(at, None)[0]

    torch.testing.assert_close(heard(), clean, rtol=0, atol=1e-4)
    shifted = torch.nn.functional.pad(clean, (3, 0))[:, :samples]
    torch.testing.assert_close(heard(room=1), shifted, rtol=0, atol=1e-4)
    added = heard(noise=1) - clean
    ratio = 10 * torch.log10(clean.square().mean(1) / added.square().mean(1))
    torch.testing.assert_close(ratio, torch.full((count,), 10.0), rtol=0, atol=0.2)
    upper = torch.fft.rfft(heard(band=1)).abs()[:, -samples // 5 :]
    assert upper.square().mean() < 1e-3 * torch.fft.rfft(clean).abs().square().mean()
    assert not torch.allclose(heard(coded=1), clean, atol=1e-3)


def test_a_voice_at_another_speed_is_another_speaker(speech):
    made, pieces, _ = speech
    data = bank.OpenSpeech(made, pieces, SPEEDS, None)
    assert data.classes == ["a", "b", "c", "a x0.9", "b x0.9", "c x0.9"]
    assert data.labels == [0, 0, 1, 2, 3, 3, 4, 5]
    assert len(made.starts) == len(data.labels)


def test_figures_are_paired_and_small_groups_get_none():
    names = [f"s{i}" for i in range(8) for _ in range(3)]
    utterances = [Utterance(f"u{i}", 1.0, "x", 0, 1, name) for i, name in enumerate(names)]
    enrol, test = np.triu_indices(len(names), 1)
    labels = np.array(names)[enrol] == np.array(names)[test]
    side = TrialSet.of(utterances, TrialList([u.id for u in utterances], enrol, test, labels))
    noise = np.random.default_rng(0).normal(size=len(labels))
    worse, better = labels + noise, 2 * labels + noise
    found = evaluation.compared({"ge2e": worse, "open": better, "same": worse}, side)
    assert found["open"]["change_interval"][1] < 0 and found["open"]["change"] < 0
    assert found["same"]["change"] == 0 and found["same"]["change_interval"] == [0, 0]
    few = evaluation.compared({"ge2e": worse}, side, (enrol < 12) & (test < 12))
    assert few == {"speakers": 4, "target": 12, "nontarget": 54}


def test_the_cards_tables_are_those_of_the_figures():
    made = card.tables(shipping.read_figures(SHIPPED), OPEN)
    for page in (SHIPPED / "README.md", RECIPES / "Open" / "README.md"):
        text = page.read_text(encoding="utf-8")
        assert made in text and card.put_in(text, made) == text
