"""Trials joined to the utterances of a manifest that they are between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trials import TrialList, read_trials
from acorl_sb.utils.errors import UserError


@dataclass
class TrialSet:
    """One part of a corpus, development or test: its utterances and the trials between them.

    Arguments
    ---------
    utterances : Sequence[Utterance]
        M utterances of a manifest.
    trials : TrialList
        N trials; ``trials.labels`` (N,) bool, True for a target trial.
    enrol, test : np.ndarray
        (N,) int64, the rows of ``utterances`` that each trial is between.

    Example
    -------
    >>> utterances = [
    ...     Utterance(name, 1.0, f"{name}.wav", 0, 16000, name[0]) for name in ("a1", "a2", "b1")
    ... ]
    >>> labels = np.array([True, False])
    >>> trials = TrialList(["a1", "a2", "b1"], np.array([0, 0]), np.array([1, 2]), labels)
    >>> TrialSet.of(utterances, trials).counts()
    {'target': 1, 'nontarget': 1, 'speakers': 2}
    """

    utterances: Sequence[Utterance]
    trials: TrialList
    enrol: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, utterances: Sequence[Utterance], trials: TrialList) -> TrialSet:
        """Join trials to the utterances that they name; KeyError for one that is not there."""
        rows = {u.id: i for i, u in enumerate(utterances)}
        row = np.array([rows[name] for name in trials.ids], dtype=np.int64)
        return cls(utterances, trials, row[trials.enrol], row[trials.test])

    @property
    def speakers(self) -> tuple[np.ndarray, np.ndarray]:
        """Names of the speakers of both sides of all trials, (N,) each."""
        names = np.array([u.spk_id for u in self.utterances])
        return names[self.enrol], names[self.test]

    def counts(self) -> dict[str, int]:
        """How many trials of each class there are, and of how many speakers."""
        target = int(self.trials.labels.sum())
        return {
            "target": target,
            "nontarget": len(self.enrol) - target,
            "speakers": len(np.union1d(*self.speakers)),
        }


def read_trial_set(utterances: Sequence[Utterance], trials_path: str | Path) -> TrialSet:
    """Read a trial list and join it to the utterances that it names.

    Raises
    ------
    UserError
        A trial of an unknown utterance, trials without labels, trials of one class only, and labels
        that the speakers of the manifest contradict.
    """
    trials = read_trials(trials_path)
    known = {u.id for u in utterances}
    unknown = [name for name in trials.ids if name not in known]
    if unknown:
        raise UserError(
            f"{trials_path}: {len(unknown)} utterances are not in the manifest, "
            f"first {', '.join(unknown[:3])}"
        )
    if trials.labels is None or trials.labels.all() or not trials.labels.any():
        raise UserError(f"{trials_path}: target and non-target trials are both needed")
    joined = TrialSet.of(utterances, trials)
    enrol, test = joined.speakers
    wrong = np.flatnonzero((enrol == test) != trials.labels)
    if len(wrong):
        raise UserError(
            f"{trials_path}: the speakers of the manifest contradict the labels of {len(wrong)} "
            f"trials, first {trials.name(wrong[0])}"
        )
    return joined
