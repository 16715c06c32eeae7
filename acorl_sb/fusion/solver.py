"""The optimum of prior-weighted logistic loss, in few steps also for correlated systems.

scikit-learn's ``LogisticRegression`` has the same optimum (tests and benchmarks compare both); this
one fits a part of the trials first, so that it passes over millions of them a few times only.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

_PART = 20_000  # trials of each class that the first fit looks at


def minimise(
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
