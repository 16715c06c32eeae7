"""What is reported of scored systems: figures and intervals."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.data.trials import TrialList
from acorl_sb.metrics.bootstrap import SpeakerBootstrap, standard_measures
from acorl_sb.metrics.intervals import interval, paired_changes


@dataclass(frozen=True)
class Judge:
    """How scores are judged; one for all systems, so that their replicates are paired.

    ``speakers`` are the names or numbers of both sides' speakers, (N,) each, or None for no
    intervals.
    """

    labels: np.ndarray
    speakers: tuple[np.ndarray, np.ndarray] | None
    points: Sequence[float] = (0.01, 0.05)
    c_miss: float = 1.0
    c_fa: float = 1.0
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0

    def figures(self, scores: np.ndarray, calibrated: bool) -> dict[str, Any]:
        """``metrics.evaluate`` with cost points as text keys, ready for JSON."""
        found = metrics.evaluate(
            scores, self.labels, self.points, self.c_miss, self.c_fa, calibrated
        )
        for kind in ("min_dcf", "act_dcf"):
            if kind in found:
                found[kind] = {f"{p:g}": value for p, value in found[kind].items()}
        return found

    def replicate(
        self, scores: np.ndarray, calibrated: bool, ranked: bool = True
    ) -> dict[str, np.ndarray]:
        """Bootstrap replicates (R,) by the names of ``flat``; empty where there are none.

        Of scores (N,) that are ``calibrated`` also those of actDCF and Cllr; unless ``ranked`` no
        EER and minDCF, which may be those of other scores.
        """
        if self.no_replicates:
            return {}
        measures = standard_measures(self.points, self.c_miss, self.c_fa, calibrated)
        measures = [m for m in measures if ranked or m.kind not in ("eer", "min_dcf")]
        made = self._draw(scores, measures)
        return {
            m.kind if m.kind in ("eer", "cllr") else f"{m.kind}({m.p_target:g})": made[str(m)]
            for m in measures
        }

    @functools.cached_property
    def no_replicates(self) -> str:
        """Why there are no replicates, in words; empty where there are some."""
        if not self.replicates:
            return "switched off (replicates: 0)"
        if self.speakers is None:
            return "the speakers are not known (give speakers or speaker_pattern)"
        whole = (self._draw.n_target > 0) & (self._draw.n_nontarget > 0)  # (R,)
        few = "too few speakers, most draws of them miss a class of trials"
        return few if whole.mean() < 0.9 else ""

    @functools.cached_property
    def _draw(self) -> SpeakerBootstrap:
        if self.speakers is None:
            raise ValueError("intervals need the speakers")
        enrol, test = self.speakers
        return SpeakerBootstrap(self.labels, enrol, test, self.replicates, self.seed)

    def note(self, any_replicates: bool) -> str:
        """What stands in brackets."""
        if any_replicates:
            return (
                f"In brackets: {100 * self.level:g} % intervals, {self.replicates} bootstrap draws "
                "of speakers, jointly on both sides of a trial, the same draws for every row."
            )
        return f"No intervals: {self.no_replicates}."


def flat(figures: dict[str, Any]) -> dict[str, float]:
    """Figures of ``Judge.figures`` by one name each: ``eer``, ``min_dcf(0.01)``, ..."""
    named: dict[str, float] = {key: figures[key] for key in ("eer", "cllr") if key in figures}
    for kind in ("min_dcf", "act_dcf"):
        named |= {f"{kind}({p})": value for p, value in figures.get(kind, {}).items()}
    return named


class Results:
    """Rows of one scoring run; the first row is what the others are compared with."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.rows: list[dict[str, Any]] = []
        self._first: dict[str, np.ndarray] = {}

    def add(self, names: dict[str, str], scores: np.ndarray, calibrated: bool) -> dict[str, Any]:
        """Judge scores (N,); ``names`` are the row's system, backend and normalisation."""
        figures = self.judge.figures(scores, calibrated)
        replicates = self.judge.replicate(scores, calibrated)
        level = self.judge.level
        row = {**names, **figures, "llr": calibrated, "against_first": None}
        row["intervals"] = {k: list(interval(v, level)) for k, v in replicates.items()}
        if self.rows:
            first = flat(self.rows[0])
            row["against_first"] = paired_changes(
                flat(figures), replicates, first, self._first, level
            )
        else:
            self._first = replicates
        self.rows.append(row)
        return row


def trial_speakers(
    trials: TrialList, speaker_of: Sequence[str] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Speakers of the enrolment and the test sides, (N,) each, from those of ``trials.ids``."""
    numbers = np.unique(np.asarray(speaker_of), return_inverse=True)[1]  # not a name a trial
    return numbers[trials.enrol], numbers[trials.test]
