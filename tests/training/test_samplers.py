"""Batches of P speakers with several items each, and the batch of any step."""

from __future__ import annotations

import pytest
import torch

from acorl_sb.training.dataset import CropDataset, StepBatches, collate
from acorl_sb.training.samplers import GroupSampler, SpeakerSampler, StepSampler
from tests import tiny

LABELS = [0, 0, 0, 1, 1, 2, 3, 3, 3, 3]


def test_each_batch_holds_several_items_of_its_speakers():
    sampler = SpeakerSampler(LABELS, 2, 4, 20, seed=1)
    plain = [item for batch in StepSampler(len(LABELS), 2, 20, seed=1) for _, item in batch]
    batches = [[item for _, item in batch] for batch in sampler]
    assert len(batches) == 20
    assert [item for batch in batches for item in batch[::2]] == plain
    for batch in batches:
        for first, second in zip(batch[::2], batch[1::2], strict=True):
            assert LABELS[first] == LABELS[second]
            assert (first == second) == (LABELS.count(LABELS[first]) == 1)
    partners = {(b[0], b[1]) for b in batches}
    assert len({second for first, second in partners if LABELS[first] == 3}) > 1


def test_a_speaker_with_too_few_items_repeats_them():
    (batch,) = SpeakerSampler([0, 0, 1], 4, 12, 1, seed=0)
    items = [item for _, item in batch]
    assert sorted(items.count(item) for item in (0, 1, 2)) == [4, 4, 4]


def test_it_goes_on_in_the_middle():
    whole, late = (SpeakerSampler(LABELS, 2, 4, 4, seed=1) for _ in range(2))
    whole.seek(2)
    late.seek(2, 3)
    assert list(late) == list(whole)[3:]


def test_sizes_must_fit():
    with pytest.raises(ValueError):
        SpeakerSampler(LABELS, 3, 4, 4, seed=1)


@pytest.mark.parametrize("workers", [0, 2])
def test_step_batches_are_what_a_loader_gives(tmp_path, workers):
    utterances = tiny.hums(tmp_path, speakers=3, each=2)
    data = CropDataset(utterances, [0, 0, 1, 1, 2, 2], 0.2, seed=4)
    plain = StepSampler(6, 4, 3, seed=4)
    loaded = [collate([data[i] for i in plain.indices(step)]) for step in range(6)]
    batches = StepBatches(data, StepSampler(6, 4, 3, seed=4), workers)
    for step in (2, 3, 4, 5, 6, 1, 2, 6):  # over the end of an epoch, and back
        for a, b in zip(loaded[step - 1], batches(step), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("workers", [0, 2])
def test_step_batches_are_in_full_precision_whatever_that_of_the_step(tmp_path, workers):
    utterances = tiny.hums(tmp_path, speakers=3, each=2)
    data = CropDataset(utterances, [0, 0, 1, 1, 2, 2], 0.2, seed=4, speeds=(0.9,))
    wanted = StepBatches(data, StepSampler(6, 4, 3, seed=4))(1).inputs
    with torch.autocast("cpu", torch.bfloat16):
        made = StepBatches(data, StepSampler(6, 4, 3, seed=4), workers)(1).inputs
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, wanted)  # a process of its own may round otherwise


GROUPS = ["x", "x", "x", "y", "y", "y", "x", "x", "", "x"]  # of the items of LABELS


def test_each_batch_is_of_one_group():
    sampler = GroupSampler(GROUPS, LABELS, 2, 4, 60, 1)
    seen = {"x": 0, "y": 0}
    for batch in sampler:
        items = [item for _, item in batch]
        (group,) = {GROUPS[item] for item in items}
        seen[group] += 1
        for first, second in zip(items[::2], items[1::2], strict=True):
            assert LABELS[first] == LABELS[second]
            assert (first == second) == (GROUPS.count(group) == 3 and LABELS[first] == 2)
        assert len({LABELS[item] for item in items}) == 2
    # Six items of nine are in x: 40 batches of 60 on average, 3.7 standard deviation.
    assert 25 <= seen["x"] <= 55 and seen["x"] + seen["y"] == 60


def test_groups_with_few_speakers_repeat_them():
    for batch in GroupSampler(["x"] * 3, [0, 0, 1], 2, 8, 5, 1):
        labels = [(0, 0, 1)[item] for _, item in batch]
        assert labels.count(0) == labels.count(1) == 4


def test_groups_follow_from_the_step_and_ranks_draw_apart():
    whole, late, other = (GroupSampler(GROUPS, LABELS, 2, 4, 9, 1, rank, 2) for rank in (0, 0, 1))
    assert list(late)[4:] == [whole.indices(step) for step in range(4, 9)]
    draws = [draw for batch in [*whole, *other] for draw, _ in batch]
    assert len(set(draws)) == len(draws)
    assert [[i for _, i in batch] for batch in whole] != [[i for _, i in batch] for batch in other]
