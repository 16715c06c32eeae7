"""Ensembles of image members: class probabilities or embeddings fused, and how alike they are.

``outputs`` below are the members' ``Outputs`` in order of joining.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from acorl_sb.analysis.representations import linear_cka
from acorl_sb.complementarity import concatenate
from images.members import Outputs
from images.metrics import evaluate, softmax

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)


def fuse_probabilities(logits: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of the members' class probabilities: K arrays (N, C) -> (N, C)."""
    return np.mean([softmax(one) for one in logits], axis=0)


def fuse_embeddings(
    outputs: Sequence[Outputs], train_labels: np.ndarray, dev_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A linear head on the concatenated embeddings; (dev, test) probabilities.

    The members' embeddings have unit norm before they are put together. The head is fitted on
    the training images; its penalty is the one with the lowest NLL on the development images.
    """
    train, dev, test = (
        concatenate([torch.from_numpy(getattr(o, split)).double() for o in outputs]).numpy()
        for split in ("train", "dev", "test")
    )
    head, found = None, []
    for penalty in PENALTIES:
        head = fit_linear(train, train_labels, penalty, head)
        on_dev, on_test = (softmax(x @ head[0].T + head[1]) for x in (dev, test))
        found.append((float(evaluate(on_dev, dev_labels)["nll"][0]), on_dev, on_test))
    _, on_dev, on_test = min(found, key=lambda each: each[0])
    return on_dev, on_test


def fit_linear(
    x: np.ndarray,
    labels: np.ndarray,
    penalty: float,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression, mean cross-entropy + penalty / 2 |W|^2; (W, b).

    x (N, D) float64, labels (N,) -> W (C, D), b (C,). The problem is convex, so ``start`` (an
    earlier solution) only saves time. L-BFGS until no entry of the gradient exceeds 1e-7.
    """
    n, dim = x.shape
    classes = int(labels.max()) + 1
    truth = np.eye(classes)[labels]  # (N, C)
    packed = np.zeros((classes, dim + 1)) if start is None else np.column_stack(start)

    def loss_and_gradient(flat):
        weight, bias = flat.reshape(classes, dim + 1)[:, :dim], flat[dim :: dim + 1]
        logits = x @ weight.T + bias  # (N, C)
        norm = logsumexp(logits, axis=1, keepdims=True)
        loss = (norm[:, 0] - (logits * truth).sum(axis=1)).mean()
        off = (np.exp(logits - norm) - truth) / n
        gradient = np.column_stack([off.T @ x + penalty * weight, off.sum(axis=0)])
        return loss + penalty / 2 * np.square(weight).sum(), gradient.ravel()

    found = minimize(
        loss_and_gradient,
        packed.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 2000, "gtol": 1e-7, "ftol": 0.0, "maxcor": 20},
    ).x.reshape(classes, dim + 1)
    return found[:, :dim], found[:, dim]


def similarity(outputs: Sequence[Outputs], labels: np.ndarray) -> dict[str, float]:
    """How alike the members are on the test images, means over their pairs.

    ``error_overlap``: images that both get wrong over images that at least one gets wrong.
    ``error_correlation``: correlation (phi) of being wrong. ``cka``: unbiased linear CKA of the
    embeddings. Empty for a single member.
    """
    wrong = [o.test_logits.argmax(axis=1) != labels for o in outputs]
    embeddings = [torch.from_numpy(o.test) for o in outputs]
    pairs = list(itertools.combinations(range(len(outputs)), 2))
    if not pairs:
        return {}
    return {
        "error_overlap": _mean(
            (wrong[a] & wrong[b]).sum() / max(1, (wrong[a] | wrong[b]).sum()) for a, b in pairs
        ),
        "error_correlation": _mean(_phi(wrong[a], wrong[b]) for a, b in pairs),
        "cka": _mean(linear_cka(embeddings[a], embeddings[b]) for a, b in pairs),
    }


def _phi(first: np.ndarray, second: np.ndarray) -> float:
    if first.all() or second.all() or not first.any() or not second.any():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _mean(values) -> float:
    return float(np.mean(list(values)))
