"""What a step sees depends on the seed and its number alone; a crop is a crop of the file."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from acorl_sb.data.audio import read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.training.dataset import CropDataset, collate
from acorl_sb.training.samplers import StepSampler
from tests import tiny


@pytest.fixture(scope="module")
def utterances(tmp_path_factory):
    return tiny.hums(tmp_path_factory.mktemp("hums"), speakers=2, each=3)


@pytest.mark.parametrize("cache_mb", [0, 0.1, 100])
def test_a_crop_is_a_stretch_of_its_file_whatever_is_cached(utterances, cache_mb):
    data = CropDataset(utterances, [0] * 6, 0.3, seed=5, cache_mb=cache_mb)
    for _ in range(2):  # the second round meets a filled cache
        for draw in range(12):
            wave, label, item = data[draw, draw % 6]
            assert wave.shape == (4800,) and label == 0 and item == draw % 6
            whole = read_audio(utterances[item].wav)
            starts = np.lib.stride_tricks.sliding_window_view(whole, 4800)
            assert (starts == wave.numpy()).all(1).any()


def test_draws_differ_and_repeat(utterances):
    a = CropDataset(utterances, [0] * 6, 0.3, seed=5)
    b = CropDataset(utterances, [0] * 6, 0.3, seed=6)
    assert torch.equal(a[3, 0][0], a[3, 0][0])
    assert not torch.equal(a[3, 0][0], a[4, 0][0])
    assert not torch.equal(a[3, 0][0], b[3, 0][0])


def test_a_short_utterance_is_repeated(utterances):
    wave, *_ = CropDataset(utterances, [0] * 6, 2.0, seed=0)[0, 0]
    whole = read_audio(utterances[0].wav)
    assert len(wave) == 32000
    assert np.array_equal(wave.numpy(), np.resize(whole, 32000))


def test_a_span_of_a_longer_file(utterances):
    u = utterances[0]
    part = type(u)("part", 0.2, u.wav, 1600, 4800, "s0")
    wave, *_ = CropDataset([part], [0], 0.2, seed=0)[0, 0]
    assert np.array_equal(wave.numpy(), read_audio(u.wav, 1600, 4800))


def test_each_pass_sees_every_item_once():
    sampler = StepSampler(n_items=10, batch_size=5, steps_per_epoch=6, seed=3)
    batches = list(sampler)
    passes = [[i for b in batches[k : k + 2] for _, i in b] for k in (0, 2, 4)]
    assert all(sorted(p) == list(range(10)) for p in passes)
    assert passes[0] != passes[1]
    assert [draw for b in batches for draw, _ in b] == list(range(30))


@pytest.mark.parametrize("step", [0, 1, 3])
def test_going_on_in_the_middle(step):
    whole = StepSampler(7, 3, 4, seed=1)
    whole.seek(2)
    late = StepSampler(7, 3, 4, seed=1)
    late.seek(2, step)
    assert list(late) == list(whole)[step:] and len(late) == 4 - step


def test_ranks_share_one_global_batch():
    one = StepSampler(20, 6, 3, seed=2)
    two = [StepSampler(20, 3, 3, seed=2, rank=r, world_size=2) for r in (0, 1)]
    for whole, *parts in zip(one, *two, strict=True):
        assert whole == parts[0] + parts[1]


def test_collate():
    batch = collate([(torch.zeros(4), 1, 7), (torch.ones(4), 0, 8)])
    assert batch.inputs.shape == (2, 4)
    assert batch.labels.tolist() == [1, 0] and batch.items.tolist() == [7, 8]


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_another_speed_is_another_pitch_and_item(tmp_path, cache_mb):
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", tone, 16000, subtype="FLOAT")
    spoken = [Utterance("a", 1.0, str(tmp_path / "a.wav"), 0, 16000, "s")]
    data = CropDataset(spoken, [7, 8, 9], 0.5, 1, cache_mb=cache_mb, speeds=(1.0, 0.9, 1.1))
    assert len(data) == 3
    for item, hertz in enumerate((1000, 900, 1100)):
        wave, label, number = data[5, item]
        assert wave.shape == (8000,) and label == 7 + item and number == item
        assert int(torch.fft.rfft(wave).abs().argmax()) * 2 == hertz  # bins of 2 Hz


def test_a_batch_is_its_items_one_by_one(utterances):
    data = CropDataset(utterances, range(18), 0.3, seed=5, speeds=(1.0, 0.9, 1.1))
    indices = [(draw, draw * 5 % 18) for draw in range(18)]  # speeds mixed
    batch = data.__getitems__(indices)
    for (wave, label, item), index in zip(batch, indices, strict=True):
        alone, *rest = data[index]
        torch.testing.assert_close(wave, alone)
        assert [label, item] == rest
