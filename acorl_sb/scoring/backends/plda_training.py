"""Training of the two-covariance PLDA: EM, LDA and whitening on labelled embeddings.

SpeechBrain's ``PLDA_LDA`` was looked at: its EM is of the subspace model on numpy, in time that
grows with the sessions of a speaker, and it gives no log-likelihood to stop by. scikit-learn has an
LDA but no PLDA. So both are here, on torch tensors of any device.
"""

from __future__ import annotations

import math

import torch

from acorl_sb.scoring.backends.rows import group_means


def train(
    vectors: torch.Tensor, speakers: torch.Tensor, iterations: int, tolerance: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[float]]:
    """EM for the two-covariance model: (mean, B, W, log-likelihoods).

    ``vectors`` is (M, d) float64, ``speakers`` (M,) numbers from 0. The start is the method of
    moments. The log-likelihoods (mean per vector, nats) are those of the start and of each
    iteration's result; training ends when one gains less than ``tolerance``.

    The data enter by each speaker's mean and count and by the scatter within speakers alone. These
    are carried along in the diagonal space of the current parameters, where the posterior of each
    speaker is a scaling of each dimension, so an iteration does not touch the M vectors.
    """
    data = _Statistics(vectors, speakers)
    n, S, d, M = data.n, len(data.n), vectors.shape[1], len(vectors)
    if S < 2:
        raise ValueError("PLDA needs training embeddings of at least two speakers")
    if d > M - S:
        raise ValueError(
            f"{M} embeddings of {S} speakers are too few for a within-speaker covariance of {d} "
            "dimensions; add embeddings, or reduce the dimensions by LDA"
        )
    mean = vectors.mean(0)
    centred = data.means - data.means.mean(0)
    within = data.scatter / (M - S)
    between = centred.T @ centred / (S - 1) - within * n.reciprocal().mean()
    u, scatter = data.means - mean, data.scatter  # (S, d), (d, d) in the current space
    to_u = torch.eye(d).to(vectors)  # (d, d): u = (x - mean) to_u
    moved = torch.zeros_like(mean)  # (d,) way of the model's mean so far, in the current space
    log_det, history = 0.0, []  # log |det to_u|
    for iteration in range(iterations + 1):
        V, psi, step = _diagonalise(between, within)
        if iteration == 0:
            # EM leaves a direction of zero between-speaker variance at zero for good.
            psi = psi.clamp(min=1e-6 * float(psi[-1].clamp(min=1e-300)))
        u, scatter, to_u = u @ V, V.T @ scatter @ V, to_u @ V
        moved, log_det = moved @ V, log_det + step
        history.append(data.log_likelihood(u, psi, scatter.trace(), log_det))
        gained = iteration == 0 or history[-1] - history[-2] >= tolerance
        if iteration == iterations or not gained:
            break
        # E-step: mean and variance of each speaker's y - mean.
        variance = psi / (1.0 + n * psi)  # (S, d)
        y = n * variance * u  # (S, d)
        # M-step. The mean moves by ``shift``; u - y is what W has to explain of a speaker's mean.
        shift, rest = y.mean(0), (u - y) * n.sqrt()
        between = y.T @ y / S - torch.outer(shift, shift) + torch.diag(variance.mean(0))
        within = (scatter + rest.T @ rest + torch.diag((n * variance).sum(0))) / M
        u, moved = u - shift, moved + shift
    inverse = torch.linalg.inv(to_u)  # (d, d)
    return mean + moved @ inverse, (inverse.T * psi) @ inverse, inverse.T @ inverse, history


def log_likelihood(
    vectors: torch.Tensor,
    speakers: torch.Tensor,
    mean: torch.Tensor,
    between: torch.Tensor,
    within: torch.Tensor,
) -> float:
    """Mean log-likelihood of a vector, nats, of vectors (M, d) of speakers (M,), numbers from 0."""
    data = _Statistics(vectors, speakers)
    V, psi, log_det = _diagonalise(between, within)
    trace = ((V.T @ data.scatter) * V.T).sum()
    return data.log_likelihood((data.means - mean) @ V, psi, trace, log_det)


class _Statistics:
    """What the likelihood of a labelled set depends on."""

    def __init__(self, vectors: torch.Tensor, speakers: torch.Tensor) -> None:
        self.means, sizes = group_means(vectors, speakers)  # (S, d), (S,)
        self.n = sizes[:, None].double()  # (S, 1)
        self.kinds, self.counts = torch.unique(self.n, return_counts=True)  # (Q,) sizes that occur
        self.scatter = vectors.T @ vectors - (self.n * self.means).T @ self.means  # within speakers

    def log_likelihood(
        self, u: torch.Tensor, psi: torch.Tensor, trace: torch.Tensor, log_det: float
    ) -> float:
        """Mean per vector, nats: speakers' means u (S, d), trace of the scatter, log |dx -> du|.

        A speaker's n values of one dimension are N(0, 1 + psi 1 1^T).
        """
        n, d = self.n, len(psi)
        log_gain = self.counts.to(psi) @ torch.log1p(self.kinds[:, None] * psi)  # (d,)
        total = log_gain.sum() + (n * u.square() / (1.0 + n * psi)).sum() + trace
        return log_det - 0.5 * (d * math.log(2.0 * math.pi) + float(total) / float(n.sum()))


def diagonalise(between: torch.Tensor, within: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """V (d, d) and psi (d,) >= 0 with V^T W V = 1 and V^T B V = diag(psi), psi ascending.

    Raises ``ValueError`` when W is not positive definite.
    """
    return _diagonalise(between, within)[:2]


def _diagonalise(
    between: torch.Tensor, within: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """V and psi as ``diagonalise``, and log |det V|."""
    lower, failed = torch.linalg.cholesky_ex(within)
    if int(failed):
        raise ValueError(
            "the within-speaker covariance is singular: too few or repeated embeddings; "
            "reduce the dimensions by LDA"
        )
    half = torch.linalg.solve_triangular(lower, between, upper=False)  # L^-1 B
    core = torch.linalg.solve_triangular(lower, half.T.contiguous(), upper=False)  # L^-1 B L^-T
    psi, rotation = torch.linalg.eigh(core)
    V = torch.linalg.solve_triangular(lower.T, rotation, upper=True)  # L^-T Q
    return V, psi.clamp(min=0.0), -float(torch.log(lower.diagonal()).sum())


def lda(vectors: torch.Tensor, speakers: torch.Tensor, dims: int) -> torch.Tensor:
    """Directions (D, dims) of the largest between- to within-speaker variance.

    Columns have unit within-speaker variance and come in falling order. ``vectors`` (M, D)
    float64, ``speakers`` (M,) numbers from 0. Raises ``ValueError`` when there are not so many
    directions.
    """
    means, sizes = group_means(vectors, speakers)
    most = min(vectors.shape[1], len(means) - 1)
    if not 1 <= dims <= most:
        raise ValueError(
            f"LDA to {dims} dimensions is not possible: {len(means)} speakers and embeddings of "
            f"{vectors.shape[1]} dimensions allow 1 to {most}"
        )
    residual = vectors - means[speakers]
    within = residual.T @ residual / len(vectors)
    # Speakers of few sessions are often all that repeats: keep W invertible.
    within += 1e-8 * torch.diagonal(within).mean() * torch.eye(len(within)).to(within)
    centred = (means - vectors.mean(0)) * sizes[:, None].sqrt()
    V, _ = diagonalise(centred.T @ centred / len(vectors), within)
    return V.flip(1)[:, :dims].contiguous()


def inverse_square_root(covariance: torch.Tensor) -> torch.Tensor:
    """Symmetric A (d, d) with A C A = 1 on the span of C; directions without variance become 0."""
    values, directions = torch.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    scale = torch.where(kept, values.clamp(min=torch.finfo(values.dtype).tiny).rsqrt(), 0.0)
    return (directions * scale) @ directions.T
