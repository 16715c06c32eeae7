"""Two ranks whose batches are not alike in what a term can use; for ``test_distributed``.

    torchrun --nproc_per_node=2 tests/uneven_ranks.py FOLDER

Leaves in FOLDER what each rank ended with, what its batches told and what the log is told.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import torch
from torch import nn

from acorl_sb.complementarity import (
    Adversarial,
    ConditionalRedundancy,
    Distillation,
    ResidualTarget,
)
from acorl_sb.utils import distributed
from tests import tiny
from tests.brains import batch, brain, step

SOME, OTHERS = torch.arange(6), torch.arange(12)  # of twelve items; the others have no pair
residual = functools.partial(Adversarial, target=ResidualTarget, adversary_steps=3)


class OnOneRank(nn.Module):
    """An augmentation that changes the batches of rank 0 in each second step, and in the last."""

    calls = 0

    def forward(self, inputs, lengths):
        self.calls += 1
        on = self.calls == 4 or (self.calls % 2 == 0 and distributed.rank_and_world()[0] == 0)
        return (inputs + 1 if on else inputs), lengths


# A member's brain, and the labels of each step on rank 0 and on rank 1.
CASES = {
    "first batches": ({"objective": Distillation}, [(SOME, SOME)] * 3),
    "pairs on one rank": (
        {"objective": ConditionalRedundancy},
        [(SOME, SOME), (OTHERS, SOME), (OTHERS, OTHERS), (SOME, OTHERS)],
    ),
    "no labels on one rank": (
        {"objective": Distillation, "hparams": {"unlabelled": True}},
        [(SOME, SOME), (torch.tensor([-1]), SOME), (SOME, torch.tensor([-1])), (SOME, SOME)],
    ),
    "a fold on one rank": (
        {"objective": residual, "folds": torch.arange(12) % 2},
        [(SOME, torch.tensor([0, 2, 4])), (torch.tensor([1, 3]), SOME), (SOME, SOME)],
    ),
    "augmented on one rank": (
        {"objective": residual, "view": "unaugmented", "hparams": {"augment": OnOneRank()}},
        [(SOME, SOME)] * 5,
    ),
}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    options, _ = distributed.start(tiny.CPU)
    rank = distributed.rank_and_world()[0]
    ended = {}
    for name, (parts, steps) in CASES.items():
        made = brain(**parts, n_classes=12, options=options)
        told = []
        exchange = made.on_fit_batch_end

        def noting(batch, outputs, loss, should_step, made=made, told=told, exchange=exchange):
            told.append({key: float(value) for key, value in made.told.items()})
            exchange(batch, outputs, loss, should_step)

        made.on_fit_batch_end = noting
        for number, labels in enumerate(steps):
            step(made, batch(2 * number + rank, labels[rank]))
        weights = torch.cat([p.detach().flatten() for p in made.modules.parameters()])
        ended[name] = {"weights": weights, "told": told, "means": made.means.values()}
        distributed.wait_for_ranks()
    torch.save(ended, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
