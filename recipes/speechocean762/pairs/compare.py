"""A candidate's pairs minus the reference's, over seeds: paired, speakers and seeds resampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from acorl_sb import metrics
from acorl_sb.bootstrap import Measure, interval, speaker_bootstrap
from acorl_sb.evaluate import Side


class Difference(NamedTuple):
    """``change`` of the mean over seeds, its 95 % interval, ``spread`` of the seeds' changes.

    The interval is of a bootstrap that draws speakers, jointly on both sides of a trial and the
    same for both systems, and draws seeds too; ``spread`` is the standard deviation over seeds
    (NaN for one seed). ``relative`` is the change over the reference's mean.
    """

    change: float
    low: float
    high: float
    spread: float
    relative: float
    relative_low: float
    relative_high: float
    seeds: int


def difference(
    candidate: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    side: Side,
    measure: Measure,
    replicates: int = 1000,
) -> Difference:
    """Candidate minus reference, entry i of both of the same seed; scores (N,) of the trials."""
    seeds = len(candidate)
    speaker = np.array([u.spk_id for u in side.utterances])
    drawn = speaker_bootstrap(
        np.stack([*candidate, *reference]),
        side.trials.labels,
        speaker[side.enrol],
        speaker[side.test],
        [measure],
        replicates,
    )[str(measure)]  # (2 seeds, R)
    plain = np.array(
        [[point(s, side, measure) for s in systems] for systems in (candidate, reference)]
    )  # (2, seeds)
    generator = np.random.default_rng(0)
    chosen = generator.integers(seeds, size=(seeds, replicates))  # the same seeds on both sides
    columns = np.arange(replicates)
    new = drawn[:seeds][chosen, columns].mean(0)  # (R,)
    old = drawn[seeds:][chosen, columns].mean(0)
    changes = plain[0] - plain[1]  # (seeds,)
    base = float(plain[1].mean())
    return Difference(
        float(changes.mean()),
        *interval(new - old),
        float(changes.std(ddof=1)) if seeds > 1 else float("nan"),
        float(changes.mean()) / base,
        *interval(new / old - 1),
        seeds,
    )


def point(scores: np.ndarray, side: Side, measure: Measure) -> float:
    """The measure itself, ``eer`` or ``min_dcf``, of one system's scores."""
    if measure.kind == "eer":
        return metrics.eer(scores, side.trials.labels)
    return metrics.min_dcf(
        scores, side.trials.labels, measure.p_target, measure.c_miss, measure.c_fa
    )
