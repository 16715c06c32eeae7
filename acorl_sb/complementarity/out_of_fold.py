"""Honest references: each class is judged by a copy of the reference that never met it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import nn

from acorl_sb.complementarity.combined import OfParts
from acorl_sb.complementarity.objective import ABSENT, Objective, Term, is_absent, zero_loss

FEWEST = 4  # items of one fold below which its term is left out of a step


class OutOfFold(OfParts):
    """One objective a fold, on the items of the fold's classes alone; cross-fitting.

    A reference that was trained on a class is surer of it than of a new one, so what it says of
    training classes is not what it will say in use. Here the classes are divided into F folds, and
    copy f of each reference was trained without fold f (as in stacking, Wolpert 1992). A term that
    compares items, such as one on scores of pairs, sees pairs within a fold only: embeddings of
    two copies cannot be compared. The terms are averaged, weighted by their numbers of items; a
    figure is that mean over the folds that have it.

    Arguments
    ---------
    parts : F objectives of one kind, each built for the K references
    fold_of_class : (C,) int64 in [0, F)

    It is called with K times F embeddings in ``references``, fold by fold: those of copy f of the K
    references are looked at in the rows of fold f only.
    """

    fold_of_class: torch.Tensor  # (C,)

    def __init__(self, parts: Sequence[Objective], fold_of_class: torch.Tensor):
        nn.Module.__init__(self)
        folds = int(fold_of_class.max()) + 1
        if folds > len(parts) or int(fold_of_class.min()) < 0:
            raise ValueError(f"{len(parts)} objectives for {folds} folds")
        self.parts = cast("Sequence[Objective]", nn.ModuleList(parts))
        self.schedule = parts[0].schedule
        self.adversary_steps = parts[0].adversary_steps
        self.register_buffer("fold_of_class", fold_of_class.clone())

    def forward(self, z, references, labels, progress):
        combined = Term(z.new_zeros(()))
        idle = list(self.parts)
        told = {}  # figure -> its shares and values, fold by fold
        for part, rows, own in self._folds(references, labels):
            term = part(z.index_select(0, rows), own, labels[rows], progress)
            idle.remove(part)
            share = len(rows) / len(labels)
            combined.loss = combined.loss + share * term.loss
            combined.task_weight, combined.limit = term.task_weight, term.limit
            for key, value in term.logs.items():
                told.setdefault(key, []).append((share, value))
        without = (p for part in idle for p in part.parameters())
        combined.loss = combined.loss + zero_loss(z, without)
        if not told:
            told = {key: [] for key in self._names(z, references, progress)}
        combined.logs = {key: _mean_of_folds(figures) for key, figures in told.items()}
        return combined

    def further_loss(self, step, z, references, labels):
        losses = [
            len(rows) / len(labels) * part.further_loss(step, z[rows], own, labels[rows])
            for part, rows, own in self._folds(references, labels)
        ]
        # A batch without enough items of a fold teaches its adversary nothing.
        return sum(losses, zero_loss(z.detach(), self.further_parameters(step)))

    @torch.no_grad()
    def _names(self, z: torch.Tensor, references: Sequence[torch.Tensor], progress: float):
        """Names of the figures, from items made up for it: a batch of no fold has them, too."""
        part = self.parts[0]
        own = references[: len(references) // len(self.parts)]
        made_up = [v.new_zeros(FEWEST, v.shape[1]) for v in (z, *own)]
        labels = torch.zeros(FEWEST, dtype=torch.long, device=z.device)
        training = {module: module.training for module in part.modules()}
        part.eval()  # it counts nothing in
        names = list(part(made_up[0], made_up[1:], labels, progress).logs)
        for module, before in training.items():
            module.training = before
        return names

    def _folds(self, references: Sequence[torch.Tensor], labels: torch.Tensor) -> Iterator[tuple]:
        """Of each fold with enough items: its objective, its rows, its copies' embeddings."""
        number = len(references) // len(self.parts)  # K
        folds = self.fold_of_class[labels]
        for f, part in enumerate(self.parts):
            rows = torch.nonzero(folds == f).squeeze(1)
            if len(rows) >= FEWEST:
                copies = references[f * number : (f + 1) * number]
                yield part, rows, [copy[rows] for copy in copies]


def _mean_of_folds(figures: Sequence[tuple[float, torch.Tensor | float]]) -> torch.Tensor | float:
    """Mean of a figure, weighted by the folds' shares of the batch, over the folds that have it."""
    there = [(share, value) for share, value in figures if not is_absent(value)]
    if not there:
        return ABSENT
    return sum(share * value for share, value in there) / sum(share for share, _ in there)


def deal_folds(n_groups: int, folds: int, repeats: int = 1) -> torch.Tensor:
    """Fold of each class (C,), C = n_groups * repeats: groups dealt out in turn.

    Class ``r * n_groups + g`` is the r-th version of group g (a voice at another speed): all
    versions of a group are in one fold, or a copy would have met it.

    >>> deal_folds(3, 2, repeats=2)
    tensor([0, 1, 0, 0, 1, 0])
    """
    return (torch.arange(n_groups) % folds).repeat(repeats)


def out_of_fold(
    factory: Callable[..., Objective],
    dim: int,
    reference_dims: Sequence[int],
    n_classes: int,
    fold_of_class: torch.Tensor,
) -> OutOfFold:
    """``OutOfFold`` with one objective a fold of ``factory``; ``reference_dims`` of all copies."""
    folds = int(fold_of_class.max()) + 1
    number = len(reference_dims) // folds
    parts = [
        factory(
            dim=dim,
            reference_dims=reference_dims[f * number : (f + 1) * number],
            n_classes=n_classes,
        )
        for f in range(folds)
    ]
    return OutOfFold(parts, fold_of_class)
