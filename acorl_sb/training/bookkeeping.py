"""What a training keeps count of beside the model: means of figures, random states, gradients."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch import nn

from acorl_sb.utils.distributed import rank_and_world, sum_over_ranks
from acorl_sb.utils.files import write_text


@register_checkpoint_hooks
class RunningMeans:
    """Means over an epoch of whatever a step tells, kept over an interruption."""

    def __init__(self):
        self.sums: dict[str, list[float]] = {}

    def clear(self) -> None:
        self.sums = {}

    def add(self, **values: float) -> None:
        for key, value in values.items():
            total, count = self.sums.get(key, (0.0, 0))
            self.sums[key] = [total + value, count + 1]

    def values(self) -> dict[str, float]:
        return {key: total / count for key, (total, count) in self.sums.items()}

    @mark_as_saver
    def save(self, path):
        Path(path).write_text(json.dumps(self.sums), encoding="utf-8")

    @mark_as_loader
    def load(self, path, end_of_epoch):
        self.sums = json.loads(Path(path).read_text(encoding="utf-8"))


def append_line(path: str | Path, line: dict[str, float]) -> None:
    """Add an epoch's figures to a log of JSON lines, in place of any of that epoch or later.

    A resumed training repeats the epoch that it was stopped in.
    """
    path = Path(path)
    earlier = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [old for old in earlier if json.loads(old)["epoch"] < line["epoch"]]
    write_text(path, "\n".join([*kept, json.dumps(line)]) + "\n")


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel's and torch.compile's wrappers, if any."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        module = module.module
    return getattr(module, "_orig_mod", module)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Mean of the gradients over ranks, for steps that bypass DistributedDataParallel."""
    for parameter in parameters:
        if parameter.grad is None:  # had no part in this rank's batch
            parameter.grad = torch.zeros_like(parameter)
        sum_over_ranks(parameter.grad).div_(rank_and_world()[1])


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Set the random states of Python, numpy and torch from (seed, step, rank)."""
    mixed = int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002 - SpeechBrain's augmentations may draw from it
    torch.manual_seed(mixed)
