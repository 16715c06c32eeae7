"""What a row of a study is against another one: changes of its figures, with intervals."""

from __future__ import annotations

import numpy as np

from acorl_sb.metrics.intervals import interval
from terms.exchange import Row, exchange
from terms.figures import REPLICATES

POWER = 2.8  # standard errors of an effect that a two-sided 5 % test sees in 80 of 100 cases
# The cells of ``compared``.
COMPARED = ["fused, relative", "sd over seeds", "sees", "Cllr, relative", "sees"]
COMPARED += ["d' lost", "ρ removed", "r", "break-even"]


def change(
    row: Row, reference: Row, share: dict[str, float], condition: str, what: str = "fused"
) -> tuple:
    """Pooled log ratio of EERs (``fused``) or Cllrs (``cllr``): value, replicates (R,), by seed.

    The mean over sets, weighted by their speakers, of log EER(row) - log EER(reference); the mean
    over the seeds that both have. A replicate draws speakers within each set, the same for both
    rows and all seeds, and seeds.
    """
    seeds = sorted(row.figures.keys() & reference.figures.keys())
    value, drawn = np.zeros(len(seeds)), np.zeros((len(seeds), REPLICATES))
    for i, seed in enumerate(seeds):
        for name, weight in share.items():
            key = f"{name}, {condition}"
            pair = [r.figures[seed][key][what] for r in (row, reference)]
            value[i] += weight * np.diff(np.log(floor(pair)[::-1]))[0]
            drawn_as = key if what == "fused" else f"{key}, {what}"
            a, b = (np.log(floor(r.replicates[seed][drawn_as])) for r in (row, reference))
            drawn[i] += weight * (a - b)
    rng = np.random.default_rng(0)
    picked = rng.integers(len(seeds), size=(len(seeds), REPLICATES))
    return value.mean(), np.take_along_axis(drawn, picked, 0).mean(0), value


def floor(eer) -> np.ndarray:
    """No logarithm of an EER of 0, as small sets may have in a replicate."""
    return np.maximum(np.asarray(eer, dtype=np.float64), 1e-3)


def compared(row: Row, reference: Row, share: dict[str, float], alike: bool) -> list[str]:
    """The cells of ``COMPARED``; the last four only for rows of as many members (``alike``)."""
    value, drawn, of_seeds = change(row, reference, share, "clean")
    spread = f"{100 * np.std(of_seeds, ddof=1):.1f} %" if len(of_seeds) > 1 else ""
    cells = [told(value, drawn), spread, seen(drawn)]
    value, drawn, _ = change(row, reference, share, "clean", "cllr")
    cells += [told(value, drawn), seen(drawn)]
    if alike:
        found = exchange(row, reference, share)
        # No correlation removed: there is nothing to pay for.
        r = f"{found['r']:.2f}" if found["removed"] > 0.003 else "-"
        cells += [f"{found['lost']:+.3f}", f"{found['removed']:+.3f}", r, f"{found['even']:.2f}"]
    return cells


def mean_eer(row: Row, share: dict[str, float], what: str) -> float:
    def of(figures: dict) -> float:
        return figures["fused"] if what == "fused" else figures["members"][-1]

    return float(
        np.mean(
            [sum(w * of(f[f"{n}, clean"]) for n, w in share.items()) for f in row.figures.values()]
        )
    )


def seen(drawn: np.ndarray) -> str:
    """The smallest effect that a comparison with these replicates finds in 80 of 100 cases."""
    return f"{100 * POWER * np.std(drawn):.1f} %"


def told(value: float, drawn: np.ndarray) -> str:
    """A log ratio as a relative change with its 95 % interval."""
    low, high = interval(drawn)
    shown = [100 * np.expm1(x) for x in (value, low, high)]
    return f"{shown[0]:+.1f} % [{shown[1]:+.1f}, {shown[2]:+.1f}]"
