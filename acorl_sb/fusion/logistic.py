"""Fusion by logistic regression: a weighted sum of scores that is a log-likelihood ratio.

scikit-learn's ``LogisticRegression`` minimises the same objective (the tests compare the two). To
the same optimum it takes 2.6 times the CPU time (580,000 trials, ``benchmarks/fusion.py``), and it
says nothing of separable classes, where the weights run to infinity. So scipy's L-BFGS does it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from acorl_sb.fusion.checks import (
    FusionWarning,
    check_fitted,
    check_labels,
    check_prior,
    check_scores,
    refuse_constant,
)
from acorl_sb.utils.errors import UserError

SEPARABLE_L2 = 1e-3
"""L2 strength (standardised columns) where separable data would send the weights to infinity."""


_PART = 20_000  # trials of each class that the first fit looks at


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
    The L2 term acts on standardised columns (:math:`\sigma_s`: a column's standard
    deviation in development), so that it does not depend on the units of a score. scikit-learn's
    ``LogisticRegression``, given these class weights, columns divided by :math:`\sigma_s` and
    ``C = 1 / l2``, has the same weights (times :math:`\sigma_s`) and the intercept
    :math:`b + logit \pi`.

    Arguments
    ---------
    prior : effective prior of a target trial, in (0, 1).
    l2 : strength of the L2 term, 0 for none.

    After ``fit``: ``weights`` (S + Q,), ``bias``, ``n_systems`` S, ``n_quality`` Q,
    ``l2_used`` (differs from ``l2`` where separable data called for it), ``separable``.
    """

    kind: ClassVar[str] = "logistic"

    def __init__(self, prior: float = 0.05, l2: float = 0.0) -> None:
        self.prior = check_prior(prior)
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

        Raises
        ------
        UserError
            For non-finite scores, a system with constant scores, one class only, or labels missing.
        """
        scores = check_scores(scores, names)
        labels = check_labels(labels, scores.shape[1])
        refuse_constant(scores, names)
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
        check_fitted(len(self.weights) > 0, self.n_systems, len(scores))
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

    # A part of the trials is fitted first: unless a threshold separates it, its optimum and
    # curvature are so near those of the whole that few steps remain.
    near, basis = start, spread
    few, fewer = (c[:, :: max(1, c.shape[1] // _PART)] for c in (targets, nontargets))
    if few.shape != targets.shape or fewer.shape != nontargets.shape:
        found = _descend(few, fewer, prior, l2, start, spread, 1e-6)
        curvature = _curvature(few, fewer, prior, found)
        round_ = _whitening(curvature + l2 * np.diag(np.append(np.ones(len(targets)), 0.0)))
        if not _is_flat(curvature, spread) and round_.shape == spread.shape:
            near, basis = found, round_
    theta = _descend(targets, nontargets, prior, l2, near, basis)
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
