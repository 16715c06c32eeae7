"""Score normalisation against a cohort: Z-, T-, S- and adaptive S-norm.

A raw score is judged against the scores that its enrolled model, or its test utterance, or both,
get with a cohort of other speakers:

- Z-norm: z = (s - mean_e) / std_e, over the cohort scored against the enrolled model
- T-norm: t = (s - mean_t) / std_t, over the cohort scored against the test utterance
- S-norm: (z + t) / 2 (P. Kenny, "Bayesian Speaker Verification with Heavy-Tailed Priors", 2010)
- adaptive S-norm: S-norm with both means and standard deviations over the ``top_k`` highest cohort
  scores of either side only (P. Matejka et al., "Analysis of Score Normalization in Multilingual
  Speaker Recognition", 2017, AS-norm1)

Standard deviations are of a sample (divided by k - 1). The cohort is best made of speaker means
(the back end's ``average``). Cohort scores are computed once for every utterance that occurs in a
trial, in blocks of utterances under a limit of memory.

SpeechBrain has Z-, T- and S-norm in the script of its VoxCeleb recipe alone, one trial at a time on
the CPU, and not as something that could be called.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from acorl_sb.scoring.backends.backend import Backend, PreparedSides
from acorl_sb.scoring.backends.rows import as_rows
from acorl_sb.utils.precision import full_precision

DEFAULT_TOP = 300
"""Cohort scores that adaptive S-norm looks at unless told otherwise, where there are so many."""

_CACHE_BYTES = 8 << 20  # of cohort scores that a thread works on
_LEAST_ROWS = 128  # of them, below which the matrix product loses more than the cache gains


class Normalisation:
    """Base of the normalisations: which sides they look at, over how many cohort scores.

    Called with raw scores (N,), the trials' rows, the back end and the cohort it returns the
    normalised scores (N,); see ``__call__``.
    """

    use_enrol = use_test = True

    def __init__(self, memory: int = 1 << 28) -> None:
        self.memory = memory

    def count(self, cohort: int) -> int:
        """How many of the ``cohort`` scores of an utterance are looked at: all."""
        return cohort

    def check(self, cohort: int) -> None:
        """Raise ``ValueError`` for a cohort of so few."""
        if cohort < 2:
            raise ValueError(f"a cohort of {cohort} is too small for a standard deviation")
        self.count(cohort)

    def __call__(
        self,
        scores: torch.Tensor,
        enrol: torch.Tensor,
        test: torch.Tensor,
        backend: Backend,
        cohort: torch.Tensor,
        enrol_vectors: torch.Tensor,
        test_vectors: torch.Tensor,
        models: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Normalise scores (N,) of the trials (``enrol``, ``test``), (N,) rows of the two sides.

        ``cohort`` (C, d), ``enrol_vectors`` (E, d), ``test_vectors`` (T, d) and ``models`` (E,) are
        what the back end prepared. Raises ``ValueError`` when the cohort has fewer than
        2 (or a whole ``top_k``) members, or gives an utterance the same score throughout.
        """
        self.check(len(cohort))
        parts = []
        if models is None and enrol_vectors is test_vectors:
            # Single sessions score the same on either side: one pass serves both.
            sides = backend.sides(test_vectors, cohort)
            used = ((enrol, self.use_enrol), (test, self.use_test))
            rows = torch.cat([rows for rows, wanted in used if wanted])
            mean, std = self._statistics(sides, rows)
            parts = [(mean[rows], std[rows]) for rows, wanted in used if wanted]
        else:
            if self.use_enrol:
                sides = backend.sides(enrol_vectors, cohort, models)
                mean, std = self._statistics(sides, enrol)
                parts.append((mean[enrol], std[enrol]))
            if self.use_test:
                sides = backend.sides(cohort, test_vectors).swapped()
                mean, std = self._statistics(sides, test)
                parts.append((mean[test], std[test]))
        normalised = [(scores - mean.to(scores)) / std.to(scores) for mean, std in parts]
        return normalised[0] if len(normalised) == 1 else (normalised[0] + normalised[1]) / 2

    def _statistics(
        self, sides: PreparedSides, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation over the cohort: (E,) each, NaN where not in ``rows``."""
        rows = torch.unique(as_rows(rows, sides.left))
        found = cohort_statistics(sides, rows, self.count(len(sides.right)), self.memory)
        full = [value.new_full((len(sides.left),), float("nan")) for value in found]
        for value, part in zip(full, found, strict=True):
            value[rows] = part
        if not bool((found[1] > 0).all()):
            raise ValueError("the cohort gives some utterance the same score throughout")
        return full[0], full[1]


class ZNorm(Normalisation):
    """Z-norm: over the cohort scored against the enrolled model."""

    use_test = False


class TNorm(Normalisation):
    """T-norm: over the cohort scored against the test utterance."""

    use_enrol = False


class SNorm(Normalisation):
    """S-norm: the mean of Z-norm and T-norm over the whole cohort."""


class AdaptiveSNorm(Normalisation):
    """Adaptive S-norm: S-norm over the ``top_k`` highest cohort scores of either side.

    ``top_k`` is a whole number from 2 on, which the cohort must have, or a fraction of the cohort
    between 0 and 1, of which there are always 2 at least. None: 300, or half of a cohort that has
    fewer than 600.

    >>> [AdaptiveSNorm(top_k).count(48) for top_k in (None, 10, 0.25)]
    [24, 10, 12]
    """

    def __init__(self, top_k: int | float | None = None, memory: int = 1 << 28) -> None:
        super().__init__(memory)
        number = isinstance(top_k, int | float) and not isinstance(top_k, bool)
        fits = top_k is None or (number and (0 < top_k < 1 or (top_k >= 2 and top_k % 1 == 0)))
        if not fits:
            raise ValueError(
                "top_k must be a whole number from 2 on, a fraction of the cohort between 0 and 1, "
                f"or null, not {top_k!r}"
            )
        self.top_k = top_k

    def count(self, cohort: int) -> int:
        """How many of the ``cohort`` scores of an utterance are looked at."""
        if self.top_k is None:
            return max(2, min(DEFAULT_TOP, cohort // 2))
        if self.top_k < 1:
            return max(2, round(self.top_k * cohort))
        if self.top_k > cohort:
            raise ValueError(
                f"top_k {self.top_k} is more than the cohort of {cohort}; give a larger cohort, a "
                "smaller number, a fraction of the cohort such as 0.5, or null"
            )
        return int(self.top_k)


@full_precision()
def cohort_statistics(
    sides: PreparedSides, rows: torch.Tensor, top_k: int | None = None, memory: int = 1 << 28
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and sample standard deviation of the cohort scores of ``rows``, (R,) float64 each.

    ``sides.right`` holds the cohort. Only the ``top_k`` highest scores of a row count, if given.
    Scores are held for as many rows at a time as fit into ``memory`` bytes, one row at least; on
    the CPU for no more than what stays in its cache, since they are looked at several times.
    """
    cohort, size = len(sides.right), sides.left.element_size()
    kept = min(top_k or cohort, cohort)
    on_cpu, threads = sides.left.device.type == "cpu", torch.get_num_threads()
    # Held at once: the scores, and of each score kept its value, its index and two float64
    # copies; the scores are counted twice for what the library needs to choose among them.
    bytes_a_row = 2 * size * cohort + kept * (size + 8 + 2 * 8)
    block = max(1, int(memory // bytes_a_row))
    if on_cpu:
        block = min(block, threads * max(_LEAST_ROWS, _CACHE_BYTES // (size * cohort)))
    block = min(block, len(rows))
    # One buffer for all blocks: memory freed and asked for again block by block is not always
    # given back in between, and the limit would be passed.
    buffer = sides.left.new_empty(block, cohort)
    mean = sides.left.new_empty(len(rows), dtype=torch.float64)
    std = torch.empty_like(mean)
    pieces = [slice(n * block // threads, (n + 1) * block // threads) for n in range(threads)]
    with ThreadPoolExecutor(threads) as pool:  # numpy chooses with one thread, outside the GIL
        for start in range(0, len(rows), max(1, block)):
            part = slice(start, start + block)
            scores = sides.matrix(rows[part], out=buffer[: len(rows[part])])  # (B, C)
            if not on_cpu:
                top = torch.topk(scores, kept, dim=1, sorted=False).values  # (B, k)
                std[part], mean[part] = torch.std_mean(top.double(), dim=1)
                continue
            jobs = [
                (scores[n].numpy(), mean[part][n].numpy(), std[part][n].numpy()) for n in pieces
            ]
            list(pool.map(_top_moments, *zip(*jobs, strict=True), [kept] * threads))
    return mean, std


def _top_moments(scores: np.ndarray, mean: np.ndarray, std: np.ndarray, kept: int) -> None:
    """Fill in mean and deviation (R,) of the ``kept`` highest scores of rows (R, C).

    The rows are put into another order: numpy's vectorised selection, in place, is several times
    as fast as ``torch.topk``.
    """
    first = scores.shape[1] - kept
    if first:
        scores.partition(first, axis=1)
    top = scores[:, first:].astype(np.float64)  # (R, k)
    origin = top[:, 0].copy()  # equal scores have a deviation of 0, not of a rounding error
    top -= origin[:, None]
    middle = top.mean(axis=1)
    top -= middle[:, None]
    np.add(origin, middle, out=mean)
    np.sqrt(np.einsum("rk,rk->r", top, top) / (kept - 1), out=std)
