"""Which training items make up the batch of a step, so that training can start at any step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


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


def by_label(labels: np.ndarray) -> list[np.ndarray]:
    """The places of each label of (N,), ascending, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    edges = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, edges)


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
        groups = {labels[own[0]]: own for own in by_label(np.asarray(labels))}
        self.groups = [groups[label] for label in labels]  # of each item: those of its speaker
        self.each = each

    def _item(self, draw: int) -> int:
        place, number = divmod(draw, self.each)
        first = super()._item(place)
        others = self.groups[first][self.groups[first] != first]
        order = np.random.default_rng((self.seed, place, self.each)).permutation(others)
        return int(np.resize([first, *order], self.each)[number])


class GroupSampler(SpeakerSampler):
    """``SpeakerSampler`` whose batches are of one group of speakers each, such as one corpus.

    The group is that of an item at random, so that groups come as often as they have items. Then
    so many of its speakers are drawn as a batch holds, and so many of the items of each. Speakers
    and items are repeated where there are too few.

    Arguments
    ---------
    groups : sequence of str, of each item
        An item whose group is ``""`` is in no batch.
    labels, each, batch_size : see ``SpeakerSampler``
        Items of a speaker that are in different groups are in different batches.
    """

    def __init__(
        self, groups: Sequence[str], labels: Sequence[int], each: int, batch_size: int, *args
    ):
        super().__init__(labels, each, batch_size, *args)
        groups, labels = np.asarray(groups), np.asarray(labels)
        speakers: dict[str, list[np.ndarray]] = {}
        for group in np.unique(groups[groups != ""]):
            own = np.flatnonzero(groups == group)
            speakers[group] = [own[rows] for rows in by_label(labels[own])]
        self.known = np.flatnonzero(groups != "")
        self.group_of_item, self.speakers_of_group = groups, speakers

    def indices(self, step: int) -> list[tuple[int, int]]:
        """This rank's ``(draw, item)`` of a step, counted from 0 over all of training."""
        first = (step * self.world_size + self.rank) * self.batch_size
        generator = np.random.default_rng((self.seed, first, self.each))
        speakers = self.speakers_of_group[self.group_of_item[generator.choice(self.known)]]
        drawn = np.resize(generator.permutation(len(speakers)), self.batch_size // self.each)
        items = [np.resize(generator.permutation(speakers[s]), self.each) for s in drawn]
        return [(first + i, int(item)) for i, item in enumerate(np.concatenate(items))]
