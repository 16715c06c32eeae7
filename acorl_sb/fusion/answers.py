"""What a verifier says of two recordings."""

from __future__ import annotations

from typing import NamedTuple


class Decision(NamedTuple):
    """``llr`` (natural log) of same against different speaker; accepted at or above threshold.

    ``std`` is the standard deviation of the members' own LLRs, where the verifier has a ``spread``.
    """

    llr: float
    threshold: float
    accepted: bool
    std: float | None = None


class Comparison(NamedTuple):
    """A decision on two waves and what it is made of.

    ``cosines`` and ``weights`` are by member; ``llr`` is ``bias`` plus the sum of their products,
    ``std`` as in ``Decision``.
    """

    llr: float
    threshold: float
    accepted: bool
    cosines: dict[str, float]
    weights: dict[str, float]
    bias: float
    std: float | None = None

    @property
    def decision(self) -> Decision:
        """The decision alone."""
        return Decision(self.llr, self.threshold, self.accepted, self.std)
