"""Calibration group by group: one linear map for the trials of each group, one for all others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from acorl_sb.fusion.calibration import LinearCalibration

LEAST_SPEAKERS = 5


def groups_of(speakers: np.ndarray, of: Mapping[str, str]) -> np.ndarray:
    """The group of each speaker, names of any shape -> texts; empty where unknown."""
    names, place = np.unique(speakers, return_inverse=True)
    return np.array([of.get(str(name), "") for name in names])[place].reshape(speakers.shape)


class GroupCalibration:
    """LLRs by the map of a trial's group.

    A group's map is fitted on the trials with both speakers in it. Trials between groups, and
    those of a group with fewer than ``least_speakers`` speakers or one class of trials only, get
    ``common``, the map that is fitted on all trials.

    Arguments
    ---------
    of : speaker -> group; empty or absent where unknown
    prior : effective prior of the fits
    least_speakers : int

    After ``fit``: ``common`` and ``own``, by group.
    """

    def __init__(
        self, of: Mapping[str, str], prior: float = 0.05, least_speakers: int = LEAST_SPEAKERS
    ) -> None:
        self.of, self.prior, self.least_speakers = of, prior, least_speakers
        self.common = LinearCalibration(prior)
        self.own: dict[str, LinearCalibration] = {}

    def fit(self, scores: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> GroupCalibration:
        """Fit on development trials: scores (N,), labels (N,), speakers (2, N) of both sides.

        Raises what ``LinearCalibration.fit`` raises.
        """
        self.common.fit(scores, labels)
        left, right = groups_of(speakers, self.of)
        for name in sorted({*left.tolist()} - {""}):
            inside = (left == name) & (right == name)
            enough = len(np.unique(speakers[:, inside])) >= self.least_speakers
            if enough and 0 < labels[inside].sum() < inside.sum():
                own = LinearCalibration(self.prior)
                self.own[name] = own.fit(scores[inside], labels[inside], f"the group {name}")
        return self

    def __call__(self, scores: np.ndarray, speakers: np.ndarray) -> np.ndarray:
        """LLRs (N,) of scores (N,) of trials with speakers (2, N)."""
        llrs = self.common(scores)
        left, right = groups_of(speakers, self.of)
        for name, own in self.own.items():
            inside = (left == name) & (right == name)
            if inside.any():
                llrs[inside] = own(scores[inside])
        return llrs

    def maps(self) -> dict[str, dict[str, float]]:
        """Scale and offset of every map, ``all`` that of all trials."""
        maps = {"all": self.common, **self.own}
        return {name: {"scale": m.scale, "offset": m.offset} for name, m in maps.items()}
