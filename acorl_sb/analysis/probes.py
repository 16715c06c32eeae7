"""Freshly trained probes: what can be read out of a member's embeddings; docs/analysis.md.

R^2 is 1 - (squared error) / (squared distance from the training mean) over held-out speakers, in
(-inf, 1]: 1 is read perfectly, 0 no better than the mean. Embeddings are torch tensors (N, D); the
linear work is float64, the MLP float32, both on the tensors' device.

scikit-learn's ``RidgeCV`` chooses its penalty with one row left out, or fits anew for each penalty
and fold, on the CPU alone; an MLP probe that starts from the linear one and stops by held-out
speakers is not among its estimators.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from acorl_sb.analysis.folds import speaker_folds, speaker_index
from acorl_sb.complementarity.adversarial import AdversaryHead
from acorl_sb.metrics.bootstrap import draws
from acorl_sb.metrics.intervals import interval

PENALTIES = tuple(10.0**exponent for exponent in np.arange(-6, 2.5, 0.5))
"""Ridge penalties tried, as multiples of the mean eigenvalue of X'X."""


class Reading(NamedTuple):
    """A probe's held-out result with its 95 % interval over speakers (bootstrap percentiles).

    The ends are NaN where there are too few speakers for an interval.
    """

    value: float
    low: float
    high: float


class Linear(NamedTuple):
    """A fitted linear map: x @ weight + bias."""

    weight: torch.Tensor  # (D, E)
    bias: torch.Tensor  # (E,)
    penalty: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


def ridge(
    x: torch.Tensor,
    y: torch.Tensor,
    speakers: Sequence[Hashable],
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> Linear:
    """Ridge regression of y (N, E) on x (N, D), rows of ``speakers`` (N,), in closed form.

    The penalty is the one of ``penalties`` (above 0) with the least squared error on held-out
    speakers, in five folds of them (of rows, where there is one speaker only). x is centred, not
    scaled column by column, so a rotation of x changes nothing.
    """
    mean_x, mean_y = x.mean(0), y.mean(0)
    u, s, vt = torch.linalg.svd(x - mean_x, full_matrices=False)  # (N, R), (R,), (R, D)
    rest, width = y - mean_y, x.shape[1]
    penalty = _choose_penalty(u * s, rest, width, _fifths(speakers, seed), penalties)
    weight = vt.T @ (s[:, None] * (u.T @ rest) * _gain(s.square(), penalty, width))  # (D, E)
    return Linear(weight, mean_y - mean_x @ weight, penalty)


def _choose_penalty(
    z: torch.Tensor, y: torch.Tensor, width: int, fold: np.ndarray, penalties: Sequence[float]
) -> float:
    """The penalty with the least error over held-out folds; z (N, R) are the rows of x (N, width)
    in their own directions, of which there are fewer than columns where rows are few.

    Rows of one speaker are alike: with one of them left out, the others tell what it should be,
    and the penalty would be chosen for knowing speakers by heart.
    """
    if fold.max() == 0:  # one row
        return max(penalties)
    errors = [0.0] * len(penalties)
    for k in range(fold.max() + 1):
        held = torch.from_numpy(fold == k).to(z.device)
        mean_z, mean_y = z[~held].mean(0), y[~held].mean(0)
        a, b = z[~held] - mean_z, y[~held] - mean_y
        values, vectors = torch.linalg.eigh(a.T @ a)  # (R,), (R, R)
        values = values.clamp(min=0)
        fitted = vectors.T @ (a.T @ b)  # (R, E)
        tested, goal = (z[held] - mean_z) @ vectors, y[held] - mean_y  # (n, R), (n, E)
        for i, penalty in enumerate(penalties):
            missed = goal - tested @ (fitted * _gain(values, penalty, width))
            errors[i] += float(missed.square().sum())
    return min(zip(errors, penalties, strict=True))[1]


def _gain(values: torch.Tensor, penalty: float, width: int) -> torch.Tensor:
    """1 / (eigenvalue + penalty) of each direction of X'X (``width`` columns): (R, 1)."""
    level = values.sum() / width
    return 1 / (values + penalty * level).clamp(min=torch.finfo(values.dtype).tiny)[:, None]


def _fifths(speakers: Sequence[Hashable], seed: int) -> np.ndarray:
    """Folds (N,) of about a fifth of the speakers each, of the rows where there is one speaker."""
    if len(set(speakers)) == 1:
        return np.arange(len(speakers)) % 5
    return speaker_folds(speakers, 5, seed)


def linear_r2(
    x: torch.Tensor, y: torch.Tensor, speakers: Sequence[Hashable], folds: int = 5, seed: int = 0
) -> Reading:
    """R^2 of a linear probe (ridge) that reads y (N, E) from x (N, D), over held-out speakers."""

    def fit(x_train, y_train, train_speakers):
        return ridge(x_train, y_train, train_speakers, seed=seed)

    return _cross_validated_r2(fit, x.double(), y.double(), speakers, folds, seed)


def mlp_r2(
    x: torch.Tensor,
    y: torch.Tensor,
    speakers: Sequence[Hashable],
    folds: int = 5,
    hidden: int = 256,
    steps: int = 600,
    batch: int = 128,
    rate: float = 2e-3,
    seed: int = 0,
) -> Reading:
    """R^2 of an MLP probe that reads y (N, E) from x (N, D), over held-out speakers.

    The probe is the linear one plus a one-hidden-layer ReLU network that starts at zero. The
    network is trained with Adam on the squared error that the linear one leaves, for ``steps``
    batches; its best state on a fifth of the *training* speakers, kept out of both, is taken. Where
    there is nothing to gain it stays at zero, and the result is the linear probe's.
    """

    def fit(x_train, y_train, train_speakers):
        with _one_thread():
            return _fit_mlp(x_train, y_train, train_speakers, hidden, steps, batch, rate, seed)

    return _cross_validated_r2(fit, x.double(), y.double(), speakers, folds, seed)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Products as small as the probe's gain nothing from a second CPU thread; on a machine that
    is busy otherwise, the threads' waiting for each other makes a step dozens of times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _fit_mlp(x, y, speakers, hidden, steps, batch, rate, seed):
    kept_out = _fifths(speakers, seed + 1) == 0
    chosen = torch.from_numpy(kept_out).to(x.device)
    linear = ridge(x[~chosen], y[~chosen], speakers[~kept_out], seed=seed)
    mean, scale_x = x[~chosen].mean(0), x[~chosen].std(0).mean().clamp(min=1e-12)
    rest = y - linear(x)
    scale_y = rest[~chosen].std(0).mean().clamp(min=1e-12)
    inputs = ((x - mean) / scale_x).float()
    targets = (rest / scale_y).float()
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(seed)
        head = AdversaryHead(x.shape[1], y.shape[1], hidden).to(x.device)
    torch.nn.init.zeros_(head[-1].weight)
    torch.nn.init.zeros_(head[-1].bias)
    optimizer = torch.optim.Adam(head.parameters(), lr=rate, weight_decay=1e-4)
    fit_inputs, fit_targets = inputs[~chosen], targets[~chosen]
    draw = np.random.default_rng(seed)
    best, kept = float("inf"), copy.deepcopy(head.state_dict())
    for step in range(steps + 1):
        if step % 20 == 0:
            with torch.no_grad():
                error = float(F.mse_loss(head(inputs[chosen]), targets[chosen]))
            if error < best:
                best, kept = error, copy.deepcopy(head.state_dict())
        rows = torch.from_numpy(draw.integers(len(fit_inputs), size=batch)).to(x.device)
        optimizer.zero_grad()
        F.mse_loss(head(fit_inputs[rows]), fit_targets[rows]).backward()
        optimizer.step()
    head.load_state_dict(kept)
    # On all training speakers: with an idle head, the linear probe itself.
    linear = ridge(x, y, speakers, seed=seed)

    @torch.no_grad()
    def predict(rows: torch.Tensor) -> torch.Tensor:
        return linear(rows) + head(((rows - mean) / scale_x).float()).double() * scale_y

    return predict


def _cross_validated_r2(fit, x, y, speakers, folds, seed) -> Reading:
    index = speaker_index(speakers)
    fold = speaker_folds(index, folds, seed)
    missed, spread = np.zeros(index.max() + 1), np.zeros(index.max() + 1)
    for k in range(fold.max() + 1):
        held = torch.from_numpy(fold == k).to(x.device)
        predict = fit(x[~held], y[~held], index[fold != k])
        error = (y[held] - predict(x[held])).square().sum(1)  # (n,)
        plain = (y[held] - y[~held].mean(0)).square().sum(1)
        np.add.at(missed, index[fold == k], error.cpu().numpy())
        np.add.at(spread, index[fold == k], plain.cpu().numpy())
    if not spread.sum() > 0:
        raise ValueError("what the probe should read does not vary")
    weights = draws(len(missed), seed=seed)  # (R, S)
    replicates = 1 - (weights @ missed) / (weights @ spread)
    return as_reading(float(1 - missed.sum() / spread.sum()), replicates)


def as_reading(value: float, replicates: np.ndarray) -> Reading:
    """A value with the 95 % interval of its ``replicates`` (R,); NaN where there is none."""
    try:
        low, high = interval(replicates)
    except ValueError:
        low = high = float("nan")
    return Reading(value, low, high)
