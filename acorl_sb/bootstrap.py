"""Confidence intervals of detection metrics: a bootstrap over speakers.

Trials are not independent: a speaker who is hard to recognise spoils many of them, on the enrolment
side and on the test side. So speakers are drawn, not trials (as in L. Ferrer's DCA-PLDA, which
draws speakers for both sides of the trials at once). A replicate draws as many speakers as there
are, with replacement; a speaker drawn c times counts as c people who happen to sound alike:

- a non-target trial of speakers a and b occurs c_a c_b times, once for each pair of such people;
- a target trial, both sides of which are one person, occurs c_a times, once for each person. The
  pairing of two of the alike people with each other is left out: it is neither a target nor a true
  non-target trial.

This makes the miss rate a cluster bootstrap over speakers and the false-alarm rate the bootstrap of
a U-statistic. In simulation with 50 and 100 speakers its 95 % intervals held the truth in 90 to
95 of 100 test sets (resampling trials: 62 to 80). DCA-PLDA's own script repeats rows and columns
of the trial matrix, by which a target trial occurs c_a^2 times: ``target_weight="product"`` does
that; it overstates the spread of the miss rate and held the truth in 94 to 99 of 100.

All systems get the same draws, so the difference of two rows of replicates is a paired bootstrap.
The scores are sorted once; a replicate only re-weights them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from acorl_sb import metrics

Array = Any  # numpy array, torch tensor, or a plain sequence of numbers

KINDS = ("eer", "min_dcf", "act_dcf", "cllr")


@dataclass(frozen=True)
class Measure:
    """One metric by its name in ``acorl_sb.metrics``, with the cost point where it has one.

    ``kind`` is "eer" (ROC convex hull), "min_dcf", "act_dcf" or "cllr"; the last two need
    natural-log likelihood ratios as scores.
    """

    kind: str
    p_target: float = 0.01
    c_miss: float = 1.0
    c_fa: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the measure must be one of {', '.join(KINDS)}, not {self.kind!r}")
        metrics.bayes_threshold(self.p_target, self.c_miss, self.c_fa)  # refuses bad costs

    def __str__(self) -> str:
        """``eer``, ``min_dcf(0.01)``, or ``min_dcf(0.01, 10, 1)`` where the costs are not 1."""
        if self.kind in ("eer", "cllr"):
            return self.kind
        costs = "" if self.c_miss == self.c_fa == 1 else f", {self.c_miss:g}, {self.c_fa:g}"
        return f"{self.kind}({self.p_target:g}{costs})"


def speaker_bootstrap(
    scores: Array,
    labels: Array,
    enrol_speaker: Array,
    test_speaker: Array,
    measures: Iterable[Measure] = (Measure("eer"),),
    replicates: int = 1000,
    seed: int = 0,
    target_weight: str = "speaker",
    device: torch.device | str | None = None,
    memory: int = 1 << 25,
) -> dict[str, np.ndarray]:
    """Replicate values of every measure, ``{str(measure): float64 (S, R)}``.

    Parameters
    ----------
    scores : (S, N), or (N,) for one system; higher means "same speaker" more likely.
    labels : (N,), 1 target, 0 non-target.
    enrol_speaker, test_speaker : (N,) numbers or names of the two sides' speakers. They must
        agree on a target trial and differ on a non-target trial.
    measures : what to compute.
    replicates : R, the number of draws.
    seed : the draws depend on it and on the number of speakers alone, so calls with one seed over
        the same trials are paired too.
    target_weight : "speaker" or "product"; see the module's text.
    device : where to work; by default where ``scores`` are.
    memory : bytes that the weights of one block of replicates may take.

    A replicate in which no target or no non-target trial was drawn (it happens with a handful of
    speakers) is NaN. Raises ``ValueError`` for fewer than two speakers, speakers that contradict
    the labels, and whatever ``acorl_sb.metrics`` refuses.
    """
    if target_weight not in ("speaker", "product"):
        raise ValueError(f"target_weight must be 'speaker' or 'product', not {target_weight!r}")
    measures = list(measures)
    scores = _as_matrix(scores, device)  # (S, N)
    labels = metrics.as_labels(labels, scores.device)  # (N,)
    enrol, test, n_speakers = _number_speakers(enrol_speaker, test_speaker, scores, labels)
    draws = _draw(n_speakers, replicates, seed).to(scores.device)  # (R, K)
    values = {str(m): torch.empty(len(scores), replicates) for m in measures}
    values = {name: value.double() for name, value in values.items()}
    rows = max(1, memory // (8 * 4 * scores.shape[1]))
    for s, system in enumerate(scores):
        ordered = _Ordered.of(system, labels, enrol, test, target_weight == "product")
        for start in range(0, replicates, rows):
            part = slice(start, start + rows)
            weighted = _Weighted(ordered, draws[part])
            for measure in measures:
                values[str(measure)][s, part] = weighted.value(measure).cpu()
    return {name: value.numpy() for name, value in values.items()}


def interval(values: Array, level: float = 0.95) -> tuple[Any, Any]:
    """Percentile interval over the last axis of replicate values, NaN replicates left out.

    For values (R,) two floats, for (S, R) two arrays (S,). For a paired comparison give the
    difference of two rows. Raises ``ValueError`` when fewer than 9 in 10 replicates have a value:
    there are then too few speakers for an interval.
    """
    values = np.asarray(values, dtype=np.float64)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    if np.isfinite(values).mean(axis=-1).min() < 0.9:
        raise ValueError("too few speakers: most draws of them miss one class of trials")
    tail = (1.0 - level) / 2.0
    values = np.where(np.isfinite(values), values, np.nan)
    low, high = np.nanquantile(values, (tail, 1.0 - tail), axis=-1)
    return (float(low), float(high)) if values.ndim == 1 else (low, high)


def standard_measures(
    points: Sequence[float] = (0.01, 0.05),
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    calibrated: bool = False,
) -> list[Measure]:
    """The measures of ``metrics.evaluate``: EER, minDCF at ``points``; for LLRs also the others."""
    kinds = ("min_dcf", "act_dcf") if calibrated else ("min_dcf",)
    measures = [Measure("eer")]
    measures += [Measure(kind, p, c_miss, c_fa) for kind in kinds for p in points]
    return [*measures, Measure("cllr")] if calibrated else measures


# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ordered:
    """One system's trials by class and ascending score, with their speakers."""

    target: torch.Tensor  # (T,) scores
    target_speaker: torch.Tensor  # (T,)
    nontarget: torch.Tensor  # (U,) scores
    enrol_speaker: torch.Tensor  # (U,)
    test_speaker: torch.Tensor  # (U,)
    # Candidate thresholds: the first target after each run of non-targets. Any other threshold
    # misses more targets for the same false alarms, whatever the weights.
    misses: torch.Tensor  # (C,) targets below the candidate; the last candidate is +inf
    rejections: torch.Tensor  # (C,) non-targets below the candidate
    squared: bool

    @classmethod
    def of(cls, scores, labels, enrol, test, squared: bool) -> _Ordered:
        metrics.sort_trials(scores, labels)  # for its checks: both classes, finite
        target, non = labels.nonzero()[:, 0], (~labels).nonzero()[:, 0]
        target = target[torch.argsort(scores[target])]
        non = non[torch.argsort(scores[non])]
        target_scores, non_scores = scores[target], scores[non]
        below = torch.searchsorted(non_scores, target_scores)  # (T,)
        first = torch.ones_like(below, dtype=torch.bool)
        first[1:] = below[1:] > below[:-1]
        misses = first.nonzero()[:, 0]
        return cls(
            target_scores,
            enrol[target],
            non_scores,
            enrol[non],
            test[non],
            torch.cat([misses, misses.new_tensor([len(target)])]),
            torch.cat([below[misses], misses.new_tensor([len(non)])]),
            squared,
        )


class _Weighted:
    """One block of replicates of one system: metrics of weighted trials."""

    def __init__(self, ordered: _Ordered, draws: torch.Tensor) -> None:
        self.ordered = ordered
        self.target = _gather(draws, ordered.target_speaker)  # (B, T) weights
        if ordered.squared:
            self.target = self.target.square_()
        self.nontarget = _gather(draws, ordered.enrol_speaker)  # (B, U)
        self.nontarget *= _gather(draws, ordered.test_speaker)
        self.n_target = self.target.sum(1, keepdim=True)  # (B, 1)
        self.n_nontarget = self.nontarget.sum(1, keepdim=True)
        self._points: tuple[torch.Tensor, torch.Tensor] | None = None

    def value(self, measure: Measure) -> torch.Tensor:
        """(B,) values, NaN where a class has no weight."""
        if measure.kind == "eer":
            return self._eer()
        if measure.kind == "cllr":
            return self._cllr()
        cost_miss, cost_fa = (
            measure.p_target * measure.c_miss,
            (1 - measure.p_target) * measure.c_fa,
        )
        if measure.kind == "min_dcf":
            p_miss, p_fa = self._rates()
            cost = (cost_miss * p_miss).add_(p_fa, alpha=cost_fa).amin(1)
        else:
            threshold = metrics.bayes_threshold(measure.p_target, measure.c_miss, measure.c_fa)
            missed = int((self.ordered.target < threshold).sum())
            rejected = int((self.ordered.nontarget < threshold).sum())
            p_miss = self.target[:, :missed].sum(1) / self.n_target[:, 0]
            p_fa = self.nontarget[:, rejected:].sum(1) / self.n_nontarget[:, 0]
            cost = cost_miss * p_miss + cost_fa * p_fa
        return cost / min(cost_miss, cost_fa)

    def _rates(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(p_miss, p_fa), both (B, C), at the candidate thresholds."""
        if self._points is None:
            p_miss = _below(self.target, self.ordered.misses).div_(self.n_target)
            p_fa = _below(self.nontarget, self.ordered.rejections).div_(self.n_nontarget)
            self._points = p_miss, p_fa.neg_().add_(1.0).clamp_(0.0, 1.0)
        return self._points

    def _eer(self) -> torch.Tensor:
        """As ``metrics.eer``, for all rows at once: the hull's edge across p_miss = p_fa."""
        p_miss, p_fa = self._rates()
        rows = len(p_miss)
        low_miss, low_fa = p_miss.new_zeros(rows), p_miss.new_ones(rows)  # accept all
        high_miss, high_fa = p_miss.new_ones(rows), p_miss.new_zeros(rows)  # reject all
        while True:
            weight_miss, weight_fa = low_fa - high_fa, high_miss - low_miss  # (B,)
            cost = (weight_miss[:, None] * p_miss).addcmul_(weight_fa[:, None], p_fa)  # (B, C)
            least, at = cost.min(1)
            # Rounding stays below this; a vertex nearer to the line moves the EER by less.
            beyond = least < weight_miss * low_miss + weight_fa * low_fa - 1e-13
            if not bool(beyond.any()):
                break
            miss, fa = (p.gather(1, at[:, None])[:, 0] for p in (p_miss, p_fa))
            lower, upper = beyond & (miss < fa), beyond & (miss >= fa)
            low_miss, low_fa = torch.where(lower, miss, low_miss), torch.where(lower, fa, low_fa)
            high_miss, high_fa = (
                torch.where(upper, miss, high_miss),
                torch.where(upper, fa, high_fa),
            )
        gap_low, gap_high = low_fa - low_miss, high_miss - high_fa
        found = (low_miss * gap_high + high_miss * gap_low) / (gap_low + gap_high)
        return torch.where(torch.isnan(least), least, found)

    def _cllr(self) -> torch.Tensor:
        zero = self.target.new_zeros(())
        miss = self.target @ torch.logaddexp(zero, -self.ordered.target)  # (B,)
        fa = self.nontarget @ torch.logaddexp(zero, self.ordered.nontarget)
        bits = miss / self.n_target[:, 0] + fa / self.n_nontarget[:, 0]
        return bits / (2.0 * math.log(2.0))


def _gather(draws: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
    """(B, K) counts to (B, N) counts of each trial's speaker."""
    return draws.gather(1, speaker.expand(len(draws), -1))


def _below(weights: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """(B, C) sums of the first index[c] weights of each row of (B, N)."""
    sums = torch.nn.functional.pad(weights.cumsum(1), (1, 0))
    return sums.gather(1, index.expand(len(sums), -1))


def _as_matrix(scores: Array, device: torch.device | str | None) -> torch.Tensor:
    scores = metrics.as_scores(scores)
    scores = scores[None] if scores.ndim == 1 else scores
    if scores.ndim != 2:
        raise ValueError(f"scores must be (N,) or (S, N), not {tuple(scores.shape)}")
    return scores if device is None else scores.to(device)


def _number_speakers(
    enrol: Array, test: Array, scores: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Both sides' speakers as int64 (N,) numbers from 0, and how many there are."""
    enrol, test = (
        side.cpu().numpy() if isinstance(side, torch.Tensor) else np.asarray(side)
        for side in (enrol, test)
    )
    if not enrol.shape == test.shape == tuple(labels.shape) == tuple(scores.shape[1:]):
        raise ValueError(
            "labels, enrol_speaker and test_speaker need one entry a trial: shapes "
            f"{tuple(labels.shape)}, {enrol.shape}, {test.shape} for scores {tuple(scores.shape)}"
        )
    names, numbers = np.unique(np.concatenate([enrol, test]), return_inverse=True)
    if len(names) < 2:
        raise ValueError("a bootstrap over speakers needs at least two speakers")
    enrol, test = torch.from_numpy(numbers.reshape(2, -1)).to(scores.device)
    wrong = ((enrol == test) != labels).nonzero()
    if len(wrong):
        raise ValueError(
            f"the speakers contradict the labels of {len(wrong)} trials, first trial "
            f"{int(wrong[0])}: a target trial has one speaker, a non-target trial two"
        )
    return enrol, test, len(names)


def _draw(n_speakers: int, replicates: int, seed: int) -> torch.Tensor:
    """(R, K) how often each speaker is drawn, float64; rows sum to K."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(n_speakers, np.full(n_speakers, 1.0 / n_speakers), replicates)
    return torch.from_numpy(counts.astype(np.float64))
