"""Batches of P speakers with several items each, and the batch of any step."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from acorl_sb.training.dataset import CropDataset, SpeakerSampler, StepBatches, StepSampler, collate
from tests import tiny

LABELS = [0, 0, 0, 1, 1, 2, 3, 3, 3, 3]


def test_each_batch_holds_several_items_of_every_speaker():
    sampler = SpeakerSampler(LABELS, 2, 4, 8, seed=1)
    batches = list(sampler)
    assert len(batches) == 8
    for batch in batches:
        of = Counter(LABELS[item] for _, item in batch)
        assert list(of.values()) == [2, 2]
        for speaker in of:
            items = {item for _, item in batch if LABELS[item] == speaker}
            assert len(items) == min(2, LABELS.count(speaker))
    met = Counter(LABELS[item] for batch in batches for _, item in batch)
    assert set(met.values()) == {8}  # speakers evenly, however many items they have
    assert {item for batch in batches for _, item in batch} > {5}


def test_it_goes_on_in_the_middle():
    whole, late = (SpeakerSampler(LABELS, 2, 4, 4, seed=1) for _ in range(2))
    whole.seek(2)
    late.seek(2, 3)
    assert list(late) == list(whole)[3:]


def test_sizes_must_fit():
    with pytest.raises(ValueError):
        SpeakerSampler(LABELS, 3, 4, 4, seed=1)


def test_step_batches_are_what_a_loader_gives(tmp_path):
    utterances = tiny.hums(tmp_path, speakers=3, each=2)
    data = CropDataset(utterances, [0, 0, 1, 1, 2, 2], 0.2, seed=4)
    loaded = [collate([data[i] for i in batch]) for batch in StepSampler(6, 4, 3, seed=4)]
    batches = StepBatches(data, StepSampler(6, 4, 3, seed=4))
    for step in (3, 1, 2):
        for a, b in zip(loaded[step - 1], batches(step), strict=True):
            assert torch.equal(a, b)
