"""Whether a calibration that was fitted elsewhere holds on the trials that are reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DEFAULT = 1.0
"""Normalised cost, and Cllr in bits, of the default system, which looks at no score."""


def carry_over_warnings(table: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence that names the systems whose LLRs are worse than none at all.

    Arguments
    ---------
    table : sequence of dict
        Rows with ``name``, ``act_dcf`` by cost point, and ``cllr``, as in ``results.json``.

    Returns
    -------
    list of str
        Empty where deciding by the LLRs costs no more than the default system at any point, and
        Cllr is at most 1 bit.

    Example
    -------
    >>> row = {"name": "first", "act_dcf": {"0.01": 0.6, "0.05": 0.4}, "cllr": 0.3}
    >>> carry_over_warnings([row])
    []
    >>> len(carry_over_warnings([row, {**row, "name": "second", "cllr": 1.2}]))
    1
    """
    worse = []
    for row in table:
        figures = {f"actDCF({p})": value for p, value in row["act_dcf"].items()}
        bad = [f"{k} {v:.2f}" for k, v in {**figures, "Cllr": row["cllr"]}.items() if v > DEFAULT]
        worse += [f"{row['name']} ({', '.join(bad)})"] if bad else []
    if not worse:
        return []
    return [
        f"calibration does not carry over to these trials: {', '.join(worse)}; deciding without "
        "any score has 1, so calibrate on development trials that are like these"
    ]
