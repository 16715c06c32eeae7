"""Training crops by step: what a step sees depends on the seed and its number alone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchaudio.functional import resample

from acorl_sb.data.audio import read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.training.samplers import StepSampler
from acorl_sb.utils.random_states import random_states_kept


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


class StepBatches:
    """The batch of any step, made when asked for, or ahead of it: what a second loader would give.

    Arguments
    ---------
    dataset : CropDataset, or another one that is read a batch at a time
        Gives rows of a batch, or the ``Batch`` itself.
    sampler : StepSampler of one rank, over the dataset's items
    workers : int
        Processes that make the batches of the next steps; 0: each is made when asked for.
    """

    def __init__(self, dataset: Dataset, sampler: StepSampler, workers: int = 0):
        self.dataset, self.sampler = dataset, sampler
        self._next: int | None = None  # the step that the loader is at
        self._loader = batch_loader(dataset, sampler, workers) if workers else None

    def __call__(self, step: int) -> Batch:
        """The batch of ``step``, counted from 1 over all of training; in full precision."""
        # Whatever the precision of the step that asks; processes begun in it inherit that. The
        # step goes on drawing as if it had not asked: a loader that begins draws a seed.
        with torch.autocast("cpu", enabled=False), random_states_kept():
            return self._batch(step)

    def _batch(self, step: int) -> Batch:
        if self._loader is None:
            return read_batch(self.dataset, self.sampler.indices(step - 1))
        if step != self._next:
            epoch, done = divmod(step - 1, self.sampler.steps_per_epoch)
            self.sampler.seek(epoch + 1, done)
            self._batches = iter(self._loader)
        # An epoch's last batch ends the iterator: the next epoch begins another.
        self._next = step + 1 if step % self.sampler.steps_per_epoch else None
        return next(self._batches)


def batch_loader(dataset: Dataset, sampler: StepSampler, workers: int) -> DataLoader:
    """A loader of whole batches, made by so many processes; 0: by the one that asks."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=batch_of,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,  # what they have decoded is kept over epochs
    )


def read_batch(dataset: Any, indices: Sequence[tuple[int, int]]) -> Batch:
    """The batch of a dataset's items, read together where the dataset can, as torch's loader."""
    read = getattr(dataset, "__getitems__", None)
    return batch_of(read(indices) if read else [dataset[index] for index in indices])


def batch_of(rows: Batch | Sequence[tuple[torch.Tensor, int, int]]) -> Batch:
    """``collate`` of rows that are not a batch yet."""
    return rows if isinstance(rows, Batch) else collate(rows)
