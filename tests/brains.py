"""Brains of a few linear layers on vectors: single steps without audio."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import torch
from torch import nn

from acorl_sb.complementarity import out_of_fold
from acorl_sb.encoders.ensemble import FrozenEnsemble, OutOfFoldReferences
from acorl_sb.training.brain import ComplementaryBrain, SpeakerBrain
from acorl_sb.training.dataset import Batch
from acorl_sb.training.heads import SoftmaxHead
from tests import tiny

SIZE, DIM, REFERENCE = 8, 6, 5  # of an input, a new embedding, a reference's

descent = functools.partial(torch.optim.SGD, lr=0.1)


def batch(seed: int, labels, count: int = 12) -> Batch:
    """Random inputs (count, SIZE) of the given labels, over again where there are fewer."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.as_tensor(labels).repeat(count)[:count]
    return Batch(torch.randn(count, SIZE, generator=generator), labels, torch.arange(count))


def brain(
    objective=None,
    n_classes: int = 6,
    options=tiny.CPU,
    head=None,
    optimizer=descent,
    adversary=descent,
    hparams=None,
    folds=None,
    **more,
):
    """A brain in its first epoch; ``objective(dim, ...)`` makes its objective, out of ``folds``."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(SIZE, DIM), nn.Tanh(), nn.Linear(DIM, DIM))
    modules = {"encoder": encoder, "head": head or SoftmaxHead(DIM, n_classes)}
    reference = nn.Linear(SIZE, REFERENCE)
    reference.embedding_dim = REFERENCE
    values = {
        "name": "x",
        "seed": 0,
        "total_steps": 60,
        "lr_schedule": lambda optimizer, step: None,
        "augment": None,
        "sampler": SimpleNamespace(steps_per_epoch=60, seek=lambda *place: None),
        **(hparams or {}),
    }
    if objective is None:
        made = SpeakerBrain(modules, optimizer, values, options)
    else:
        ensemble = FrozenEnsemble()
        ensemble.add("reference", reference)
        if folds is None:
            references, of = ensemble, {"reference_dims": ensemble.dims}
        else:
            references = OutOfFoldReferences([ensemble] * (int(folds.max()) + 1), folds)
            of = {"reference_dims": references.dims, "fold_of_class": folds}
            objective = functools.partial(out_of_fold, objective)
        modules["objective"] = objective(dim=DIM, n_classes=n_classes, **of)
        made = ComplementaryBrain(
            *(modules, optimizer, values, options),
            references=references,
            adversary_opt_class=adversary,
            **more,
        )
    made._wrap_distributed()
    made.init_optimizers()
    made.epoch = 1
    made.modules.train()
    return made


def step(brain: SpeakerBrain, batch: Batch) -> float:
    """Train on a batch; the loss."""
    brain.step += 1
    return float(brain.fit_batch(batch))
