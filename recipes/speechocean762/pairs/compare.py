"""A candidate's pairs minus the reference's, over seeds: paired, speakers and seeds resampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from acorl_sb import metrics
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.metrics.bootstrap import Measure, speaker_bootstrap
from acorl_sb.metrics.intervals import interval

REPLICATES = 1000


class Error(NamedTuple):
    """One pair's error: its ``value``, and ``replicates`` (R,) of it over draws of speakers.

    Replicates of different pairs on the same trials are of the same draws.
    """

    value: float
    replicates: np.ndarray


class Difference(NamedTuple):
    """``change`` of the mean over seeds, its 95 % interval, ``spread`` of the seeds' changes.

    The interval is of a bootstrap that draws speakers, jointly on both sides of a trial and the
    same for both systems, and draws seeds too; ``spread`` is the standard deviation over seeds
    (NaN for one seed). ``relative`` is the change over the reference's mean.
    """

    change: float
    interval: tuple[float, float]
    spread: float
    relative: float
    relative_interval: tuple[float, float]
    seeds: int


def error(
    scores: np.ndarray, side: TrialSet, measure: Measure, replicates: int = REPLICATES
) -> Error:
    """The measure, ``eer`` or ``min_dcf``, of a system's scores (N,)."""
    labels = side.trials.labels
    if measure.kind == "eer":
        value = metrics.eer(scores, labels)
    else:
        value = metrics.min_dcf(scores, labels, measure.p_target, measure.c_miss, measure.c_fa)
    drawn = speaker_bootstrap(scores, labels, *side.speakers, [measure], replicates)
    return Error(value, drawn[str(measure)][0])


def difference(candidate: Sequence[Error], reference: Sequence[Error]) -> Difference:
    """Candidate minus reference; entry i of both is of the same seed."""
    seeds = len(candidate)
    values = np.array([[e.value for e in pairs] for pairs in (candidate, reference)])  # (2, seeds)
    drawn = np.array([[e.replicates for e in pairs] for pairs in (candidate, reference)])
    replicates = drawn.shape[-1]
    # The same seeds on both sides.
    chosen = np.random.default_rng(0).integers(seeds, size=(seeds, replicates))
    new, old = drawn[:, chosen, np.arange(replicates)].mean(1)  # (R,) each
    changes = values[0] - values[1]  # (seeds,)
    change = float(changes.mean())
    return Difference(
        change,
        interval(new - old),
        float(changes.std(ddof=1)) if seeds > 1 else float("nan"),
        change / float(values[1].mean()),
        interval(new / old - 1),
        seeds,
    )
