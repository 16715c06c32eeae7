"""Trials whose crops are attributed: choosing them evenly, and reading their audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acorl_sb.data.audio import read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.encoders.extraction import centre


@dataclass
class CropTrials:
    """Both sides of T trials as 2T rows: all enrolment sides, then all test sides.

    ``utterances`` (2T,) rows of the manifest; ``opposite`` (2T,) the row of the other side here;
    ``elsewhere`` (2T,) a row of another trial's side; ``labels`` (2T,); ``own``, ``others`` (2T,)
    speakers of this side and of the other.
    """

    utterances: np.ndarray
    opposite: np.ndarray
    elsewhere: np.ndarray
    labels: np.ndarray
    own: np.ndarray
    others: np.ndarray

    def part(self, trials: int) -> np.ndarray:
        """Rows (n,), n <= ``trials``, spread evenly over the list (it holds targets first)."""
        count = len(self.labels) // 2
        picked = np.unique(np.linspace(0, count - 1, min(trials, count)).round().astype(np.int64))
        return np.concatenate([picked, picked + count])


def choose_trials(side: TrialSet, count: int, seconds: float, seed: int) -> CropTrials:
    """Half target, half non-target trials, spread evenly over enrolment speakers.

    Trials whose two utterances last at least ``seconds`` come first; others only where there are
    too few of these. Fewer than ``count`` where the list is short. Deterministic given the seed.
    """
    rng = np.random.default_rng(seed)
    speaker = np.array([u.spk_id for u in side.utterances])
    long = np.array([u.duration >= seconds for u in side.utterances])
    chosen = []
    for target, wanted in ((True, (count + 1) // 2), (False, count // 2)):
        rows = rng.permutation(np.flatnonzero(side.trials.labels == target))
        enrol = speaker[side.enrol[rows]]
        turn = _occurrence(enrol)  # each speaker's first trial, then each one's second ...
        short = ~(long[side.enrol[rows]] & long[side.test[rows]])
        chosen.append(rows[np.lexsort((turn, short))][:wanted])
    picked = np.concatenate(chosen)
    first, second = side.enrol[picked], side.test[picked]
    utterances = np.concatenate([first, second])
    return CropTrials(
        utterances,
        np.roll(np.arange(len(utterances)), len(picked)),
        _elsewhere(utterances, speaker),
        np.tile(side.trials.labels[picked], 2),
        speaker[utterances],
        speaker[np.concatenate([second, first])],
    )


def _occurrence(values: np.ndarray) -> np.ndarray:
    """How many equal values stand before each: (N,)."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    start = np.concatenate([[True], ranked[1:] != ranked[:-1]])
    position = np.arange(len(values))
    first = np.maximum.accumulate(np.where(start, position, 0))
    turn = np.empty(len(values), dtype=np.int64)
    turn[order] = position - first
    return turn


def _elsewhere(utterances: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    """For each row the next one (going round) of another speaker, else of another utterance."""
    count = len(utterances)
    found = np.roll(np.arange(count), -1)
    for row in range(count):
        following = (row + np.arange(1, count)) % count
        apart = following[speaker[utterances[following]] != speaker[utterances[row]]]
        if not len(apart):
            apart = following[utterances[following] != utterances[row]]
        if len(apart):
            found[row] = apart[0]
    return found


def read_crops(utterances: Sequence[Utterance], seconds: float, rate: int) -> np.ndarray:
    """The centre ``seconds`` of each utterance, (N, T) float32; a shorter one is repeated."""
    length = round(seconds * rate)
    crops = np.empty((len(utterances), length), dtype=np.float32)
    for row, utterance in enumerate(utterances):
        crops[row] = np.resize(
            read_audio(utterance.wav, *centre(utterance, seconds, rate), rate), length
        )
    return crops
