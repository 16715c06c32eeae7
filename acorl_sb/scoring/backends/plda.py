"""Two-covariance PLDA: x = y + e, speaker y ~ N(mean, B), session e ~ N(0, W).

After S. Ioffe, "Probabilistic Linear Discriminant Analysis" (2006) and A. Sizov, K. A. Lee and
T. Kinnunen, "Unifying Probabilistic Linear Discriminant Analysis Variants" (2014), whose
"two-covariance" model this is. The simplified PLDA of Kaldi and SpeechBrain is the same model
(B = F F^T where the speaker space has a basis F).

All is done where both covariances are diagonal: V with V^T W V = 1 and V^T B V = diag(psi) makes
the dimensions of u = V^T (x - mean) independent, with within-speaker variance 1 and between-speaker
variance psi, and a set of sessions counts only by its size n and its mean.

``plda_training`` says which libraries were looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from acorl_sb.scoring.backends.backend import PreparedSides
from acorl_sb.scoring.backends.plda_training import diagonalise, inverse_square_root, lda, train
from acorl_sb.scoring.backends.rows import as_matrix, group_means, unit_rows
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path

Array = Any  # numpy array or torch tensor


class PLDA:
    """PLDA back end (see ``backend.Backend``): preparation of embeddings, training, scoring.

    An embedding is prepared by centring on the training mean, then LDA (``lda_dim``), whitening
    (``whiten``) and scaling to unit length (``length_norm``), each if asked for, in this order.

    Arguments
    ---------
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

    scores_are_llrs = needs_speakers = True

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
        if self.centre is None:
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
    ) -> PreparedSides:
        """Both sides of the log-likelihood ratio (nats), float64; see ``backend.Backend``.

        ``enrol`` (E, d) and ``test`` (T, d) are prepared. With u the test vector and m the model's
        posterior mean of y, both in the diagonal space, and v = psi / (n psi + 1) its posterior
        variance after n sessions,
        LLR = sum over d of log N(u; m, 1 + v) - log N(u; 0, 1 + psi).
        """
        if self.mean is None or self.between is None or self.within is None:
            raise ValueError("this PLDA has no parameters yet: train or load it")
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
            return PreparedSides(left * (shrink / spread), right, bias, squares @ curve[0])
        kind = torch.searchsorted(n[:, 0], sizes.to(right))  # (E,) row of n of each model
        bias = constant[kind] + (left_squares * bend[kind]).sum(1)
        left = torch.cat([left * (shrink / spread)[kind], curve[kind]], 1)  # (E, 2d)
        return PreparedSides(
            left, torch.cat([right, squares], 1), bias, right.new_zeros(len(right))
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write parameters and options as safetensors, whole or not at all."""
        if self.mean is None:
            raise ValueError("this PLDA has no parameters to save")
        tensors = {name: getattr(self, name) for name in _PARAMETERS}
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

        ``enrolment`` replaces the saved one, if given. Raises ``UserError`` for any other file, and
        for parameters whose shapes do not fit or that are not finite.
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
        _check_parameters(path, tensors)
        plda = cls(enrolment=enrolment or options.get("enrolment", "book"))
        plda.length_norm = options.get("length_norm") == "True"
        plda.lda_dim, plda.whiten, plda.iterations = None, False, 0
        for name in _PARAMETERS:
            setattr(plda, name, tensors.get(name))
        return plda


# ------------------------------------------------------------------------------------------------


_PARAMETERS = ("centre", "transform", "mean", "between", "within")


def _check_parameters(path: str | os.PathLike, tensors: Mapping[str, torch.Tensor]) -> None:
    """``UserError`` for tensors of a saved PLDA that do not fit together, or are not finite."""
    d, wide = tensors["mean"].numel(), tensors["centre"].numel()  # after and before the transform
    wanted = {"centre": (wide,), "mean": (d,), "between": (d, d), "within": (d, d)}
    if "transform" in tensors:
        wanted["transform"] = (wide, d)
    elif wide != d:
        raise UserError(f"{path}: the PLDA's centre has {wide} values and its mean {d}")
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            found = tuple(tensors[name].shape)
            raise UserError(f"{path}: the PLDA's {name!r} has the shape {found}, not {shape}")
        if not bool(torch.isfinite(tensors[name]).all()):
            raise UserError(f"{path}: the PLDA's {name!r} is not finite")


def _read_speechbrain(path: str | os.PathLike) -> Mapping[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in ("mean", "F", "Sigma")}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: SpeechBrain's PLDA parameters are mean, F and Sigma in one .npz ({error})"
        ) from None
