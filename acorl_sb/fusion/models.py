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
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from acorl_sb import metrics
from acorl_sb.fusion.checks import (
    check_fitted,
    check_labels,
    check_prior,
    check_scores,
    refuse_constant,
)
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.utils import files
from acorl_sb.utils.errors import UserError


class BestSingle:
    """The system with the lowest development error, passed through unchanged: the honest floor.

    Arguments
    ---------
    criterion : ``"eer"`` or ``"min_dcf"``, of ``acorl_sb.metrics``.
    p_target, c_miss, c_fa : the operating point of ``min_dcf``.

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
        self.p_target, self.c_miss, self.c_fa = check_prior(p_target), float(c_miss), float(c_fa)
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
        check_fitted(self.index is not None, len(self.errors), len(scores))
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
    """Mean over systems of scores normalised to zero mean and unit standard deviation.

    The statistics are those of *all* development scores of a system, so no label is looked at and
    the fused score is not an LLR: calibrate it (``acorl_sb.fusion.calibration``) before deciding
    by it.
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
        """Take mean and standard deviation of each row of scores (S, N); ``labels`` are not used.

        Raises
        ------
        UserError
            For a system whose development scores are constant or not finite.
        """
        scores = check_scores(scores, names)
        refuse_constant(scores, names)
        self.mean, self.std = scores.mean(1), scores.std(1)
        return self

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Fused scores, in standard deviations of the development scores: (S, N) -> (N,)."""
        scores = check_scores(scores)
        check_fitted(len(self.mean) > 0, len(self.mean), len(scores))
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


LABELS = {
    "best_single": "best single (by development)",
    "mean_znorm": "mean of z-norm",
    "logistic": "logistic fusion",
}
"""What tables call the fusions."""

CONCATENATIONS = {
    "cosine": "embedding concatenation, cosine",
    "plda": "embedding concatenation, PLDA",
}
"""What they call the fusions of embeddings, by back end."""

MODELS: dict[str, type[BestSingle | MeanZNorm | LogisticFusion]] = {
    m.kind: m for m in (BestSingle, MeanZNorm, LogisticFusion)
}


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

    Raises
    ------
    UserError
        For a file that is missing or is no fusion model.
    """
    try:
        return from_state(json.loads(Path(path).read_text(encoding="utf-8")))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read the fusion model ({error.strerror})") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: not a fusion model ({error})") from error
