"""Cosine scores of trials over a matrix of embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Array = Any  # numpy array or torch tensor


def cosine_scores(
    vectors: Array,
    enrol: Array,
    test: Array,
    mean: Array | None = None,
    device: torch.device | str | None = None,
    block: int = 4096,
) -> Array:
    """Cosine similarity of the two embeddings of every trial, (N,) in [-1, 1].

    ``vectors`` is (M, D); ``enrol`` and ``test`` are (N,) row numbers; ``mean`` (D,) is taken off
    every vector first, if given. Each row is brought to unit length once, then rows are gathered
    and multiplied ``block`` trials at a time, so memory is one copy of ``vectors`` and two blocks.
    A trial's score does not depend on the block or on the other trials. An all-zero vector
    scores 0.

    Works in float32 (float64 for float64 vectors) on ``device`` (default: that of ``vectors``).
    Returns a torch tensor of that type for torch ``vectors``, else a float64 numpy array.
    Raises ``ValueError`` when shapes do not fit or a row number lies outside ``vectors``.
    """
    units = unit_rows(as_matrix(vectors, device), mean)  # (M, D)
    enrol, test = as_rows(enrol, units), as_rows(test, units)  # (N,)
    if enrol.shape != test.shape:
        raise ValueError(f"{tuple(enrol.shape)} enrolment rows, but {tuple(test.shape)} test rows")
    scores = units.new_empty(len(enrol))  # (N,)
    left, right = (units.new_empty(min(block, len(enrol)), units.shape[1]) for _ in range(2))
    for start in range(0, len(enrol), block):
        part = slice(start, start + block)
        n = len(scores[part])
        torch.index_select(units, 0, enrol[part], out=left[:n])
        torch.index_select(units, 0, test[part], out=right[:n])
        torch.sum(left[:n].mul_(right[:n]), 1, out=scores[part])
    scores.clamp_(-1.0, 1.0)  # rounding may step over the ends
    return scores if isinstance(vectors, torch.Tensor) else scores.double().cpu().numpy()


def unit_rows(matrix: torch.Tensor, mean: Array | None = None) -> torch.Tensor:
    """(row - mean) / its length, row by row; an all-zero row stays zero. (M, D) to (M, D)."""
    if mean is not None:
        mean = torch.as_tensor(mean).to(matrix)
        if mean.shape != matrix.shape[1:]:
            raise ValueError(
                f"the mean has shape {tuple(mean.shape)}, the vectors {matrix.shape[1]} values each"
            )
        matrix = matrix - mean
    return torch.nn.functional.normalize(matrix, dim=1, eps=torch.finfo(matrix.dtype).tiny)


def as_matrix(vectors: Array, device: torch.device | str | None = None) -> torch.Tensor:
    """(M, D) float32 or float64 tensor, on ``device`` if given; numpy input is not copied."""
    if not isinstance(vectors, torch.Tensor):
        vectors = torch.from_numpy(np.ascontiguousarray(vectors))
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be (M, D), not {tuple(vectors.shape)}")
    dtype = torch.float64 if vectors.dtype == torch.float64 else torch.float32
    return vectors.detach().to(device=device, dtype=dtype)


def as_rows(rows: Array, matrix: torch.Tensor) -> torch.Tensor:
    """int64 row numbers on the device of ``matrix``; ``ValueError`` for one outside it."""
    rows = torch.as_tensor(rows).to(device=matrix.device, dtype=torch.int64)
    if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= len(matrix)):
        raise ValueError(f"row numbers must lie in 0 ... {len(matrix) - 1}")
    return rows
