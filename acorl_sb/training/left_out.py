"""What a step leaves out: figures that its batch does not have, a batch that is not to be kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from acorl_sb.complementarity.objective import is_absent
from acorl_sb.training.batchnorm import SharedBatchNorm
from acorl_sb.utils.distributed import mean_over_ranks, rank_and_world


def means_where_there(
    figures: Mapping[str, torch.Tensor | float], device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Figures of a step, each its mean over the ranks that have it.

    A rank without one says ``ABSENT``, since all ranks must bring the same names. What no rank has
    is left out, and thus out of the epoch's mean. ``device`` is where ranks exchange tensors.
    """
    there = {name: not is_absent(value) for name, value in figures.items()}
    if rank_and_world()[1] == 1:
        return mean_over_ranks({n: v for n, v in figures.items() if there[n]}, device)
    sums = {name: value if there[name] else 0.0 for name, value in figures.items()}
    counts = {f"{name} there": float(known) for name, known in there.items()}
    means = mean_over_ranks({**sums, **counts}, device)
    shares = {name: means[f"{name} there"] for name in figures}
    return {name: means[name] / share for name, share in shares.items() if share}


@contextlib.contextmanager
def held(module: nn.Module) -> Iterator[None]:
    """Keep ``module`` from counting a batch in: it is in eval mode, and afterwards as it was.

    Batch norms stay as they are, since other ranks wait for this one's statistics.
    """
    norms = nn.modules.batchnorm._BatchNorm | SharedBatchNorm
    training = [m for m in module.modules() if m.training and not isinstance(m, norms)]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
