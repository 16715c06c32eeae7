"""Plain operations on the rows of a matrix of embeddings, on any device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Array = Any  # numpy array or torch tensor
_FAR = 1e12


def as_matrix(vectors: Array, device: torch.device | str | None = None) -> torch.Tensor:
    """(M, D) float32 or float64 tensor, on ``device`` if given; numpy input is not copied."""
    if not isinstance(vectors, torch.Tensor):
        vectors = torch.from_numpy(np.ascontiguousarray(vectors))
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be (M, D), not {tuple(vectors.shape)}")
    dtype = torch.float64 if vectors.dtype == torch.float64 else torch.float32
    return vectors.detach().to(device=device, dtype=dtype)


def as_rows(rows: Array, matrix: torch.Tensor) -> torch.Tensor:
    """Row numbers (N,), int64, on the device of ``matrix``; ``ValueError`` for one outside it."""
    rows = torch.as_tensor(rows).to(device=matrix.device, dtype=torch.int64)
    if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= len(matrix)):
        raise ValueError(f"row numbers must lie in 0 ... {len(matrix) - 1}")
    return rows


def unit_rows(matrix: torch.Tensor, mean: Array | None = None) -> torch.Tensor:
    """(row - mean) / its length, row by row; an all-zero row stays zero. (M, D) to (M, D)."""
    if mean is not None:
        mean = torch.as_tensor(mean).to(matrix)
        if mean.shape != matrix.shape[1:]:
            raise ValueError(
                f"the mean has shape {tuple(mean.shape)}, the vectors {matrix.shape[1]} values each"
            )
        matrix = matrix - mean
    peak = torch.linalg.vector_norm(matrix, torch.inf, dim=1, keepdim=True)  # (M, 1)
    far = (peak > _FAR) | ((peak < 1.0 / _FAR) & (peak > 0.0))
    if bool(far.any()):  # their squares are no float32
        matrix = torch.where(far, matrix / peak, matrix)
    return torch.nn.functional.normalize(matrix, dim=1, eps=torch.finfo(matrix.dtype).tiny)


def row_products(
    left: torch.Tensor,
    right: torch.Tensor,
    left_rows: torch.Tensor,
    right_rows: torch.Tensor,
    block: int = 4096,
) -> torch.Tensor:
    """<left[i], right[j]> of N pairs of rows, (N,); gathers ``block`` pairs at a time.

    A pair's product does not depend on the block or on the other pairs. Raises ``ValueError`` when
    there are not as many left rows as right rows.
    """
    if left_rows.shape != right_rows.shape:
        raise ValueError(f"{len(left_rows)} enrolment rows, but {len(right_rows)} test rows")
    scores = left.new_empty(len(left_rows))  # (N,)
    size = min(block, len(left_rows))
    # Gathering into the same two buffers is several times faster than into fresh memory.
    a, b = left.new_empty(size, left.shape[1]), right.new_empty(size, right.shape[1])
    for start in range(0, len(left_rows), block):
        part = slice(start, start + block)
        n = len(scores[part])
        torch.index_select(left, 0, left_rows[part], out=a[:n])
        torch.index_select(right, 0, right_rows[part], out=b[:n])
        torch.sum(a[:n].mul_(b[:n]), 1, out=scores[part])
    return scores


def group_means(vectors: torch.Tensor, groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (G, D) and size (G,) of each group; ``groups`` (M,) holds numbers 0 ... G - 1.

    Raises ``ValueError`` when a number below the highest has no vector.
    """
    if groups.shape != vectors.shape[:1]:
        raise ValueError(f"{len(vectors)} vectors, but {len(groups)} group numbers")
    sizes = torch.bincount(groups)  # (G,)
    if not bool((sizes > 0).all()):
        raise ValueError("groups must be numbered from 0 without a gap")
    sums = vectors.new_zeros(len(sizes), vectors.shape[1]).index_add_(0, groups, vectors)
    return sums / sizes[:, None], sizes
