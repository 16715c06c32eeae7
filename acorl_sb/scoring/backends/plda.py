"""Two-covariance PLDA: x = y + e, speaker y ~ N(mean, B), session e ~ N(0, W).

After S. Ioffe, "Probabilistic Linear Discriminant Analysis" (2006) and A. Sizov, K. A. Lee and
T. Kinnunen, "Unifying Probabilistic Linear Discriminant Analysis Variants" (2014), whose
"two-covariance" model this is. The simplified PLDA of Kaldi and SpeechBrain is the same model
(B = F F^T where the speaker space has a basis F).

All is done where both covariances are diagonal: V with V^T W V = 1 and V^T B V = diag(psi) makes
the dimensions of u = V^T (x - mean) independent, with within-speaker variance 1 and between-speaker
variance psi, and a set of sessions counts only by its size n and its mean.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from acorl_sb.scoring.backends.backend import Sides
from acorl_sb.scoring.backends.rows import as_matrix, group_means, unit_rows
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path

Array = Any  # numpy array or torch tensor


class PLDA:
    """PLDA back end (see ``backend.Backend``): preparation of embeddings, training, scoring.

    An embedding is prepared by centring on the training mean, then LDA (``lda_dim``), whitening
    (``whiten``) and scaling to unit length (``length_norm``), each if asked for, in this order.

    Parameters
    ----------
    lda_dim : dimensions kept by linear discriminant analysis; None for no LDA.
    whiten : make the total covariance of the training embeddings the identity.
    length_norm : scale the prepared embeddings to unit length (Garcia-Romero and Espy-Wilson,
        "Analysis of i-vector Length Normalization", 2011).
    iterations, tolerance : EM stops after so many iterations, or when one of them raises the mean
        log-likelihood of a training embedding by less than ``tolerance`` nats. The start is the
        method of moments, which is close, so a few are often enough.
    enrolment : how a model of several utterances is made. "book": the exact log-likelihood ratio
        given all its sessions. "average": their mean is scored like a single utterance; not exact,
        but often better, since real sessions of a speaker are not independent.

    Attributes after ``fit``, float64 tensors: ``mean``, ``between`` (B), ``within`` (W) in prepared
    dimensions, and ``log_likelihoods``, the mean log-likelihood of a training embedding (nats)
    before each EM iteration and after the last; it never falls.

    >>> vectors = torch.randn(60, 4) + torch.randn(6, 4).repeat_interleave(10, 0)
    >>> plda = PLDA(iterations=3)
    >>> plda.fit(vectors, torch.arange(6).repeat_interleave(10))
    >>> prepared = plda.prepare(vectors)
    >>> plda.sides(prepared, prepared).matrix(torch.arange(2)).shape
    torch.Size([2, 60])
    """

    scores_are_llrs = True

    def __init__(
        self,
        lda_dim: int | None = None,
        whiten: bool = True,
        length_norm: bool = True,
        iterations: int = 50,
        enrolment: str = "book",
        tolerance: float = 1e-6,
    ) -> None:
        if enrolment not in ("book", "average"):
            raise ValueError(f"enrolment must be 'book' or 'average', not {enrolment!r}")
        self.lda_dim, self.whiten, self.length_norm = lda_dim, whiten, length_norm
        self.iterations, self.tolerance, self.enrolment = iterations, tolerance, enrolment
        self.centre: torch.Tensor | None = None  # (D,)
        self.transform: torch.Tensor | None = None  # (D, d); None is the identity
        self.mean: torch.Tensor | None = None  # (d,)
        self.between: torch.Tensor | None = None  # (d, d)
        self.within: torch.Tensor | None = None  # (d, d)
        self.log_likelihoods: list[float] = []

    @property
    def needs_training(self) -> bool:
        """Whether the parameters are still to be learnt; not so of a loaded PLDA."""
        return self.mean is None

    @classmethod
    def from_parameters(
        cls, mean: Array, between: Array, within: Array, enrolment: str = "book"
    ) -> PLDA:
        """A PLDA of given mean (D,), B and W (D, D), that takes embeddings as they are."""
        plda = cls(None, False, False, 0, enrolment)
        tensors = (torch.as_tensor(t, dtype=torch.float64) for t in (mean, between, within))
        plda.mean, plda.between, plda.within = tensors
        d = len(plda.mean)
        if plda.between.shape != (d, d) or plda.within.shape != (d, d):
            raise ValueError(f"B and W must be ({d}, {d}), as the mean has {d} values")
        plda.centre = torch.zeros_like(plda.mean)
        return plda

    @classmethod
    def from_speechbrain(cls, mean: Array, F: Array, Sigma: Array, enrolment: str = "book") -> PLDA:
        """From ``mean``, ``F`` and ``Sigma`` of ``speechbrain.processing.PLDA_LDA.PLDA``.

        Gives the scores of ``fast_PLDA_scoring`` with its ``scaling_factor`` of 1.
        """
        F = torch.as_tensor(F, dtype=torch.float64)  # (D, rank)
        return cls.from_parameters(mean, F @ F.T, Sigma, enrolment)

    def fit(self, vectors: Array, speakers: Array) -> None:
        """Train on embeddings (M, D) of speakers (M,), numbered in any way; on their device.

        Raises ``ValueError`` for fewer than two speakers, or fewer vectors than it takes to
        estimate a within-speaker covariance.
        """
        vectors = as_matrix(vectors).double()  # (M, D)
        speakers = torch.as_tensor(speakers, device=vectors.device)
        speakers = torch.unique(speakers, return_inverse=True)[1]  # (M,) from 0
        if len(speakers) != len(vectors):
            raise ValueError(f"{len(vectors)} embeddings, but {len(speakers)} speakers")
        self.centre, self.transform = vectors.mean(0), None
        vectors = vectors - self.centre
        if self.lda_dim is not None:
            self.transform = lda(vectors, speakers, self.lda_dim)  # (D, d)
            vectors = vectors @ self.transform
        if self.whiten:
            whitening = inverse_square_root(vectors.T @ vectors / len(vectors))  # (d, d)
            self.transform = whitening if self.transform is None else self.transform @ whitening
            vectors = vectors @ whitening
        if self.length_norm:
            vectors = unit_rows(vectors)
        self.mean, self.between, self.within, self.log_likelihoods = train(
            vectors, speakers, self.iterations, self.tolerance
        )

    def prepare(self, vectors: Array) -> torch.Tensor:
        """Embeddings (M, D) centred, transformed and scaled: float64 (M, d)."""
        if self.mean is None:
            raise ValueError("this PLDA has no parameters yet: train or load it")
        vectors = as_matrix(vectors).double()
        if vectors.shape[1] != len(self.centre):
            raise ValueError(
                f"this PLDA was trained on {len(self.centre)} dimensions, not {vectors.shape[1]}"
            )
        vectors = vectors - self.centre.to(vectors)
        if self.transform is not None:
            vectors = vectors @ self.transform.to(vectors)
        return unit_rows(vectors) if self.length_norm else vectors

    def average(self, prepared: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Means of prepared vectors by group, (G, d); not scaled to unit length again.

        Scaling would blow up what a mean has left in directions where sessions of a speaker vary.
        """
        return group_means(prepared, groups)[0]

    def sides(
        self, enrol: torch.Tensor, test: torch.Tensor, models: torch.Tensor | None = None
    ) -> Sides:
        """Both sides of the log-likelihood ratio (nats), float64; see ``backend.Backend``.

        ``enrol`` (E, d) and ``test`` (T, d) are prepared. With u the test vector and m the model's
        posterior mean of y, both in the diagonal space, and v = psi / (n psi + 1) its posterior
        variance after n sessions,
        LLR = sum over d of log N(u; m, 1 + v) - log N(u; 0, 1 + psi).
        """
        alike = enrol is test and models is None
        left, right = enrol, test
        V, psi = diagonalise(self.between.to(right), self.within.to(right))  # (d, d), (d,)
        mean, sizes = self.mean.to(right), right.new_ones(1)  # sessions of each model, or of all
        if models is not None:
            left, sizes = group_means(left, models)
            if self.enrolment == "average":
                sizes = right.new_ones(1)
        right = (right - mean) @ V  # (T, d): u
        left = right if alike else (left - mean) @ V  # (E, d)
        n = torch.unique(sizes)[:, None].to(right)  # (Q, 1) numbers of sessions that occur
        shrink = n * psi / (n * psi + 1.0)  # (Q, d): m = shrink * left
        spread = 1.0 + psi / (n * psi + 1.0)  # (Q, d): 1 + v
        constant = 0.5 * (torch.log1p(psi) - torch.log(spread)).sum(1)  # (Q,)
        bend = -0.5 * shrink**2 / spread  # (Q, d), of left^2
        curve = 0.5 / (1.0 + psi) - 0.5 / spread  # (Q, d), of u^2
        squares = right.square()  # (T, d)
        left_squares = squares if alike else left.square()
        if len(n) == 1:  # what depends on the test vector alone is the same for all models
            bias = constant + left_squares @ bend[0]
            return Sides(left * (shrink / spread), right, bias, squares @ curve[0])
        kind = torch.searchsorted(n[:, 0], sizes.to(right))  # (E,) row of n of each model
        bias = constant[kind] + (left_squares * bend[kind]).sum(1)
        left = torch.cat([left * (shrink / spread)[kind], curve[kind]], 1)  # (E, 2d)
        return Sides(left, torch.cat([right, squares], 1), bias, right.new_zeros(len(right)))

    def save(self, path: str | os.PathLike) -> None:
        """Write parameters and options as safetensors, whole or not at all."""
        if self.mean is None:
            raise ValueError("this PLDA has no parameters to save")
        names = ("centre", "transform", "mean", "between", "within")
        tensors = {name: getattr(self, name) for name in names}
        tensors = {k: v.cpu().contiguous() for k, v in tensors.items() if v is not None}
        options = {
            "kind": "two-covariance PLDA",
            "length_norm": str(self.length_norm),
            "enrolment": self.enrolment,
        }
        with atomic_path(path) as temporary:
            safetensors.torch.save_file(tensors, temporary, metadata=options)

    @classmethod
    def load(cls, path: str | os.PathLike, enrolment: str | None = None) -> PLDA:
        """Read what ``save`` wrote, or a ``.npz`` with SpeechBrain's ``mean``, ``F`` and ``Sigma``.

        ``enrolment`` replaces the saved one, if given. Raises ``UserError`` for any other file.
        """
        if str(path).endswith(".npz"):
            return cls.from_speechbrain(**_read_speechbrain(path), enrolment=enrolment or "book")
        try:
            with safetensors.safe_open(path, "pt") as file:
                options = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(f"{path}: not readable as a saved PLDA ({error})") from None
        if not {"centre", "mean", "between", "within"} <= set(tensors):
            raise UserError(f"{path}: this safetensors file holds no PLDA")
        plda = cls(enrolment=enrolment or options.get("enrolment", "book"))
        plda.length_norm = options.get("length_norm") == "True"
        plda.lda_dim, plda.whiten, plda.iterations = None, False, 0
        for name, tensor in tensors.items():
            setattr(plda, name, tensor)
        return plda


# ------------------------------------------------------------------------------------------------


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
    """Symmetric A with A C A = 1 on the span of C (d, d); directions without variance become 0."""
    values, directions = torch.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    scale = torch.where(kept, values.clamp(min=torch.finfo(values.dtype).tiny).rsqrt(), 0.0)
    return (directions * scale) @ directions.T


def _read_speechbrain(path: str | os.PathLike) -> Mapping[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in ("mean", "F", "Sigma")}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: SpeechBrain's PLDA parameters are mean, F and Sigma in one .npz ({error})"
        ) from None
