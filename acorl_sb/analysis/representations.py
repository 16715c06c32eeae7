"""How alike two members' embeddings are: CKA and canonical correlations; docs/analysis.md.

Embeddings are torch tensors (N, D) and (N, E) of the same N utterances, in the same order; the
work is done in float64 on their device. Every measure here is blind to rotations, to shifts and
to one common scale of either side.

scikit-learn's ``CCA`` goes direction by direction (NIPALS) on the CPU and has no shrinkage, without
which correlations of a few hundred dimensions say nothing on held-out rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import helmert

from acorl_sb.analysis.folds import speaker_folds, speaker_index
from acorl_sb.complementarity.similarity import unbiased_linear_cka


def linear_cka(x: torch.Tensor, y: torch.Tensor) -> float:
    """Unbiased linear CKA: 1 for rotations of each other, about 0 (also below) when independent."""
    return float(unbiased_linear_cka(x.double(), y.double()))


class Canonical(NamedTuple):
    """Canonical correlations on held-out speakers.

    ``spectrum`` (min(D, E),) in [-1, 1], in the order of the training folds' correlations;
    ``mean`` its mean.
    """

    spectrum: np.ndarray
    mean: float


def canonical_correlations(
    x: torch.Tensor,
    y: torch.Tensor,
    speakers: Sequence[Hashable],
    folds: int = 5,
    shrinkage: float = 0.01,
    seed: int = 0,
) -> Canonical:
    """Canonical correlations (Hotelling 1936), regularised and cross-validated by speaker.

    The pairs of directions are those of (Cxx + r tr(Cxx)/D I)^-1/2 Cxy (Cyy + r tr(Cyy)/E I)^-1/2
    over the training folds, r = ``shrinkage``; their correlation is then taken on the held-out
    fold and averaged over folds by the number of its rows. On the rows they are fitted on,
    canonical correlations of independent members are far above 0 unless N is many times D + E.

    Raises ``ValueError`` with fewer than two speakers or no variance at all.
    """
    x, y = x.double(), y.double()
    fold = torch.from_numpy(speaker_folds(speakers, folds, seed)).to(x.device)
    total, rows = 0.0, 0
    for k in range(int(fold.max()) + 1):
        held = fold == k
        if int(held.sum()) < 2:
            continue  # a single row has no correlation
        a, b = _directions(x[~held], y[~held], shrinkage)
        u, v = x[held] @ a, y[held] @ b  # (n, R) each
        u, v = u - u.mean(0), v - v.mean(0)
        scale = (u.square().sum(0) * v.square().sum(0)).sqrt()
        correlation = (u * v).sum(0) / scale.clamp(min=torch.finfo(u.dtype).tiny)
        total = total + correlation * len(u)
        rows += len(u)
    if not rows:
        raise ValueError("no fold holds two rows to correlate")
    spectrum = (total / rows).cpu().numpy()
    return Canonical(spectrum, float(spectrum.mean()))


def _directions(
    x: torch.Tensor, y: torch.Tensor, shrinkage: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Directions (D, R) and (E, R) whose projections correlate most, strongest first."""
    x, y = x - x.mean(0), y - y.mean(0)
    half_x, half_y = _root(x.T @ x, shrinkage), _root(y.T @ y, shrinkage)
    cross = torch.linalg.solve_triangular(half_x, x.T @ y, upper=False)  # Lx^-1 Cxy
    cross = torch.linalg.solve_triangular(half_y, cross.T, upper=False).T  # Lx^-1 Cxy Ly^-T
    u, _, vt = torch.linalg.svd(cross, full_matrices=False)
    a = torch.linalg.solve_triangular(half_x.T, u, upper=True)
    b = torch.linalg.solve_triangular(half_y.T, vt.T, upper=True)
    return a, b


def _root(covariance: torch.Tensor, shrinkage: float) -> torch.Tensor:
    """Cholesky factor L (D, D) of the shrunken covariance."""
    level = covariance.diagonal().mean()
    if not bool(level > 0):
        raise ValueError("the embeddings do not vary, so nothing can be correlated with them")
    eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.cholesky(covariance + shrinkage * level * eye)


def within_speaker(
    x: torch.Tensor, speakers: Sequence[Hashable]
) -> tuple[torch.Tensor, np.ndarray]:
    """What is left of embeddings (N, D) once the speaker is taken out: rows (N - S, D).

    Each speaker's n rows are replaced by n - 1 orthonormal (Helmert) contrasts among them. Like
    the deviations from the speaker's mean they do not depend on that mean, but deviations of one
    speaker sum to zero, which makes two independent members look alike; contrasts do not.
    A speaker with one row leaves none. Returns the rows and the speaker index (N - S,) of each.
    """
    index = speaker_index(speakers)
    rows, owners = [], []
    for speaker in range(index.max() + 1):
        own = np.flatnonzero(index == speaker)
        if len(own) < 2:
            continue
        contrasts = torch.from_numpy(helmert(len(own))).to(x.device)  # (n - 1, n)
        rows.append(contrasts @ x[torch.from_numpy(own).to(x.device)].double())
        owners.append(np.full(len(own) - 1, speaker))
    if not rows:
        raise ValueError("no speaker has two utterances, so nothing is left within speakers")
    return torch.cat(rows), np.concatenate(owners)
