"""Batches that are augmented where they are made, so that a GPU does not wait for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from acorl_sb.training.dataset import Batch, StepBatches, batch_loader, read_batch
from acorl_sb.training.epochs import seed_step
from acorl_sb.training.samplers import GroupSampler, SpeakerSampler, StepSampler
from acorl_sb.training.settings import Settings
from acorl_sb.training.training_data import TrainingData
from acorl_sb.utils.distributed import rank_and_world
from acorl_sb.utils.errors import UserError

logger = logging.getLogger(__name__)


class AugmentedBatches(Dataset):
    """A dataset read a batch at a time, with the batch augmented on the CPU.

    What the augmentation draws follows from seed, step and rank, whichever process it runs in.

    Arguments
    ---------
    dataset : Dataset
        ``dataset[draw, item]`` is one example.
    augment : callable(inputs, relative lengths) -> the same
    sampler : StepSampler
        Whose batches are asked for.
    seed : int

    Example
    -------
    >>> sampler = StepSampler(n_items=2, batch_size=2, steps_per_epoch=1, seed=0)
    >>> ones = {(draw, item): (torch.ones(3), 0, item) for draw in (0, 1) for item in (0, 1)}
    >>> noisy = AugmentedBatches(ones, lambda x, lengths: (x + torch.rand(1), lengths), sampler, 0)
    >>> noisy.__getitems__(sampler.indices(0)).inputs.shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        dataset: Any,
        augment: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
        sampler: StepSampler,
        seed: int,
    ):
        self.dataset, self.augment, self.seed = dataset, augment, seed
        self.rank, self.draws = sampler.rank, sampler.batch_size * sampler.world_size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[tuple[int, int]]) -> Batch:
        """The batch of one step, from ``StepSampler.indices``."""
        batch = read_batch(self.dataset, indices)
        step = indices[0][0] // self.draws + 1
        seed_step(self.seed, step, self.rank, stream=1)
        inputs, _ = self.augment(batch.inputs, torch.ones(len(batch.inputs)))
        return batch._replace(inputs=inputs)


def augments_early(augment: Any, device: torch.device) -> bool:
    """Whether batches for a device are augmented where they are made.

    A GPU would wait for each of the many small draws of an augmentation that ran on it. One that is
    made for it has an attribute ``on_device`` that is true, and runs in the step.
    """
    needed = augment is not None and device.type == "cuda"
    return needed and not getattr(augment, "on_device", False)


def make_loader(
    data: TrainingData, settings: Settings, seed: int, augmented: bool = False
) -> DataLoader:
    """This rank's training batches, whatever is random in them following from ``seed``.

    ``augmented``: they are augmented as they are made, by the loader's processes if there are any.
    """
    if settings.per_class > 1:
        check_labelled(data, "per_class")
    how = (settings.batch_size, settings.per_class, None, data.weights, augmented)
    return batch_loader(*_source(data, settings, seed, *how), settings.workers)


def own_batches(
    data: TrainingData,
    settings: Settings,
    seed: int,
    batch_size: int,
    each: int,
    groups: Sequence[str] | None = None,
    augmented: bool = False,
) -> StepBatches:
    """This rank's batches beside those of the task, by as many processes: other inputs than these.

    Arguments
    ---------
    data : TrainingData
    settings : Settings
    seed : int
        Of the member.
    batch_size : int
    each : int
        Items of every class in a batch; 1: drawn evenly over items.
    groups : sequence of str, of each item of ``data``, or None
        A batch is of one of these groups; see ``GroupSampler``.
    augmented : bool
        They are augmented as they are made.

    Returns
    -------
    StepBatches
    """
    seed += 500  # inputs that are not those of the task
    how = (batch_size, each, groups, None, augmented)
    return StepBatches(*_source(data, settings, seed, *how), settings.workers)


def _source(
    data: TrainingData,
    settings: Settings,
    seed: int,
    batch_size: int,
    each: int,
    groups: Sequence[str] | None,
    weights: np.ndarray | None,
    augmented: bool,
) -> tuple[Dataset, StepSampler]:
    """What gives this rank's batches, and which items each of them has."""
    rest = (batch_size, settings.epoch_steps, seed, *rank_and_world(), weights)
    if groups is not None:
        out = sum(not group for group in groups)
        if out:
            told = "own batches: %d of %d training items are in no group with two speakers"
            logger.info(told, out, len(groups))
        sampler = GroupSampler(groups, data.labels, each, *rest)
    elif each > 1:
        sampler = SpeakerSampler(data.labels, each, *rest)
    else:
        sampler = StepSampler(len(data.labels), *rest)
    dataset = data.dataset(settings, seed)
    if augmented:
        dataset = AugmentedBatches(dataset, settings.augment, sampler, seed)
    return dataset, sampler


def pair_batches(
    data: TrainingData, settings: Settings, seed: int, augmented: bool = False
) -> StepBatches | None:
    """The batches of the key ``pair_loss``, ``augmented`` as they are made or not; None without it.

    Raises ``UserError`` as ``pair_groups`` does.
    """
    groups, loss = pair_groups(data, settings), settings.pair_loss
    if loss is None:
        return None
    size = settings.batch_size
    return own_batches(data, settings, seed, size, loss.per_class, groups, augmented)


def pair_groups(data: TrainingData, settings: Settings) -> list[str] | None:
    """The group of each item that the key ``pair_loss`` asks for; None where it asks for none.

    Raises ``UserError`` for unlabelled items and for groups that the data do not know.
    """
    loss = settings.pair_loss
    if loss is None:
        return None
    check_labelled(data, "pair_loss")
    return None if loss.within is None else trial_groups(data, loss.within, "pair_loss")


def trial_groups(data: TrainingData, column: str, key: str) -> list[str]:
    """``data.groups``, empty for the items of a group of one class: it has no non-target pair.

    Raises ``UserError`` as that does, and where no group has two classes.
    """
    groups = data.groups(column, key)
    classes: dict[str, set[int]] = {}
    for group, label in zip(groups, data.labels, strict=True):
        classes.setdefault(group, set()).add(label)
    alone = {group for group, own in classes.items() if group and len(own) < 2}
    if alone and len(alone) == len(classes.keys() - {""}):
        raise UserError(
            f"the key {key!r}: no group of {column} has two training speakers, so that there are "
            "no non-target pairs; name another column or remove it"
        )
    return ["" if group in alone else group for group in groups]


def check_labelled(data: TrainingData, key: str) -> None:
    """UserError for unlabelled items where a key needs batches of several items of a class."""
    if min(data.labels) < 0:
        raise UserError(
            f"the key {key!r} needs labels of all training examples; remove it or the unlabelled "
            "ones (more_unlabelled)"
        )
