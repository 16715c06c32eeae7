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

    ``speakers`` are the names of both sides' speakers, (N,) each, or None for no intervals.
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

    def replicate(self, scores: np.ndarray, calibrated: bool) -> dict[str, np.ndarray]:
        """Bootstrap replicates (R,) by the names of ``flat``; empty where there are none."""
        if self.speakers is None or not self.replicates:
            return {}
        measures = standard_measures(self.points, self.c_miss, self.c_fa, calibrated)
        made = self._draw(scores, measures)
        names = [
            m.kind if m.kind in ("eer", "cllr") else f"{m.kind}({m.p_target:g})" for m in measures
        ]
        made = {name: made[str(m)] for name, m in zip(names, measures, strict=True)}
        few = any(np.isfinite(values).mean() < 0.9 for values in made.values())
        return {} if few else made

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
        if self.speakers is None:
            return "No intervals: the speakers are not known (give speakers or speaker_pattern)."
        if not self.replicates:
            return "No intervals: switched off (replicates: 0)."
        return "No intervals: too few speakers, most draws of them miss a class of trials."


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


def trial_speakers(trials: TrialList, speaker_of: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Names of the enrolment and the test speakers, (N,) each, from those of ``trials.ids``."""
    names = np.asarray(speaker_of)
    return names[trials.enrol], names[trials.test]
