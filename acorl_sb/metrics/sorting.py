"""Trials checked, parted by label and sorted once: what every detection metric works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Array = Any  # numpy array, torch tensor, or a plain sequence of numbers

_FEW = 1 << 20  # trials that are copied from a GPU in less time than a search there takes
_PIECE = 1 << 15  # trials parted by label at a time


@dataclass(frozen=True)
class SortedTrials:
    """The two score lists, each ascending, float64, on one device; all that the metrics need.

    Make it once with ``sort_trials`` and hand it to any metric in place of ``scores`` (with
    ``labels`` None) to share the sort between metrics.
    """

    target: torch.Tensor  # (n_target,)
    nontarget: torch.Tensor  # (n_nontarget,)

    @property
    def n_target(self) -> int:
        return self.target.numel()

    @property
    def n_nontarget(self) -> int:
        return self.nontarget.numel()

    def near(self) -> SortedTrials:
        """The same on the CPU where they are few: searching takes many looks, each a wait."""
        if self.n_target + self.n_nontarget > _FEW:
            return self
        return SortedTrials(self.target.cpu(), self.nontarget.cpu())


def sort_trials(scores: Array, labels: Array) -> SortedTrials:
    """Check scores (N,) and labels (N,), part them by label and sort each part."""
    target, nontarget = split(scores, labels)
    target, nontarget = sort(target), sort(nontarget)
    # NaN sorts last, so the two ends of a sorted list tell whether all of it is finite.
    ends = torch.stack([target[0], target[-1], nontarget[0], nontarget[-1]])
    if not bool(torch.isfinite(ends).all()):
        raise ValueError("scores must be finite: at least one is NaN or infinite")
    return SortedTrials(target, nontarget)


def as_sorted(scores: Array, labels: Array) -> SortedTrials:
    """Trials that are sorted already as they are, others sorted; see ``sort_trials``."""
    return scores if isinstance(scores, SortedTrials) else sort_trials(scores, labels)


def as_scores(scores: Array) -> torch.Tensor:
    """Scores of any shape as float64 on their device; numpy's float64 is shared, not copied."""
    if not isinstance(scores, torch.Tensor):
        scores = torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float64))
    return scores.detach().to(torch.float64)


def as_labels(labels: Array, device: torch.device) -> torch.Tensor:
    """Labels of any shape as bool on ``device``; ``ValueError`` for anything but 0 and 1."""
    if not isinstance(labels, torch.Tensor):
        labels = torch.from_numpy(np.ascontiguousarray(labels))
    if labels.dtype != torch.bool:
        wrong = labels[(labels != 0) & (labels != 1)]
        if wrong.numel():
            raise ValueError(f"labels must be 0 or 1 (non-target, target), not {wrong[0].item()}")
        labels = labels != 0
    return labels.to(device)


def split(scores: Array, labels: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Target scores (T,) and non-target scores (F,), unsorted."""
    if isinstance(scores, SortedTrials):
        return scores.target, scores.nontarget
    scores = as_scores(scores)
    labels = as_labels(labels, scores.device)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            "scores and labels must be two lists of one length, "
            f"not of shapes {tuple(scores.shape)} and {tuple(labels.shape)}"
        )
    if scores.device.type == "cpu":
        target, nontarget = _part(scores.numpy(), labels.numpy())
    else:
        target, nontarget = scores[labels], scores[~labels]
    if not target.numel() or not nontarget.numel():
        raise ValueError(
            "both classes are needed: there are "
            f"{target.numel()} target and {nontarget.numel()} non-target trials"
        )
    return target, nontarget


def _part(values: np.ndarray, flags: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Copies of the flagged values and of the others."""
    n = int(np.count_nonzero(flags))
    parts = np.empty(n), np.empty(len(values) - n)
    filled = [0, 0]
    # Indices, as a random boolean mask mispredicts a branch on every trial; a piece at a time, so
    # that they stay in the cache.
    for start in range(0, len(values), _PIECE):
        piece = slice(start, start + _PIECE)
        for side, chosen in enumerate((flags[piece], ~flags[piece])):
            index = chosen.nonzero()[0]
            end = filled[side] + len(index)
            values[piece].take(index, out=parts[side][filled[side] : end], mode="clip")
            filled[side] = end
    return torch.from_numpy(parts[0]), torch.from_numpy(parts[1])


def sort(values: torch.Tensor) -> torch.Tensor:
    """Values (N,) in ascending order, NaN last; on the CPU in place."""
    if values.device.type == "cpu":
        values.numpy().sort()  # vectorised, and makes no indices
        return values
    return torch.sort(values).values
