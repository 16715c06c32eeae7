"""Fusion of systems: several scores (and quality measures) per trial in, one score out.

Everything here is a pure function or a small fitted model on arrays; ``fuse.py`` is the script
around it. Scores are ``(S, N)``: S systems, N trials, float64 inside. Labels are ``(N,)``, True
for a target trial. The models are fitted on development trials and applied to others:

- ``BestSingle``: the one system that is best on the development trials, untouched;
- ``MeanZNorm``: the mean of z-normalised scores, which needs no labels;
- ``LogisticFusion``: a weighted sum that is a log-likelihood ratio (LLR), fitted by logistic
  regression at a stated effective prior; quality measures enter as extra columns.

Each has ``fit``, ``__call__``, ``state`` (plain numbers, fit for JSON) and ``from_state``.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from acorl_sb import metrics
from acorl_sb.utils import files
from acorl_sb.utils.errors import UserError

SEPARABLE_L2 = 1e-3
"""L2 strength (standardised columns) where separable data would send the weights to infinity."""


_PART = 20_000  # trials of each class that the first fit looks at


class FusionWarning(UserWarning):
    """Something about the development data that a reader of the fused scores must know."""


# ------------------------------------------------------------------------------------------------
# Checks shared by fusion and calibration


def check_scores(scores: np.ndarray, names: Sequence[str] | None = None) -> np.ndarray:
    """Return ``scores`` as float64 ``(S, N)``; refuse non-finite values.

    A ``(N,)`` array is one system. float64 input is not copied.

    Raises:
        UserError: no trials, or a NaN or infinity (says which system, how many, the first trial).
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if scores.ndim != 2:
        raise ValueError(f"scores must be (systems, trials), not {scores.shape}")
    if scores.shape[1] == 0:
        raise UserError("there are no trials: the scores are empty")
    for index, row in enumerate(scores):
        # A sum is finite unless a term is not (or overflows): much cheaper than N tests.
        if not math.isfinite(row.sum()):
            bad = np.flatnonzero(~np.isfinite(row))
            if len(bad):
                raise UserError(
                    f"{_name(index, names)}: {len(bad)} of {len(row)} scores are not finite, "
                    f"first trial number {bad[0] + 1} ({row[bad[0]]}); "
                    "score these trials again or leave this system out"
                )
    return scores


def check_labels(labels: np.ndarray, trials: int, what: str = "development") -> np.ndarray:
    """Return ``labels`` as bool ``(N,)`` holding both classes; ``what`` trials, for messages.

    Raises:
        UserError: labels are missing, or of one class only.
    """
    if labels is None:
        raise UserError(
            f"the {what} trials have no labels; give a trial list that says which are target"
        )
    labels = np.asarray(labels)
    if labels.dtype != bool:
        if not np.isin(np.unique(labels), (0, 1)).all():
            raise ValueError("labels must be bool, or 0 and 1")
        labels = labels.astype(bool)
    if labels.shape != (trials,):
        raise ValueError(f"labels must be ({trials},), not {labels.shape}")
    targets = int(labels.sum())
    if targets in (0, trials):
        kind = "target" if targets else "non-target"
        raise UserError(f"all {trials} {what} trials are {kind} trials; both classes are needed")
    return labels


def _name(index: int, names: Sequence[str] | None) -> str:
    return f"system '{names[index]}'" if names is not None else f"system {index + 1}"


def _refuse_constant(scores: np.ndarray, names: Sequence[str] | None) -> None:
    for index, row in enumerate(scores):
        if row.min() == row.max():
            raise UserError(
                f"{_name(index, names)}: all {len(row)} development scores are {row[0]:g}, "
                "so it tells no trials apart; leave it out"
            )


def _check_prior(prior: float) -> float:
    if not 0.0 < prior < 1.0:
        raise UserError(f"the effective prior must lie between 0 and 1, not {prior}")
    return float(prior)


# ------------------------------------------------------------------------------------------------
# Models


class BestSingle:
    """The system with the lowest development error, passed through unchanged: the honest floor.

    Arguments:
        criterion: ``"eer"`` (ROC convex hull) or ``"min_dcf"``.
        p_target, c_miss, c_fa: the operating point of ``min_dcf``.

    After ``fit``: ``index`` (of the chosen system) and ``errors`` (S,), the criterion of each.
    Of equal systems the first is taken. Scores are ranked as they are: a higher score must mean
    "more likely the same speaker".
    """

    kind: ClassVar[str] = "best_single"

    def __init__(
        self,
        criterion: str = "eer",
        p_target: float = 0.01,
        c_miss: float = 1.0,
        c_fa: float = 1.0,
    ) -> None:
        if criterion not in ("eer", "min_dcf"):
            raise UserError(f"criterion must be 'eer' or 'min_dcf', not '{criterion}'")
        self.criterion = criterion
        self.p_target, self.c_miss, self.c_fa = _check_prior(p_target), float(c_miss), float(c_fa)
        self.index: int | None = None
        self.errors: list[float] = []

    def fit(
        self, scores: np.ndarray, labels: np.ndarray, names: Sequence[str] | None = None
    ) -> BestSingle:
        """Choose by the development trials: scores (S, N), labels (N,)."""
        scores = check_scores(scores, names)
        labels = check_labels(labels, scores.shape[1])
        if self.criterion == "eer":
            self.errors = [float(metrics.eer(row, labels)) for row in scores]
        else:
            point = (self.p_target, self.c_miss, self.c_fa)
            self.errors = [float(metrics.min_dcf(row, labels, *point)) for row in scores]
        self.index = int(np.argmin(self.errors))
        return self

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The chosen system's scores: (S, N) -> (N,)."""
        scores = check_scores(scores)
        _check_fitted(self.index is not None, len(self.errors), len(scores))
        return scores[self.index].copy()

    def state(self) -> dict[str, Any]:
        """Plain numbers from which ``from_state`` rebuilds the fitted model."""
        return {
            "kind": self.kind,
            "criterion": self.criterion,
            "p_target": self.p_target,
            "c_miss": self.c_miss,
            "c_fa": self.c_fa,
            "index": self.index,
            "errors": self.errors,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BestSingle:
        """Rebuild a fitted model from ``state()``."""
        model = cls(state["criterion"], state["p_target"], state["c_miss"], state["c_fa"])
        model.index, model.errors = state["index"], list(state["errors"])
        return model


class MeanZNorm:
    """Mean over systems of scores normalised to zero mean and unit deviation.

    The statistics are those of *all* development scores of a system, so no label is looked at and
    the fused score is not an LLR: calibrate it (``acorl_sb.fusion.calibration``) before deciding by it.
    """

    kind: ClassVar[str] = "mean_znorm"

    def __init__(self) -> None:
        self.mean = np.zeros(0)
        self.std = np.zeros(0)

    def fit(
        self,
        scores: np.ndarray,
        labels: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> MeanZNorm:
        """Take mean and deviation of each row of scores (S, N); ``labels`` are not used.

        Raises:
            UserError: a system's development scores are constant or not finite.
        """
        scores = check_scores(scores, names)
        _refuse_constant(scores, names)
        self.mean, self.std = scores.mean(1), scores.std(1)
        return self

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Fused scores, in deviations of the development scores: (S, N) -> (N,)."""
        scores = check_scores(scores)
        _check_fitted(len(self.mean) > 0, len(self.mean), len(scores))
        weights = 1.0 / (len(self.std) * self.std)  # (S,)
        return weights @ scores - weights @ self.mean

    def state(self) -> dict[str, Any]:
        """Plain numbers from which ``from_state`` rebuilds the fitted model."""
        return {"kind": self.kind, "mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MeanZNorm:
        """Rebuild a fitted model from ``state()``."""
        model = cls()
        model.mean, model.std = np.array(state["mean"]), np.array(state["std"])
        return model


class LogisticFusion:
    r"""Weighted sum of scores and quality columns that is a log-likelihood ratio.

    .. math:: llr = \sum_s w_s\, x_s + b

    minimises, with effective prior :math:`\pi`, the means running over each class of trials,

    .. math:: \pi\, \overline{\log(1 + e^{-llr - logit \pi})}^{tar}
              + (1 - \pi)\, \overline{\log(1 + e^{llr + logit \pi})}^{non}
              + \tfrac{l_2}{2} \sum_s (\sigma_s w_s)^2

    Each class weighs what the prior says, however many trials it has, and the prior's log odds are
    kept out of ``b``, so the output is an LLR for *any* prior (Brümmer et al., "Fusion of
    heterogeneous speaker recognition systems in the STBU submission for the NIST SRE 2006", 2007).
    The L2 term acts on standardised columns (:math:`\sigma_s`: deviation of the development
    column), so that it does not depend on the units of a score. ``LogisticRegression`` of
    scikit-learn, given these class weights, columns divided by :math:`\sigma_s` and
    ``C = 1 / l2``, has the same weights (times :math:`\sigma_s`) and the intercept
    :math:`b + logit \pi`.

    Arguments:
        prior: effective prior of a target trial, in (0, 1).
        l2: strength of the L2 term, 0 for none.

    After ``fit``: ``weights`` (S + Q,), ``bias``, ``n_systems`` S, ``n_quality`` Q,
    ``l2_used`` (differs from ``l2`` where separable data called for it), ``separable``.
    """

    kind: ClassVar[str] = "logistic"

    def __init__(self, prior: float = 0.05, l2: float = 0.0) -> None:
        self.prior = _check_prior(prior)
        if not (math.isfinite(l2) and l2 >= 0.0):
            raise UserError(f"the L2 strength must be 0 or more, not {l2}")
        self.l2 = self.l2_used = float(l2)
        self.separable = False
        self.n_systems = self.n_quality = 0
        self.weights = np.zeros(0)
        self.bias = 0.0

    def fit(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        quality: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> LogisticFusion:
        """Fit on development trials: scores (S, N), labels (N,), quality columns (Q, N) or None.

        A constant quality column gets the weight 0 and a ``FusionWarning``. Where one threshold on
        a weighted sum separates the classes, the unregularised optimum lies at infinity: without
        an ``l2``, ``SEPARABLE_L2`` is used instead, with a ``FusionWarning``.

        Raises:
            UserError: non-finite scores, a system with constant scores, one class only, or
                labels missing.
        """
        scores = check_scores(scores, names)
        labels = check_labels(labels, scores.shape[1])
        _refuse_constant(scores, names)
        columns = _stack(scores, quality)
        self.n_systems, self.n_quality = len(scores), len(columns) - len(scores)

        mean, std = columns.mean(1), columns.std(1)  # (S + Q,)
        useful = np.array([row.min() < row.max() for row in columns])
        if not useful.all():
            dead = [int(i) - len(scores) + 1 for i in np.flatnonzero(~useful)]
            warnings.warn(
                f"quality column(s) {dead} are constant on the development trials; weight 0",
                FusionWarning,
                stacklevel=2,
            )
        std = np.where(useful, std, 1.0)
        standard = (columns - mean[:, None]) / std[:, None]  # (S + Q, N)
        standard = standard[useful]
        targets, nontargets = standard[:, labels], standard[:, ~labels]
        del standard

        self.l2_used = self.l2
        weights, bias, self.separable = _minimise(targets, nontargets, self.prior, self.l2)
        if self.separable and self.l2 == 0.0:
            self.l2_used = SEPARABLE_L2
            weights, bias, _ = _minimise(targets, nontargets, self.prior, self.l2_used)
            warnings.warn(
                f"the {len(labels)} development trials are separable, so the weights are only "
                f"held by an L2 term of {self.l2_used:g}; take more or harder development trials",
                FusionWarning,
                stacklevel=2,
            )
        self.weights = np.zeros(len(columns))
        self.weights[useful] = weights / std[useful]
        self.bias = float(bias - self.weights @ mean)
        return self

    def __call__(self, scores: np.ndarray, quality: np.ndarray | None = None) -> np.ndarray:
        """LLRs (natural logarithm) of trials: scores (S, N), quality (Q, N) -> (N,)."""
        scores = check_scores(scores)
        _check_fitted(len(self.weights) > 0, self.n_systems, len(scores))
        given = 0 if quality is None else len(np.atleast_2d(quality))
        if given != self.n_quality:
            raise ValueError(f"fitted with {self.n_quality} quality columns, called with {given}")
        llrs = self.weights[: self.n_systems] @ scores + self.bias  # (N,)
        if quality is not None:
            llrs += self.weights[self.n_systems :] @ _check_quality(quality, scores.shape[1])
        return llrs

    def state(self) -> dict[str, Any]:
        """Plain numbers from which ``from_state`` rebuilds the fitted model."""
        return {
            "kind": self.kind,
            "prior": self.prior,
            "l2": self.l2,
            "l2_used": self.l2_used,
            "separable": self.separable,
            "n_systems": self.n_systems,
            "n_quality": self.n_quality,
            "weights": self.weights.tolist(),
            "bias": self.bias,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LogisticFusion:
        """Rebuild a fitted model from ``state()``."""
        model = cls(state["prior"], state["l2"])
        model.l2_used, model.separable = state["l2_used"], state["separable"]
        model.n_systems, model.n_quality = state["n_systems"], state["n_quality"]
        model.weights, model.bias = np.array(state["weights"]), float(state["bias"])
        return model


def _check_fitted(fitted: bool, expected: int, given: int) -> None:
    if not fitted:
        raise ValueError("fit the model first")
    if expected != given:
        raise UserError(f"the fusion was fitted on {expected} systems but is given {given}")


def _check_quality(quality: np.ndarray, trials: int) -> np.ndarray:
    quality = np.atleast_2d(np.asarray(quality, dtype=np.float64))
    if quality.shape[1] != trials:
        raise ValueError(f"quality must be (columns, {trials}), not {quality.shape}")
    if not np.isfinite(quality).all():
        raise UserError("a quality column holds a NaN or infinity")
    return quality


def _stack(scores: np.ndarray, quality: np.ndarray | None) -> np.ndarray:
    if quality is None:
        return scores
    return np.vstack([scores, _check_quality(quality, scores.shape[1])])


def _minimise(
    targets: np.ndarray, nontargets: np.ndarray, prior: float, l2: float
) -> tuple[np.ndarray, float, bool]:
    """Minimise the objective of ``LogisticFusion`` on standardised (C, N_tar), (C, N_non).

    Returns weights (C,), bias (prior log odds taken out), and whether the data are separable.
    """
    log_odds = float(logit(prior))
    start = np.append(np.zeros(len(targets)), log_odds)  # weights, offset
    spread = _whitening(_second_moments(targets, nontargets))

    # A part of the trials is fitted first. If no threshold separates the part, none separates the
    # whole; and its optimum and curvature are so near those of the whole that few steps remain.
    part = [c[:, :: max(1, c.shape[1] // _PART)] for c in (targets, nontargets)]
    if part[0].shape != targets.shape or part[1].shape != nontargets.shape:
        near = _descend(*part, prior, l2, start, spread, 1e-6)
        curvature = _curvature(*part, prior, near)
        basis = _whitening(curvature + l2 * np.diag(np.append(np.ones(len(targets)), 0.0)))
        if not _is_flat(curvature, spread) and basis.shape == spread.shape:
            theta = _descend(targets, nontargets, prior, l2, near, basis)
            return theta[:-1], float(theta[-1]) - log_odds, False

    theta = _descend(targets, nontargets, prior, l2, start, spread)
    separable = _is_flat(_curvature(targets, nontargets, prior, theta), spread) or bool(
        (theta[:-1] @ targets).min() >= (theta[:-1] @ nontargets).max()
    )
    return theta[:-1], float(theta[-1]) - log_odds, separable


def _descend(
    targets: np.ndarray,
    nontargets: np.ndarray,
    prior: float,
    l2: float,
    start: np.ndarray,
    basis: np.ndarray,
    tolerance: float = 1e-11,
) -> np.ndarray:
    """L-BFGS over u from ``start``; weights and offset are ``basis @ u``, (C + 1,).

    Correlated systems make a long narrow valley, through which L-BFGS needs many steps; the basis
    makes it round.
    """

    def value_and_gradient(u: np.ndarray) -> tuple[float, np.ndarray]:
        theta = basis @ u
        weights = theta[:-1]
        gradient = np.append(l2 * weights, 0.0)
        value = 0.5 * l2 * float(weights @ weights)
        for columns, share, sign in ((targets, prior, 1.0), (nontargets, 1.0 - prior, -1.0)):
            margin = weights @ columns  # (N_class,)
            margin += theta[-1]
            margin *= sign
            share = share / len(margin)
            # log(1 + e^-m) and its slope from one exponential, which numpy does several at a time
            # (scipy's log_expit and expit do not); in a sum log(1 + e) is as exact as log1p(e).
            decay = np.exp(-np.abs(margin))
            total = 1.0 + decay
            value += share * float(np.log(total).sum() - np.minimum(margin, 0.0).sum())
            slope = np.where(margin > 0.0, decay, 1.0)
            slope /= total  # -d loss / d margin
            gradient[:-1] -= share * sign * (columns @ slope)
            gradient[-1] -= share * sign * float(slope.sum())
        return value, basis.T @ gradient

    options = {"maxiter": 500, "maxfun": 2000, "gtol": tolerance, "ftol": 0.0, "maxcor": 20}
    first = np.linalg.lstsq(basis, start, rcond=None)[0]
    return (
        basis @ minimize(value_and_gradient, first, jac=True, method="L-BFGS-B", options=options).x
    )


def _second_moments(targets: np.ndarray, nontargets: np.ndarray) -> np.ndarray:
    """Mean of [x; 1] [x; 1]' over all trials, (C + 1, C + 1)."""
    total = targets.shape[1] + nontargets.shape[1]
    moments = np.eye(len(targets) + 1)
    moments[:-1, :-1] = (targets @ targets.T + nontargets @ nontargets.T) / total
    moments[:-1, -1] = moments[-1, :-1] = (targets.sum(1) + nontargets.sum(1)) / total
    return moments


def _whitening(matrix: np.ndarray) -> np.ndarray:
    """B (C + 1, K) with B' matrix B = 1; directions in which nothing varies are left out.

    Leaving them out gives systems that are multiples of each other equal standardised weights.
    """
    spread, axes = np.linalg.eigh(matrix)
    kept = spread > 1e-10 * spread.max()
    return axes[:, kept] / np.sqrt(spread[kept])


def _curvature(
    targets: np.ndarray, nontargets: np.ndarray, prior: float, theta: np.ndarray
) -> np.ndarray:
    """Hessian of the loss, without the L2 term, at weights and offset (C + 1,)."""
    hessian = np.zeros((len(theta), len(theta)))
    for columns, share in ((targets, prior), (nontargets, 1.0 - prior)):
        odds = expit(theta[:-1] @ columns + theta[-1])  # (N_class,)
        odds *= 1.0 - odds
        odds *= share / len(odds)
        scaled = columns * odds
        hessian[:-1, :-1] += scaled @ columns.T
        hessian[:-1, -1] += scaled.sum(1)
        hessian[-1, -1] += odds.sum()
    hessian[-1, :-1] = hessian[:-1, -1]
    return hessian


def _is_flat(curvature: np.ndarray, basis: np.ndarray) -> bool:
    """Whether the loss runs out flat in some direction, for want of trials near the threshold.

    At a finite optimum every direction is curved; where a threshold separates the classes, or all
    but the trials that lie exactly on it, there is none.
    """
    return bool(np.linalg.eigvalsh(basis.T @ curvature @ basis)[0] < 1e-8)


# ------------------------------------------------------------------------------------------------
# Quality measures (QMF) and embedding-level fusion


def quality_columns(
    values: np.ndarray, enrol: np.ndarray, test: np.ndarray, symmetric: bool = True
) -> np.ndarray:
    """Two columns per trial from one measure per utterance: (U,), (N,), (N,) -> (2, N).

    ``symmetric``: the smaller and the larger of both sides, so that swapping the sides of a trial
    leaves its fused score alone (Thienpondt et al., "The IDLAB VoxSRC-20 submission", 2021);
    otherwise enrolment side, then test side.
    """
    values = np.asarray(values, dtype=np.float64)
    left, right = values[enrol], values[test]
    if symmetric:
        return np.stack([np.minimum(left, right), np.maximum(left, right)])
    return np.stack([left, right])


def log_durations(seconds: np.ndarray) -> np.ndarray:
    """Natural logarithm of durations in seconds (U,) -> (U,).

    Raises:
        UserError: a duration is not a positive finite number.
    """
    seconds = np.asarray(seconds, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(seconds) & (seconds > 0)))
    if len(bad):
        raise UserError(
            f"{len(bad)} durations are not positive, first number {bad[0] + 1} ({seconds[bad[0]]})"
        )
    return np.log(seconds)


def magnitudes(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths of raw embeddings: (U, D) -> (U,)."""
    return np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)


def cohort_means(
    vectors: np.ndarray, cohort: np.ndarray, top: int = 100, block: int = 1024
) -> np.ndarray:
    """Mean cosine of each embedding to its ``top`` nearest cohort members: (U, D), (M, D) -> (U,).

    High for an utterance that is close to many voices, where a high score proves less. Works in
    blocks of ``block`` utterances, so memory is block times M.
    """
    vectors, cohort = unit_length(vectors), unit_length(cohort)
    top = min(int(top), len(cohort))
    if top < 1:
        raise UserError("the cohort is empty, or top is less than 1")
    means = np.empty(len(vectors))
    for first in range(0, len(vectors), block):
        cosine = vectors[first : first + block] @ cohort.T  # (block, M)
        means[first : first + block] = np.partition(cosine, -top, axis=1)[:, -top:].mean(1)
    return means


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """bar(v) = v / |v| for each row of (U, D), float64.

    Raises:
        UserError: a row is zero or not finite, so that it has no direction.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        raise UserError(
            f"{len(bad)} of {len(vectors)} embeddings are zero or not finite, "
            f"first row number {bad[0] + 1}"
        )
    return vectors / norms


def concatenate(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Embedding-level fusion: [bar(v_1) ... bar(v_K)] / sqrt(K), of unit length.

    The cosine of two such rows is the mean of the members' cosines; a back end such as PLDA can
    weigh them otherwise. Rows of every part are the same utterances: K times (U, D_k) ->
    (U, D_1 + ... + D_K).
    """
    if len({len(part) for part in parts}) != 1:
        raise ValueError("every part must hold the same utterances")
    return np.hstack([unit_length(part) for part in parts]) / math.sqrt(len(parts))


# ------------------------------------------------------------------------------------------------
# Saving

MODELS: dict[str, type] = {m.kind: m for m in (BestSingle, MeanZNorm, LogisticFusion)}


def from_state(state: dict[str, Any]) -> BestSingle | MeanZNorm | LogisticFusion:
    """Rebuild whichever model a ``state()`` describes, by its ``kind``."""
    kind = state.get("kind")
    if kind not in MODELS:
        raise UserError(f"unknown fusion '{kind}'; known are {', '.join(MODELS)}")
    return MODELS[kind].from_state(state)


def save(path: str | os.PathLike, model: BestSingle | MeanZNorm | LogisticFusion) -> None:
    """Write a fitted model as JSON."""
    files.write_json(path, model.state())


def load(path: str | os.PathLike) -> BestSingle | MeanZNorm | LogisticFusion:
    """Read a model written by ``save``.

    Raises:
        UserError: the file is missing or is no fusion model.
    """
    try:
        return from_state(json.loads(Path(path).read_text(encoding="utf-8")))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read the fusion model ({error.strerror})") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: not a fusion model ({error})") from error
