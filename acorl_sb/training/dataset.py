"""Training crops by step: what a step sees depends on the seed and its number alone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from torchaudio.functional import resample

from acorl_sb.data.audio import read_audio
from acorl_sb.data.manifest import Utterance


class Batch(NamedTuple):
    """``inputs`` (B, T) waves, ``labels`` (B,) int64, ``items`` (B,) int64 of ``CropDataset``."""

    inputs: torch.Tensor
    labels: torch.Tensor
    items: torch.Tensor

    def to(self, device: torch.device | str) -> Batch:
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


def collate(rows: Sequence[tuple[torch.Tensor, int, int]]) -> Batch:
    """Rows of ``CropDataset`` -> one ``Batch``."""
    inputs, labels, items = zip(*rows, strict=True)
    return Batch(torch.stack(inputs), torch.tensor(labels), torch.tensor(items))


def two_views(batch: Batch, augment: Callable) -> Batch:
    """A batch of 2 B items: those of ``batch`` (B), then the same in the same order, augmented.

    It is what ``acorl_sb.complementarity.Agreement`` asks for.
    """
    noisy, _ = augment(batch.inputs, torch.ones(len(batch.inputs), device=batch.inputs.device))
    if noisy.shape != batch.inputs.shape:
        raise ValueError(
            f"the second view of inputs {tuple(batch.inputs.shape)} is {tuple(noisy.shape)}"
        )
    return Batch(torch.cat([batch.inputs, noisy]), batch.labels.repeat(2), batch.items.repeat(2))


def change_speed(wave: torch.Tensor, speed: float | Fraction) -> torch.Tensor:
    """Waves (..., T) played ``speed`` times as fast, ceil(T / speed) samples: higher above 1."""
    ratio = as_ratio(speed)
    return wave if ratio == 1 else resample(wave, ratio.numerator, ratio.denominator)


def as_ratio(speed: float | Fraction) -> Fraction:
    """A speed as a ratio of small whole numbers, which resampling needs."""
    return Fraction(speed).limit_denominator(100)


class KeptAudio:
    """Stretches of audio files, which are decoded once and kept as far as there is room.

    Arguments
    ---------
    cache_mb : float
        What is beyond is read anew each time, and of it only what is asked for.
    sample_rate : int, Hz
    """

    def __init__(self, cache_mb: float, sample_rate: int):
        self.sample_rate = sample_rate
        self._free = int(cache_mb * 1e6)
        self._kept: dict[tuple, np.ndarray] = {}

    def read(
        self, path: str | os.PathLike, stretch: tuple[int, int], first: int, last: int
    ) -> np.ndarray:
        """Samples ``[first, last)`` of a stretch, (last - first,) float32, counted from its start.

        ``stretch`` is the start and stop of what is kept, in samples of the file.
        """
        key = (path, stretch)
        if key not in self._kept:
            start, stop = stretch
            if 4 * (stop - start) > self._free:
                return read_audio(path, start + first, start + last, self.sample_rate)
            self._kept[key] = read_audio(path, start, stop, self.sample_rate)
            self._free -= self._kept[key].nbytes
        return self._kept[key][first:last].copy()


class CropDataset(Dataset):
    """Random crops of one length, read from disk alone or cut from utterances kept in memory.

    Indexed with ``(draw, item)``: the item's row and the number of the draw, from which together
    with the seed the place of the crop follows. Shorter utterances are repeated to the length.
    Item ``i * len(utterances) + j`` is utterance j at the i-th speed: faster and higher above 1,
    slower and lower below, by resampling.

    Arguments
    ---------
    utterances : sequence of Utterance
    labels : sequence of int
        Speaker index of each item.
    crop_seconds : float
    seed : int
    sample_rate : int, Hz
    cache_mb : float
        Keep decoded utterances in memory up to this many megabytes; 0 reads each crop anew.
    speeds : sequence of float
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        labels: Sequence[int],
        crop_seconds: float,
        seed: int,
        sample_rate: int = 16000,
        cache_mb: float = 0,
        speeds: Sequence[float] = (1.0,),
    ):
        self.speeds = [as_ratio(speed) for speed in speeds]
        self.utterances = utterances
        self.labels = labels
        self.crop = round(crop_seconds * sample_rate)
        self.seed = seed
        self._audio = KeptAudio(cache_mb, sample_rate)

    def __len__(self) -> int:
        return len(self.utterances) * len(self.speeds)

    def __getitem__(self, index: tuple[int, int]) -> tuple[torch.Tensor, int, int]:
        return self.__getitems__([index])[0]

    def __getitems__(
        self, indices: Sequence[tuple[int, int]]
    ) -> list[tuple[torch.Tensor, int, int]]:
        """A batch of items, as torch's loader asks for it: one resampling for each speed."""
        numbers = np.array([item // len(self.utterances) for _, item in indices])
        crops = torch.empty(len(indices), self.crop)
        for number in np.unique(numbers):
            rows = np.flatnonzero(numbers == number)
            waves = torch.stack([torch.from_numpy(self._wave(*indices[i])) for i in rows])
            crops[rows] = change_speed(waves, self.speeds[number])[:, : self.crop]
        return [
            (crop, self.labels[item], item) for crop, (_, item) in zip(crops, indices, strict=True)
        ]

    def _wave(self, draw: int, item: int) -> np.ndarray:
        """What becomes an item's crop at its speed, as it was spoken."""
        number, row = divmod(item, len(self.utterances))
        wanted = math.ceil(self.crop * self.speeds[number])
        utterance = self.utterances[row]
        length = utterance.stop - utterance.start
        spare = max(0, length - wanted)
        offset = int(np.random.default_rng((self.seed, draw)).integers(spare + 1))
        stretch = (utterance.start, utterance.stop)
        wave = self._audio.read(utterance.wav, stretch, offset, min(offset + wanted, length))
        return np.resize(wave, wanted) if len(wave) < wanted else wave


class StepSampler(Sampler):
    """Batches of ``(draw, item)`` by step, so that training can start at any step.

    Items come in a new random order in each pass over the data. Over several ranks a step's
    global batch is the same as on one; each rank takes its share of it.

    Arguments
    ---------
    n_items, batch_size : int
        ``batch_size`` of one rank.
    steps_per_epoch : int
    seed : int
    rank, world_size : int
    weights : (n_items,) array or None
        How often an item comes in a pass, on average; their mean is 1. In a pass of ``n_items``
        draws it comes that often rounded down or up. None: once each.
    """

    def __init__(
        self,
        n_items: int,
        batch_size: int,
        steps_per_epoch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        weights: np.ndarray | None = None,
    ):
        if weights is not None and (len(weights) != n_items or abs(np.mean(weights) - 1) > 1e-6):
            raise ValueError(f"weights must be {n_items} of mean 1")
        self.weights = weights
        self.n_items = n_items
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._first = 0
        self._last = steps_per_epoch
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def seek(self, epoch: int, step: int = 0) -> None:
        """Go on in ``epoch`` (from 1) after ``step`` steps of it."""
        self._first = (epoch - 1) * self.steps_per_epoch + step
        self._last = epoch * self.steps_per_epoch

    def __len__(self) -> int:
        return self._last - self._first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        yield from map(self.indices, range(self._first, self._last))

    def indices(self, step: int) -> list[tuple[int, int]]:
        """This rank's ``(draw, item)`` of a step, counted from 0 over all of training."""
        first = (step * self.world_size + self.rank) * self.batch_size
        return [(draw, self._item(draw)) for draw in range(first, first + self.batch_size)]

    def _item(self, draw: int) -> int:
        number, place = divmod(draw, self.n_items)
        if self._order[0] != number:
            generator = np.random.default_rng((self.seed, number))
            order = generator.permutation(self.n_items)
            if self.weights is not None:
                # Systematic sampling: weights laid end to end, a comb of points on them.
                ends = np.cumsum(self.weights[order])[:-1]
                points = np.arange(self.n_items) + generator.random()
                order = generator.permutation(order[np.searchsorted(ends, points)])
            self._order = (number, order)
        return int(self._order[1][place])


class SpeakerSampler(StepSampler):
    """Batches with ``each`` items of every speaker in them, for losses on target pairs.

    Of every ``each`` items the first is drawn as ``StepSampler`` draws it, so that speakers come as
    often as they would without; the others are further items of its speaker, in a new random order
    each time. None is repeated among them where the speaker has enough.

    Arguments
    ---------
    labels : sequence of int, speaker of each item
    each : int >= 2
    batch_size : int
        A multiple of ``each``; what follows is as in ``StepSampler``.
    """

    def __init__(self, labels: Sequence[int], each: int, batch_size: int, *args, **kwargs):
        if each < 2 or batch_size % each:
            raise ValueError(f"{each} items a speaker do not fit batches of {batch_size}")
        super().__init__(len(labels), batch_size, *args, **kwargs)
        order = np.argsort(labels, kind="stable")
        edges = np.flatnonzero(np.diff(np.asarray(labels)[order])) + 1
        groups = {labels[group[0]]: group for group in np.split(order, edges)}
        self.groups = [groups[label] for label in labels]  # of each item: those of its speaker
        self.each = each

    def _item(self, draw: int) -> int:
        place, number = divmod(draw, self.each)
        first = super()._item(place)
        others = self.groups[first][self.groups[first] != first]
        order = np.random.default_rng((self.seed, place, self.each)).permutation(others)
        return int(np.resize([first, *order], self.each)[number])


class StepBatches:
    """The batch of any step, made when asked for: what a second loader would give.

    Arguments
    ---------
    dataset : CropDataset
    sampler : StepSampler of one rank, over the dataset's items
    """

    def __init__(self, dataset: CropDataset, sampler: StepSampler):
        self.dataset, self.sampler = dataset, sampler

    def __call__(self, step: int) -> Batch:
        """The batch of ``step``, counted from 1 over all of training."""
        return collate(self.dataset.__getitems__(self.sampler.indices(step - 1)))
