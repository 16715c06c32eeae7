"""What a term's fall of the members' correlation costs them in d', and what it would have to be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from terms.figures import strength

AIM = 0.05  # relative fall of the fused EER that a term is to bring


class Row(NamedTuple):
    """A row's figures and EER replicates by seed, for one part."""

    figures: dict[int, dict]
    replicates: dict[int, dict[str, np.ndarray]]


def exchange(row: Row, reference: Row, share: dict[str, float]) -> dict[str, float]:
    """r, its break-even, what the first and the last member lose in d', and the correlation's fall.

    Means over seeds of the pooled figures, clean. The break-even is that of the reference row.
    """
    seeds = row.figures.keys() & reference.figures.keys()
    of_row, of_reference = (
        np.mean([pooled(r.figures[seed], share) for seed in seeds], 0) for r in (row, reference)
    )
    lost = of_reference[:2].sum() - of_row[:2].sum()  # most rows have the same first member
    removed = of_reference[2] - of_row[2]
    even = (of_reference[0] + of_reference[1]) / (2 * (1 + of_reference[2]))
    return {"r": lost / removed, "even": even, "lost": lost, "removed": removed}


def pooled(figures: dict, share: dict[str, float]) -> list[float]:
    """d' of the first and the last member, and their correlation, pooled over the sets."""
    found = [
        (
            weight * strength(figures[f"{name}, clean"]["members"][0]),
            weight * strength(figures[f"{name}, clean"]["members"][-1]),
            weight * np.mean(figures[f"{name}, clean"]["correlation"]),
        )
        for name, weight in share.items()
    ]
    return np.sum(found, 0)


def needed(first: float, last: float, correlation: float, r: float, aim: float = AIM) -> float:
    """How much correlation a term has to remove from a pair for a fused EER lower by ``aim``.

    ``first``, ``last``: d' of the members; each unit of correlation costs the last one ``r`` of its
    d'. With d' = (first + last) / sqrt(2 (1 + rho)) of the pair and EER = Phi(-d' / 2); infinite
    where no fall of the correlation to 0 is enough.
    """

    def fused(removed: float) -> float:
        return (first + last - r * removed) / np.sqrt(2 * (1 + correlation - removed))

    wanted = strength((1 - aim) * norm.cdf(-fused(0.0) / 2))
    if fused(correlation) < wanted:
        return np.inf
    return brentq(lambda removed: fused(removed) - wanted, 0.0, correlation)
