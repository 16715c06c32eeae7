"""Calibration: turning scores into log-likelihood ratios, and ratios into decisions.

A calibrated score is ``llr = log p(score | target) / p(score | non-target)`` (natural logarithm).
The decision that costs least is then known beforehand for any prior and costs: accept where
``llr >= log(c_fa (1 - p_target) / (c_miss p_target))`` (``metrics.bayes_threshold``).

- ``LinearCalibration``: ``llr = w score + b`` by logistic regression; two numbers, hard to overfit.
- ``PavCalibration``: any monotone function, by isotonic regression (pool adjacent violators), which
  is the slope of the ROC convex hull; needs more development trials.

All scores are ``(N,)``, all labels ``(N,)`` with True for target. One system at a time: to
calibrate and fuse several at once is what ``fusion.LogisticFusion`` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.special import logit

from acorl_sb import metrics
from acorl_sb.fusion.checks import check_labels, check_scores
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.metrics.pav import pav, tied_counts
from acorl_sb.utils.errors import UserError

Point = tuple[float, float, float]
"""An operating point: prior of a target trial, cost of a miss, cost of a false alarm."""


class LinearCalibration:
    """``llr = scale * score + offset``, fitted by prior-weighted logistic regression.

    Arguments
    ---------
    prior : effective prior of a target trial at which the fit counts errors, in (0, 1).
    l2 : as in ``fusion.LogisticFusion``.

    Raises on ``fit`` what ``LogisticFusion.fit`` raises. ``scale`` is negative where higher scores
    go with non-target trials.
    """

    kind: ClassVar[str] = "linear"

    def __init__(self, prior: float = 0.05, l2: float = 0.0) -> None:
        self._fusion = LogisticFusion(prior, l2)
        self.scale = math.nan
        self.offset = math.nan

    def fit(
        self, scores: np.ndarray, labels: np.ndarray, name: str | None = None
    ) -> LinearCalibration:
        """Fit on development trials: scores (N,), labels (N,); ``name`` is for messages."""
        self._fusion.fit(scores, labels, names=[name] if name else None)
        self.scale, self.offset = float(self._fusion.weights[0]), self._fusion.bias
        return self

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """LLRs of scores (N,)."""
        return self._fusion(scores)

    def score_at(self, llr: float) -> float:
        """The raw score whose LLR is ``llr``: the same threshold in the system's own units.

        Infinity where ``scale`` is not positive, since no threshold from below is then the same.
        """
        return (llr - self.offset) / self.scale if self.scale > 0 else math.inf

    def state(self) -> dict[str, Any]:
        """Plain numbers from which ``from_state`` rebuilds the fitted model."""
        return {"kind": self.kind, "fusion": self._fusion.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LinearCalibration:
        """Rebuild a fitted model from ``state()``."""
        model = cls()
        model._fusion = LogisticFusion.from_state(state["fusion"])
        model.scale, model.offset = float(model._fusion.weights[0]), model._fusion.bias
        return model


class PavCalibration:
    """The best monotone function of the score, by pool adjacent violators.

    Of all non-decreasing maps it minimises every proper scoring rule on the development trials at
    once, whatever the prior (Brümmer and du Preez, "Application-independent evaluation of speaker
    detection", 2006; "The PAV algorithm optimizes binary proper scoring rules", 2013). Its levels
    are the slopes of the ROC convex hull.

    Trials beyond the last error would get infinite LLRs; Laplace's rule (one more target and one
    more non-target trial at either end) keeps them finite, at about the log of the number of
    trials. Between two levels the map is linear in the score, outside it is constant.

    After ``fit``: ``knots`` (K,) ascending scores and ``levels`` (K,), their LLRs.
    """

    kind: ClassVar[str] = "pav"

    def __init__(self) -> None:
        self.knots = np.zeros(0)
        self.levels = np.zeros(0)

    def fit(
        self, scores: np.ndarray, labels: np.ndarray, name: str | None = None
    ) -> PavCalibration:
        """Fit on development trials: scores (N,), labels (N,); ``name`` is for messages.

        Raises
        ------
        UserError
            For non-finite or constant scores, one class only, labels missing.
        """
        scores = check_scores(scores, [name] if name else None)[0]
        labels = check_labels(labels, len(scores))
        if scores.min() == scores.max():
            raise UserError(f"{name or 'the system'}: all development scores are {scores[0]:g}")
        values, targets, nontargets = tied_counts(metrics.sort_trials(scores, labels))
        # Laplace's rule, for both ends at once: [target, non-target] below and above.
        targets = np.concatenate([[1.0, 0.0], targets, [1.0, 0.0]])
        nontargets = np.concatenate([[0.0, 1.0], nontargets, [0.0, 1.0]])
        posterior, blocks = pav(targets, nontargets)
        llrs = logit(posterior) - math.log(targets.sum() / nontargets.sum())

        first = np.clip(blocks[:-1] - 2, 0, len(values) - 1)
        last = np.clip(blocks[1:] - 3, 0, len(values) - 1)
        # A block of nothing but dummies lies outside the data and has no score of its own.
        real = (blocks[1:] > 2) & (blocks[:-1] < len(values) + 2)
        first, last, levels = first[real], last[real], llrs[blocks[:-1][real]]
        knots = np.stack([values[first], values[last]], 1).ravel()
        levels = np.repeat(levels, 2)
        keep = np.concatenate([[True], np.diff(knots) > 0])
        self.knots, self.levels = knots[keep], levels[keep]
        return self

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """LLRs of scores (N,)."""
        if not len(self.knots):
            raise ValueError("fit the model first")
        return np.interp(check_scores(scores)[0], self.knots, self.levels)

    def score_at(self, llr: float) -> float:
        """The lowest raw score whose LLR reaches ``llr``; infinity where none does."""
        at = int(np.searchsorted(self.levels, llr, side="left"))
        if at == len(self.levels):
            return math.inf
        if at == 0:
            return -math.inf
        share = (llr - self.levels[at - 1]) / (self.levels[at] - self.levels[at - 1])
        return float(self.knots[at - 1] + share * (self.knots[at] - self.knots[at - 1]))

    def state(self) -> dict[str, Any]:
        """Plain numbers from which ``from_state`` rebuilds the fitted model."""
        return {"kind": self.kind, "knots": self.knots.tolist(), "levels": self.levels.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PavCalibration:
        """Rebuild a fitted model from ``state()``."""
        model = cls()
        model.knots, model.levels = np.array(state["knots"]), np.array(state["levels"])
        return model


Calibration = LinearCalibration | PavCalibration
MODELS: dict[str, type[LinearCalibration | PavCalibration]] = {
    m.kind: m for m in (LinearCalibration, PavCalibration)
}


def make(kind: str, prior: float = 0.05, l2: float = 0.0) -> Calibration:
    """A calibration, not yet fitted, by name: ``"linear"`` or ``"pav"``."""
    if kind == "linear":
        return LinearCalibration(prior, l2)
    if kind == "pav":
        return PavCalibration()
    raise UserError(f"unknown calibration '{kind}'; known are {', '.join(MODELS)}")


def from_state(state: dict[str, Any]) -> Calibration:
    """Rebuild whichever calibration a ``state()`` describes, by its ``kind``."""
    if state.get("kind") not in MODELS:
        raise UserError(f"unknown calibration '{state.get('kind')}'; known: {', '.join(MODELS)}")
    return MODELS[state["kind"]].from_state(state)


def decisions(points: Sequence[Point], calibration: Calibration | None = None) -> list[dict]:
    """The threshold to decide by at each operating point, in LLR and in the raw score's units.

    Accept a trial whose LLR is at least ``llr_threshold``, or whose score before ``calibration``
    is at least ``score_threshold`` (None where no calibration is given, and where no score or
    every score reaches it).
    """
    rows = []
    for p_target, c_miss, c_fa in points:
        threshold = float(metrics.bayes_threshold(p_target, c_miss, c_fa))
        score = math.inf if calibration is None else calibration.score_at(threshold)
        rows.append(
            {
                "p_target": p_target,
                "c_miss": c_miss,
                "c_fa": c_fa,
                "llr_threshold": threshold,
                "score_threshold": score if math.isfinite(score) else None,
            }
        )
    return rows


def pav_llrs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """LLRs of the optimal monotone map of these very trials, (N,) -> (N,): the best one could do.

    No Laplace's rule: values may be minus or plus infinity. Its actual cost at any operating point
    is the minimum cost of ``scores``. Equal scores get equal values.
    """
    scores = check_scores(scores)[0]
    labels = check_labels(labels, len(scores))
    values, targets, nontargets = tied_counts(metrics.sort_trials(scores, labels))
    posterior, _ = pav(targets, nontargets)
    with np.errstate(divide="ignore"):
        levels = logit(posterior) - logit(labels.mean())
    return levels[np.searchsorted(values, scores)]


def bayes_error_curve(
    llrs: np.ndarray, labels: np.ndarray, prior_log_odds: np.ndarray
) -> dict[str, np.ndarray]:
    """Normalised Bayes error rate over the prior: the cost of deciding by these LLRs.

    At effective prior log odds ``l`` (natural logarithm, P of them) the threshold is ``-l`` and the
    cost ``p P_miss + (1 - p) P_fa`` is divided by ``min(p, 1 - p)``, that of no scores at all.
    Returns ``actual`` (P,) and ``minimum`` (P,), the latter with the optimal monotone map (PAV) of
    the same trials. The distance between both is what calibration leaves on the table (Brümmer and
    de Villiers, "The BOSARIS toolkit", 2013).
    """
    labels = check_labels(labels, len(llrs))
    prior_log_odds = np.asarray(prior_log_odds, dtype=np.float64)
    prior = 1.0 / (1.0 + np.exp(-prior_log_odds))
    blind = np.minimum(prior, 1.0 - prior)

    def cost(values: np.ndarray) -> np.ndarray:
        targets, nontargets = np.sort(values[labels]), np.sort(values[~labels])
        miss = np.searchsorted(targets, -prior_log_odds, side="left") / len(targets)
        alarm = 1.0 - np.searchsorted(nontargets, -prior_log_odds, side="left") / len(nontargets)
        return (prior * miss + (1.0 - prior) * alarm) / blind

    llrs = check_scores(llrs)[0]
    return {"actual": cost(llrs), "minimum": cost(pav_llrs(llrs, labels))}
