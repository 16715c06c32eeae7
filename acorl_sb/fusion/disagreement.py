"""How uncertain a fused LLR is: the standard deviation of the members' own LLRs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.fusion.calibration import LinearCalibration
from acorl_sb.fusion.checks import check_fitted, check_scores
from acorl_sb.fusion.validation import CrossValidation, DevTest
from acorl_sb.metrics.selective import SHARES, error_by_doubt, error_probability, selective_eer
from acorl_sb.utils.errors import UserError

ANSWERED = 0.9  # the share of trials that the one figure of the curve is given for


class Disagreement:
    """Standard deviation of S members' LLRs (natural logarithm), each calibrated by itself.

    Members that see a trial alike agree; where they do not, at least one of them errs. The
    deviation has S - 1 in its denominator. Scores must rise with "same speaker".

    Arguments
    ---------
    prior : effective prior of the calibrations, as in ``LinearCalibration``

    Example
    -------
    >>> labels = np.array([True, False] * 20)
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.normal(size=(2, 40)) + 2 * labels
    >>> Disagreement().fit(scores, labels)(scores).shape
    (40,)
    """

    def __init__(self, prior: float = 0.05) -> None:
        self.prior = prior
        self.calibrations: list[LinearCalibration] = []

    def fit(
        self, scores: np.ndarray, labels: np.ndarray, names: Sequence[str] | None = None
    ) -> Disagreement:
        """Fit on development trials: scores (S, N), labels (N,).

        Raises ``UserError`` for a single member, and what ``LinearCalibration.fit`` raises.
        """
        scores = check_scores(scores, names)
        if len(scores) < 2:
            raise UserError("one system cannot disagree with itself: give two or more")
        named = names if names is not None else [None] * len(scores)
        self.calibrations = [
            LinearCalibration(self.prior).fit(row, labels, name)
            for row, name in zip(scores, named, strict=True)
        ]
        return self

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Standard deviations (N,) of scores (S, N)."""
        scores = check_scores(scores)
        check_fitted(bool(self.calibrations), len(self.calibrations), len(scores))
        llrs = np.stack([c(row) for c, row in zip(self.calibrations, scores, strict=True)])
        return llrs.std(0, ddof=1)

    def state(self) -> list[dict[str, Any]]:
        """Plain numbers from which ``from_state`` rebuilds it."""
        return [c.state()["fusion"] for c in self.calibrations]

    @classmethod
    def from_state(cls, state: Sequence[dict[str, Any]]) -> Disagreement:
        """Rebuild a fitted object from ``state()``."""
        made = cls(state[0]["prior"])
        made.calibrations = [
            LinearCalibration.from_state({"kind": "linear", "fusion": fitted}) for fitted in state
        ]
        return made


def spread_of(
    protocol: DevTest | CrossValidation, names: Sequence[str], prior: float
) -> tuple[dict[str, np.ndarray], Disagreement]:
    """By part, how much the members disagree (N,), and what was fitted to say so."""

    def fit(scores: np.ndarray, labels: np.ndarray) -> Disagreement:
        return Disagreement(prior).fit(scores, labels, names)

    std, spread = protocol.held_out(fit)
    if isinstance(protocol, DevTest):
        return {"test": std, "dev": spread(protocol.dev.scores)}, spread
    return {"scores": std}, spread


def judge_uncertainty(
    protocol: DevTest | CrossValidation, fused: dict[str, np.ndarray], std: dict[str, np.ndarray]
) -> dict[str, Any]:
    """``judge_std`` of the reported trials, at the EER threshold of the development trials.

    Of one set that is cross-validated, the threshold is that of the very trials.
    """
    labels = protocol.reported.trials.known_labels
    if isinstance(protocol, DevTest):
        threshold = metrics.eer_threshold(fused["dev"], protocol.dev.trials.known_labels)
        return judge_std(fused["test"], labels, std["test"], threshold)
    threshold = metrics.eer_threshold(fused["scores"], labels)
    return judge_std(fused["scores"], labels, std["scores"], threshold)


def judge_std(
    llrs: np.ndarray, labels: np.ndarray, std: np.ndarray, threshold: float
) -> dict[str, Any]:
    """What standard deviations are good for, plain, for JSON.

    Three orders in which trials are left unanswered: by ``std``; by the ``probability`` of an error
    that it predicts, docs/uncertainty.md (2); and by ``distance``, nearest to the threshold first,
    which needs no ``std`` and is the baseline of both.

    Arguments
    ---------
    llrs, labels, std : (N,)
    threshold : float
        Decisions are made at it; it comes from other trials, the development trials.

    Returns
    -------
    dict
        ``curves`` (EER for each of ``shares`` by order), ``answered`` and ``rejecting`` (EER with
        that share answered, and its relative change), ``bins``, ``correlation`` of std and
        distance.
    """
    orders = {
        "std": std,
        "probability": error_probability(llrs, std, threshold),
        "distance": -np.abs(llrs - threshold),
    }
    whole = metrics.eer(llrs, labels)
    curves, rejecting = {}, {}
    for name, doubt in orders.items():
        curves[name] = selective_eer(llrs, labels, doubt)
        (left,) = selective_eer(llrs, labels, doubt, [ANSWERED])
        change = None if left is None or whole == 0 else left / whole - 1
        rejecting[name] = {"eer": left, "change": change}
    moving = bool(np.ptp(std) > 0 and np.ptp(llrs) > 0)
    return {
        "threshold": float(threshold),
        "mean_std": float(np.mean(std)),
        "correlation": float(np.corrcoef(std, -orders["distance"])[0, 1]) if moving else None,
        "eer": whole,
        "shares": list(SHARES),
        "curves": curves,
        "answered": ANSWERED,
        "rejecting": rejecting,
        "bins": error_by_doubt(llrs, labels, std, threshold),
    }
