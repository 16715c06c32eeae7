"""How a fusion is fitted and judged without looking at what it is judged by.

Two ways, behind one interface (``DevTest`` and ``CrossValidation``): fitted on development trials
and judged on test trials, or, where there is one set only, cross-validated with the speakers of
both sides of a trial held out. scikit-learn's group splitters (``GroupKFold``) know one group a
row, but a trial has two speakers, so the folds are dealt here. Every result says which of the two
it was (``kind``, ``sentence``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from acorl_sb.data.trials import TrialList
from acorl_sb.fusion import calibration as calibrations
from acorl_sb.fusion import models as fusions
from acorl_sb.fusion.checks import check_labels
from acorl_sb.utils.errors import UserError


@dataclass(frozen=True)
class ScoreSet:
    """Scores of S systems over N trials in one order, and what is known of the trials.

    ``speaker`` (M,) is the number, from 0, of the speaker of each of ``trials.ids``; ``owners``
    the system, from 0, that each quality column measures, None where it measures the trial itself.
    """

    trials: TrialList
    scores: np.ndarray  # (S, N) float64
    speaker: np.ndarray | None = None  # (M,) int64
    quality: np.ndarray | None = None  # (Q, N) float64
    std: np.ndarray | None = None  # (S, N) float64, where every score file has them
    owners: Sequence[int | None] | None = None  # (Q,), where None: all columns are the trials' own

    @property
    def labels(self) -> np.ndarray | None:
        return self.trials.labels

    def members(self, subset: Sequence[int]) -> ScoreSet:
        """The same trials with the scores, and what else is measured, of some systems only."""
        chosen = list(subset)
        if chosen == list(range(len(self.scores))):
            return self
        std = None if self.std is None else self.std[chosen]
        quality, owners = self.quality, self.owners
        if quality is not None and owners is not None:
            kept = [column for column, of in enumerate(owners) if of is None or of in chosen]
            quality = quality[kept]
            place: dict[int | None, int] = {system: n for n, system in enumerate(chosen)}
            owners = [place.get(owners[column]) for column in kept]
        return replace(self, scores=self.scores[chosen], quality=quality, std=std, owners=owners)


@dataclass(frozen=True)
class Recipe:
    """What to fit: ``fusion`` best_single, mean_znorm or logistic; ``calibration`` linear or pav.

    ``prior`` and ``l2`` go to every logistic regression; ``criterion`` and the cost point
    (``p_target``, ``c_miss``, ``c_fa``) to ``BestSingle``.
    """

    fusion: str = "logistic"
    calibration: str = "linear"
    prior: float = 0.05
    l2: float = 0.0
    criterion: str = "eer"
    p_target: float = 0.01
    c_miss: float = 1.0
    c_fa: float = 1.0

    def fit(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        quality: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> FusedSystem:
        """Fit fusion and calibration: scores (S, N), labels (N,), quality (Q, N) or None."""
        model: fusions.BestSingle | fusions.MeanZNorm | fusions.LogisticFusion
        if self.fusion == "logistic":
            model = fusions.LogisticFusion(self.prior, self.l2).fit(scores, labels, quality, names)
        elif self.fusion == "mean_znorm":
            model = fusions.MeanZNorm().fit(scores, labels, names)
        elif self.fusion == "best_single":
            single = fusions.BestSingle(self.criterion, self.p_target, self.c_miss, self.c_fa)
            model = single.fit(scores, labels, names)
        else:
            raise UserError(
                f"unknown fusion '{self.fusion}'; known are {', '.join(fusions.MODELS)}"
            )
        calibration = calibrations.make(self.calibration, self.prior, self.l2)
        system = FusedSystem(model, None)
        if self.fusion == "logistic" and self.calibration == "linear":
            return system  # is calibrated already: the linear map would be the identity
        calibration.fit(system.fused(scores, quality), labels, "the fused score")
        return replace(system, calibration=calibration)


@dataclass(frozen=True)
class FusedSystem:
    """A fitted fusion and the calibration behind it (None where the fused score is an LLR)."""

    fusion: Any
    calibration: Any

    def fused(self, scores: np.ndarray, quality: np.ndarray | None = None) -> np.ndarray:
        """Fused scores before calibration: (S, N), (Q, N) -> (N,)."""
        if isinstance(self.fusion, fusions.LogisticFusion):
            return self.fusion(scores, quality if self.fusion.n_quality else None)
        return self.fusion(scores)

    def __call__(self, scores: np.ndarray, quality: np.ndarray | None = None) -> np.ndarray:
        """LLRs (natural logarithm): (S, N), (Q, N) -> (N,)."""
        fused = self.fused(scores, quality)
        return fused if self.calibration is None else self.calibration(fused)

    def state(self) -> dict[str, Any]:
        """Plain numbers from which ``from_state`` rebuilds it."""
        calibration = None if self.calibration is None else self.calibration.state()
        return {"fusion": self.fusion.state(), "calibration": calibration}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FusedSystem:
        """Rebuild a fitted system from ``state()``."""
        calibration = state["calibration"]
        return cls(
            fusions.from_state(state["fusion"]),
            None if calibration is None else calibrations.from_state(calibration),
        )


@dataclass(frozen=True)
class Outcome:
    """``score`` ranks the reported trials, ``llr`` decides on them (both (N,)).

    ``selection`` (score, labels) are the trials that choices may look at. ``model`` is the fitted
    system to be kept.
    """

    score: np.ndarray
    llr: np.ndarray
    selection: tuple[np.ndarray, np.ndarray]
    model: FusedSystem


Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""From scores (S, N) and labels (N,) to a map of scores (S, N) to values (N,)."""


class DevTest:
    """Fitted on development trials, judged on test trials."""

    kind = "dev_test"

    def __init__(self, dev: ScoreSet, test: ScoreSet) -> None:
        self.dev, self.reported = dev, test
        check_labels(dev.labels, len(dev.trials))
        if test.labels is not None:
            check_labels(test.labels, len(test.trials), "test")

    @property
    def sentence(self) -> str:
        return (
            f"fitted on {len(self.dev.trials)} development trials, "
            f"reported on {len(self.reported.trials)} test trials"
        )

    def run(self, recipe: Recipe, subset: Sequence[int], names: Sequence[str]) -> Outcome:
        """Fit ``recipe`` on some members and apply it."""
        dev, test = self.dev.members(subset), self.reported.members(subset)
        system = recipe.fit(
            dev.scores, dev.trials.known_labels, dev.quality, [names[m] for m in subset]
        )
        score = system.fused(test.scores, test.quality)
        llr = score if system.calibration is None else system.calibration(score)
        return Outcome(
            score, llr, (system.fused(dev.scores, dev.quality), dev.trials.known_labels), system
        )

    def held_out(self, fit: Fit) -> tuple[np.ndarray, Any]:
        """What a map of scores, fitted on development trials, gives others (N,); and the map."""
        model = fit(self.dev.scores, self.dev.trials.known_labels)
        return model(self.reported.scores), model


class CrossValidation:
    """One set of trials; each is judged by a model that has seen neither of its two speakers.

    Speakers are dealt into ``folds`` groups. For every two groups a model is fitted on the trials
    both of whose speakers are in neither: folds (folds - 1) / 2 models, which fuse all trials
    between the two groups. Trials within a group i, which all target trials are, take the model of
    i and i + 1; all models are so fitted on equally many speakers. Where a sparse list leaves no
    trial for two groups, they have no model. The model that is kept is fitted on all trials.

    Raises ``UserError`` for trials without labels or speakers, too many folds, and folds without
    whose speakers no trials of both classes are left.
    """

    kind = "cross_validation"

    def __init__(self, trials: ScoreSet, folds: int = 5, seed: int = 0) -> None:
        self.reported = trials
        labels = check_labels(trials.labels, len(trials.trials), "given")
        if trials.speaker is None:
            raise UserError(
                "one set of trials is cross-validated over speakers, so their speakers must be "
                "known: give a manifest or a speaker pattern, or development and test scores"
            )
        self.folds = folds
        present = np.unique(trials.speaker)
        self.n_speakers = len(present)
        if not 3 <= folds <= self.n_speakers:
            raise UserError(
                f"cross-validation needs at least 3 folds and a speaker for each, "
                f"not {folds} folds of {self.n_speakers} speakers"
            )
        # Dealt like cards from a shuffled pack, speakers with many target trials first, so that
        # every fold gets its share.
        side = [trials.speaker[trials.trials.enrol], trials.speaker[trials.trials.test]]  # (N,) x 2
        pack = np.random.default_rng(seed).permutation(present)
        targets = np.bincount(side[0][labels], minlength=present[-1] + 1)
        pack = pack[np.argsort(-targets[pack], kind="stable")]
        fold = np.zeros(present[-1] + 1, dtype=np.int16)
        fold[pack] = np.arange(len(pack)) % folds
        self._fold = np.sort(fold[np.stack(side)], axis=0)  # (2, N), lower first
        for _ in self._parts():
            pass  # each must leave trials of both classes: told before anything is fitted

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(trials to fit on, trials held out), one pair for every two groups that hold any."""
        low, high = self._fold
        labels = self.reported.trials.known_labels
        for i in range(self.folds):
            for j in range(i + 1, self.folds):
                held = (low == i) & (high == j)
                for k in (i, j):
                    if (k + 1) % self.folds in (i, j):
                        held |= (low == k) & (high == k)
                if not held.any():
                    continue
                kept = np.flatnonzero((low != i) & (low != j) & (high != i) & (high != j))
                if not 0 < np.count_nonzero(labels[kept]) < len(kept):
                    raise UserError(
                        f"cross-validation: without the speakers of folds {i + 1} and {j + 1} no "
                        "trials of both classes are left; take more folds or more speakers"
                    )
                yield kept, np.flatnonzero(held)

    @property
    def sentence(self) -> str:
        return (
            f"cross-validated on one set of {len(self.reported.trials)} trials: "
            f"{self.folds} folds of {self.n_speakers} speakers, both sides' speakers held out"
        )

    def run(self, recipe: Recipe, subset: Sequence[int], names: Sequence[str]) -> Outcome:
        """Fit ``recipe`` on some members in every fold and apply it to what was held out."""
        trials = self.reported.members(subset)
        labels = trials.trials.known_labels
        chosen = [names[m] for m in subset]
        score, llr = np.empty((2, len(trials.trials)))
        systems = []
        for kept, held in self._parts():
            quality = None if trials.quality is None else trials.quality[:, kept]
            system = recipe.fit(trials.scores[:, kept], labels[kept], quality, chosen)
            quality = None if trials.quality is None else trials.quality[:, held]
            score[held] = system.fused(trials.scores[:, held], quality)
            llr[held] = (
                score[held] if system.calibration is None else system.calibration(score[held])
            )
            systems.append(system)
        if recipe.fusion == "best_single" and len({s.fusion.index for s in systems}) > 1:
            score = llr  # raw scores of different systems cannot be pooled
        model = recipe.fit(trials.scores, labels, trials.quality, chosen)
        return Outcome(score, llr, (score, labels), model)

    def held_out(self, fit: Fit) -> tuple[np.ndarray, Any]:
        """What maps give each trial (N,), fitted without its speakers; and a map fitted on all."""
        scores, labels = self.reported.scores, self.reported.trials.known_labels
        values = np.empty(len(labels))
        for kept, held in self._parts():
            values[held] = fit(scores[:, kept], labels[kept])(scores[:, held])
        return values, fit(scores, labels)
